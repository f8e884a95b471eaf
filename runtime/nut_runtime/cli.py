"""`nut-runtime`: camera, pictures or video in, verdicts out."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from nut_runtime import __version__
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.bundle_words import info_rows, signature_words
from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.engines import ENGINES, Engine, available_engines, load_engine
from nut_runtime.errors import EngineError, InputError
from nut_runtime.inspector import Inspector
from nut_runtime.machine import this_machine
from nut_runtime.run_screen import print_summary, run_on_screen
from nut_runtime.selftest import SelfTest, run_selftest
from nut_runtime.sinks import JsonlSink, OverlaySink, SavePolicy
from nut_runtime.sources import CameraSource, Source, open_files
from nut_runtime.station import Summary

__all__ = ["main"]

EXIT_FAILURES = 1
EXIT_UNUSABLE = 2
EXIT_DEFECT = 3
EXIT_STOPPED = 130

DEFAULT_BUNDLE = "bundle"
BUNDLE_VARIABLE = "NUT_MODEL"
CACHE_VARIABLE = "NUT_CACHE"
KEY_VARIABLE = "NUT_VERIFY_KEY"


class _RunByDefault(NutGroup):
    """A group whose `run` command need not be named, so that `nut-runtime --camera 0` works."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` in front of arguments that name no command."""
        own = {"--help", "-h", "--version"}
        if args and args[0] not in self.commands and args[0] not in own:
            args = ["run", *args]
        return super().parse_args(ctx, args)


def _model_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--model",
        metavar="BUNDLE",
        type=click.Path(path_type=Path),
        envvar=BUNDLE_VARIABLE,
        default=DEFAULT_BUNDLE,
        show_default=f"${BUNDLE_VARIABLE}, else ./{DEFAULT_BUNDLE}",
        help="The bundle folder.",
    )(command)


def _key_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--verify-key",
        metavar="PUB.pem",
        type=click.Path(path_type=Path),
        envvar=KEY_VARIABLE,
        callback=_refuse_empty_key,
        show_default=f"${KEY_VARIABLE}, else signatures are not verified",
        help="Refuse a bundle that no key in this file has signed.",
    )(command)


def _refuse_empty_key(ctx: click.Context, parameter: click.Parameter, key: Path | None) -> Path | None:
    """Refuse a variable that is set to nothing: whoever set it, in a service file say, wanted bundles verified."""
    del ctx, parameter
    if key is None and os.environ.get(KEY_VARIABLE) is not None:
        raise InputError(f"{KEY_VARIABLE} is set but empty; name the file of a public key, or unset it")
    return key


def _engine_options(command: Callable[..., Any]) -> Callable[..., Any]:
    command = click.option("--threads", type=int, help="Threads to compute with; the engine chooses by default.")(
        command
    )
    return click.option(
        "--engine",
        type=click.Choice(tuple(ENGINES)),
        help="Inference engine; whichever is installed by default.",
    )(command)


@click.group(cls=_RunByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="nut-runtime")
def main() -> None:
    """Judge parts with an exported PatchCore bundle.

    \b
    nut-runtime --camera 0 --output verdicts.jsonl --save-dir rejects
    nut-runtime pictures/ video.mp4 part.png --output - | jq .label
    nut-runtime doctor

    Without the name of a command, `run` is meant; `nut-runtime run --help` lists its options.
    """


@main.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE | DIR | VIDEO]...")
@click.option("--camera", type=click.IntRange(min=0), metavar="N", help="Read camera N instead of files.")
@_model_option
@_key_option
@_engine_options
@click.option("--output", metavar="FILE", help="Append a JSON line a part to FILE; - writes to standard output.")
@click.option("--save-dir", type=click.Path(path_type=Path), metavar="DIR", help="Save heat-map overlays to DIR.")
@click.option(
    "--save",
    type=click.Choice([str(policy) for policy in SavePolicy]),
    default=str(SavePolicy.DEFECTS),
    show_default=True,
    help="Which parts' overlays to save, with --save-dir.",
)
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=CACHE_VARIABLE,
    help=f"Keep what OpenVINO compiled in DIR, or ${CACHE_VARIABLE}, for a quicker start.",
)
@click.option(
    "--streams",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Judge N frames at a time: more parts a second, each of them later.",
)
@click.option("--fail-on-defect", is_flag=True, help="Exit with code 3 when a part was defective.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N frames.")
@click.option("--strict", is_flag=True, help="Run the self-test first and refuse to judge if it fails.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def run(
    ctx: click.Context,
    files: tuple[Path, ...],
    camera: int | None,
    model: Path,
    verify_key: Path | None,
    engine: str | None,
    threads: int | None,
    output: str | None,
    save_dir: Path | None,
    save: str,
    cache: Path | None,
    streams: int,
    fail_on_defect: bool,
    limit: int | None,
    strict: bool,
    quiet: bool,
) -> None:
    """Judge pictures, folders of pictures, videos or a camera's frames.

    \b
    Exit codes: 0 ran to its end, 1 ran with failures, 2 usage or unusable bundle,
    3 --fail-on-defect saw a defect, 130 stopped with Ctrl-C.

    \b
    nut-runtime run --camera 0
    nut-runtime run parts/ --model bundle --save-dir out --save all
    nut-runtime run parts/ --output - --quiet | jq -r '[.source, .label] | @tsv'
    """
    if (camera is None) == (not files):
        raise click.UsageError("name pictures, folders or videos to judge, or a camera with --camera N, not both")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service that is stopped ends as with Ctrl-C
    inspector = Inspector(
        open_bundle(model, verify_key=verify_key), engine=engine, threads=threads, streams=streams, cache=cache
    )
    if strict:
        _refuse_drift(inspector)
    with ExitStack() as stack:
        source: Source = CameraSource(camera) if camera is not None else open_files(files)
        stack.callback(source.close)
        records = JsonlSink(output) if output is not None else None
        if records is not None:
            stack.callback(records.close)
        overlays = OverlaySink(save_dir, SavePolicy(save)) if save_dir is not None else None
        summary = run_on_screen(
            source,
            inspector,
            records,
            overlays,
            limit=limit,
            streams=streams,
            quiet=quiet,
            shows_verdicts=output != "-",
        )
    if not quiet:
        print_summary(summary, inspector)
    ctx.exit(_exit_code(summary, fail_on_defect=fail_on_defect))


def _exit_code(summary: Summary, *, fail_on_defect: bool) -> int:
    """Return the process's exit code.

    Input of which nothing at all could be judged is a mistake of usage, not a run with failures.
    """
    if summary.is_stopped:
        return EXIT_STOPPED
    if summary.failed:
        return EXIT_FAILURES if summary.parts else EXIT_UNUSABLE
    return EXIT_DEFECT if fail_on_defect and summary.rejects else 0


def _refuse_drift(inspector: Inspector) -> None:
    """Stop before the first part where this device does not judge as the reference did.

    Raises:
        EngineError: If the self-test fails.
    """
    drift = run_selftest(inspector.bundle, inspector.engine).first_drift
    if drift is not None:
        raise EngineError(
            f"the self-test fails at {drift.stage} on {inspector.engine.name} (off by {drift.deviation:.1e}, tolerance "
            f"{drift.tolerance:.1e}); run nut-runtime doctor, and try the other engine"
        )


@main.command()
@_model_option
@_key_option
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
@_model_option
@_key_option
@_engine_options
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
    test: SelfTest = run_selftest(bundle, loaded)
    frames = len(bundle.manifest.golden)
    arithmetic = _arithmetic(bundle, loaded)
    say(f"\n{name} {loaded.version}, computing in {arithmetic}, {test.latency_ms:.1f} ms a golden frame")
    for stage in test.stages:
        mark = click.style("ok   ", fg="green") if stage.passed else click.style("DRIFT", fg="red", bold=True)
        if stage.stage == "verdict":
            what = f"{int(stage.deviation)} of {frames} verdicts flipped"
        else:
            what = f"off by {stage.deviation:.1e} (tolerance {stage.tolerance:.1e})"
        say(f"  {mark} {stage.stage:<22}{what}")
    drift = test.first_drift
    if drift is None:
        say("  this device judges as the reference did")
    else:
        say(f"  the first stage that drifts is {drift.stage}")
    return test.passed
