"""`nut-runtime`: camera, pictures or video in, verdicts out."""

from pathlib import Path

import click

from nut_runtime import __version__
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.bundle_words import info_rows, signature_words
from nut_runtime.cameras_cli import cameras, capture
from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.cli_options import engine_options, key_option, model_option
from nut_runtime.delta.delta_cli import extend_command, revert_command
from nut_runtime.engines import Engine, available_engines, load_engine
from nut_runtime.locate.locator import Locator
from nut_runtime.machine import this_machine
from nut_runtime.run_cli import EXIT_FAILURES, EXIT_UNUSABLE, run
from nut_runtime.selftest import LOCATOR_CENTRES, SelfTest, run_selftest
from nut_runtime.service.service_cli import service
from nut_runtime.station_cli import config

__all__ = ["main"]


class _RunByDefault(NutGroup):
    """A group whose `run` command need not be named, so that `nut-runtime --camera 0` works."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of arguments that name no command."""
        own = {"--help", "-h", "--version"}
        if args and args[0] not in self.commands and args[0] not in own:
            args = ["run", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_RunByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nut-runtime")
def main() -> None:
    """Judge parts with an exported PatchCore bundle.

    \b
    nut-runtime --camera 0 --output verdicts.jsonl --save-dir rejects --serve 8080
    nut-runtime --config station.toml
    nut-runtime pictures/ video.mp4 part.png --output - | jq .label
    nut-runtime doctor

    Without the name of a command, `run` is meant; `nut-runtime run --help` lists its options.
    """


for _command in (run, cameras, capture, config, service, extend_command("nut-runtime"), revert_command("nut-runtime")):
    main.add_command(_command)


@main.command()
@model_option
@key_option
@click.option("--json", "as_json", is_flag=True, help="Print the manifest as JSON.")
def info(model: Path, verify_key: Path | None, as_json: bool) -> None:
    """Show what a bundle says of itself, after checking its files.

    \b
    nut-runtime info --model bundle
    nut-runtime info --model bundle --verify-key plant.pub.pem
    """
    bundle = open_bundle(model, verify_key=verify_key)
    manifest = bundle.manifest
    if as_json:
        import json

        say(json.dumps(manifest.to_json(), indent=2))
        return
    rows = info_rows(bundle)
    width = max(20, *(len(name) + 2 for name, _ in rows))
    for name, value in rows:
        say(f"{name:<{width}}{value}")


@main.command()
@model_option
@key_option
@engine_options
@click.option("--strict", is_flag=True, help="Exit with code 2 on a mismatch, not 1.")
@click.pass_context
def doctor(
    ctx: click.Context,
    model: Path,
    verify_key: Path | None,
    engine: str | None,
    threads: int | None,
    strict: bool,
) -> None:
    """Replay the golden frames on this very device and name the stage that drifts, if one does.

    \b
    nut-runtime doctor
    nut-runtime doctor --engine onnxruntime --model bundle
    """
    bundle = open_bundle(model, verify_key=verify_key)
    machine = this_machine()
    say(f"{'cpu':<18}{machine.cpu}, {machine.cores} cores")
    say(f"{'instruction sets':<18}{' '.join(machine.instruction_sets) or 'unknown'}")
    say(f"{'system':<18}{machine.system}, Python {machine.python}")
    say(f"{'bundle':<18}{bundle.manifest.bundle_id} ({bundle.manifest.precision})")
    say(f"{'signature':<18}{signature_words(bundle)}")
    if bundle.manifest.precision != "fp32" and machine.lacks_vnni:
        say("this CPU has no VNNI instructions: int8 is right here, but slower than where it has")
    names = [engine] if engine is not None else [name for name in available_engines() if name in bundle.manifest.models]
    if not names:
        load_engine(bundle)  # says what to install
    passed = [_doctor_engine(bundle, name, threads) for name in names]
    if not all(passed):
        ctx.exit(EXIT_UNUSABLE if strict else EXIT_FAILURES)


def _arithmetic(bundle: Bundle, engine: Engine) -> str:
    """Say what an engine computes in: what is int8 in a file is computed so, whatever the engine says of the rest."""
    return f"int8, the rest in {engine.precision}" if bundle.manifest.precision == "int8" else engine.precision


def _doctor_engine(bundle: Bundle, name: str, threads: int | None) -> bool:
    """Print one engine's self-test; return whether it passed."""
    loaded = load_engine(bundle, name, threads=threads)
    locator = None if bundle.manifest.locator is None else Locator(bundle, engine=name, threads=threads)
    test: SelfTest = run_selftest(bundle, loaded, locator)
    frames = len(bundle.manifest.golden)
    arithmetic = _arithmetic(bundle, loaded)
    say(f"\n{name} {loaded.version}, computing in {arithmetic}, {test.latency_ms:.1f} ms a golden frame")
    for stage in test.stages:
        mark = click.style("ok   ", fg="green") if stage.passed else click.style("DRIFT", fg="red", bold=True)
        if stage.stage == "verdict":
            what = f"{int(stage.deviation)} of {frames} verdicts flipped"
        elif stage.stage == LOCATOR_CENTRES and stage.deviation == float("inf"):
            what = "another number of parts is found"
        elif stage.stage == LOCATOR_CENTRES:
            what = f"off by {stage.deviation:.1f} px (tolerance {stage.tolerance:g} px)"
        else:
            what = f"off by {stage.deviation:.1e} (tolerance {stage.tolerance:.1e})"
        say(f"  {mark} {stage.stage:<22}{what}")
    drift = test.first_drift
    if drift is None:
        say("  this device judges as the reference did")
    else:
        say(f"  the first stage that drifts is {drift.stage}")
    return test.passed
