"""The `nut` command: every stage's commands under one name, each imported only when called."""

import importlib
from collections.abc import Mapping

import click

from nut_runtime import __version__
from nut_runtime.cli_errors import NutGroup

__all__ = ["main"]

_COMMANDS: Mapping[str, tuple[str, str, str]] = {
    "dataset": ("nut_benchmarks.dataset_cli", "dataset", "Check data sets, draw and convert them, cut out parts."),
    "train": ("nut_train.cli", "train", "Train, calibrate and evaluate PatchCore on good pictures."),
    "calibrate": ("nut_train.calibrate_cli", "calibrate", "Move a run's operating point without training it again."),
    "evaluate": ("nut_train.cli", "evaluate", "Evaluate a trained run, on its own or on another data set."),
    "compare": ("nut_train.compare_cli", "compare", "Compare two runs on the pictures that both judged."),
    "train-locator": ("nut_train.locator.cli", "train_locator", "Train what finds the single parts in a tray."),
    "explain": ("nut_train.explain_cli", "explain", "Show the good patch that a part's worst place was compared with."),
    "export": ("nut_export.cli", "export", "Export a run as a bundle and prove that no verdict changed."),
    "bundle": ("nut_export.bundle_cli", "bundle", "Sign bundles, add locators, move thresholds, compare two."),
    "train-all": ("nut_benchmarks.train_all.cli", "train_all", "Train and export every data set below a folder."),
    "plan": ("nut_benchmarks.planner.cli", "plan", "Measure what can be afforded on this machine, and propose it."),
    "bench": ("nut_benchmarks.commands", "bench", "Measure speed and parity of all engines side by side."),
    "demo": ("nut_benchmarks.commands", "demo", "Go from pictures to verdicts and proof in one command."),
}
"""Name of each command, its module, its function, and its line in `nut --help`."""


class _LateGroup(NutGroup):
    """Imports a command's module when the command is called, so that `nut --help` and completion are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order a user takes the steps."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, function, _ = _COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), function)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}.{function} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in _COMMANDS.items()])


@click.group(cls=_LateGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nut")
def main() -> None:
    """Take PatchCore from a folder of good pictures to verdicts on an industrial PC.

    \b
    nut dataset check DATASET
    nut train DATASET -o run
    nut export run -o bundle
    nut-runtime --model bundle --camera 0

    Shell completion: eval "$(_NUT_COMPLETE=bash_source nut)" (or zsh_source, fish_source).
    """
