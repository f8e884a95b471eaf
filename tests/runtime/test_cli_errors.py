"""How commands end: one line for a mistake, one for Ctrl-C, a traceback for a bug."""

import click
import pytest
from click.testing import CliRunner, Result

from nut_runtime.cli_errors import NutCommand, NutGroup
from nut_runtime.errors import BundleError, InputError


@click.group(cls=NutGroup)
def group() -> None:
    """A group."""


@group.command()
@click.argument("what")
def fail(what: str) -> None:
    """Fail in the way that is asked for."""
    raise {
        "input": InputError("x is missing; put it there"),
        "bundle": BundleError("two\nlines"),
        "stop": KeyboardInterrupt(),
        "bug": ZeroDivisionError("a bug"),
        "exit": click.exceptions.Exit(3),
    }[what]


@click.command(cls=NutCommand)
@click.argument("what")
def alone(what: str) -> None:
    """Fail without a group."""
    fail.callback(what)


@pytest.fixture(params=["in-a-group", "alone"])
def run(request):
    def run(what: str) -> Result:
        if request.param == "alone":
            return CliRunner().invoke(alone, [what])
        return CliRunner().invoke(group, ["fail", what])

    return run


def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(run):
    result = run("input")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "error: x is missing; put it there\n"


def test_a_message_of_several_lines_is_joined(run):
    assert run("bundle").stderr == "error: two lines\n"


def test_ctrl_c_is_one_line_and_exit_code_130(run):
    result = run("stop")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "stopped\n")


def test_a_bug_keeps_its_traceback(run):
    assert isinstance(run("bug").exception, ZeroDivisionError)


def test_an_exit_code_of_the_command_is_kept(run):
    assert run("exit").exit_code == 3


def test_a_mistake_in_a_group_within_a_group_is_one_line():
    outer = click.group(cls=NutGroup)(lambda: None)
    outer.add_command(group, "inner")
    result = CliRunner().invoke(outer, ["inner", "fail", "input"])
    assert (result.exit_code, result.stderr) == (2, "error: x is missing; put it there\n")
