"""`nut-runtime`: camera, pictures or video in, verdicts out."""

import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from nut_runtime import __version__
from nut_runtime.bundle import Bundle, open_bundle
from nut_runtime.cli_errors import NutGroup, say
from nut_runtime.engines import ENGINES, available_engines, load_engine
from nut_runtime.errors import BundleError, EngineError, InputError
from nut_runtime.inspector import Inspector
from nut_runtime.machine import this_machine
from nut_runtime.selftest import SelfTest, run_selftest
from nut_runtime.signature import read_signature
from nut_runtime.sinks import JsonlSink, OverlaySink, SavePolicy
from nut_runtime.sources import CameraSource, Frame, Source, open_files
from nut_runtime.station import Summary, run_station
from nut_runtime.verdict import Verdict

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
        summary = _run_with_progress(
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
        _print_summary(summary, inspector)
    ctx.exit(_exit_code(summary, fail_on_defect=fail_on_defect))


def _run_with_progress(
    source: Source,
    inspector: Inspector,
    records: JsonlSink | None,
    overlays: OverlaySink | None,
    *,
    limit: int | None,
    streams: int,
    quiet: bool,
    shows_verdicts: bool,
) -> Summary:
    """Run the station with a bar on a terminal, and a line a part where nothing else tells the verdicts."""
    is_listed = shows_verdicts and records is None and not quiet
    count = source.count if limit is None else min(limit, source.count or limit)
    bar_is_shown = sys.stderr.isatty() and not quiet and not is_listed
    with ExitStack() as stack:
        bar = None
        if bar_is_shown:
            # A camera has no length: endless, so that the bar moves to and fro instead of showing "2/0".
            endless: Iterator[Any] | None = itertools.count() if count is None else None
            bar = stack.enter_context(
                click.progressbar(
                    endless,
                    length=count,
                    label="judging",
                    file=sys.stderr,
                    show_pos=True,
                    item_show_func=_rate(),
                )
            )

        def on_part(frame: Frame, verdict: Verdict) -> None:
            if is_listed:
                word = (
                    click.style("DEFECT", fg="red", bold=True)
                    if verdict.is_defective
                    else click.style("good  ", fg="green")
                )
                say(f"{word} {verdict.pred_score:.3f}  {frame.source}", color=_colour())
            if bar is not None:
                bar.update(1, frame)

        def on_failure(message: str) -> None:
            if bar is not None:
                click.echo("\r\x1b[K", err=True, nl=False)  # the message takes the bar's line, the bar the next
            click.echo(f"error: {message}", err=True)
            if bar is not None:
                bar.update(1)

        return run_station(
            source,
            inspector,
            records=records,
            overlays=overlays,
            limit=limit,
            streams=streams,
            on_part=on_part,
            on_failure=on_failure,
        )


def _rate() -> Callable[[Any], str]:
    """Return what the bar shows behind its count: parts a second so far."""
    import time

    started = time.perf_counter()
    shown = 0

    def text(frame: Any) -> str:
        nonlocal shown
        shown += frame is not None
        return f"{shown / max(time.perf_counter() - started, 1e-9):.1f} parts/s"

    return text


def _colour() -> bool | None:
    """Return whether to colour: never with NO_COLOR, else as click finds the terminal."""
    return False if os.environ.get("NO_COLOR") else None


def _print_summary(summary: Summary, inspector: Inspector) -> None:
    """Say on stderr what the run came to."""
    stopped = "stopped: " if summary.is_stopped else ""
    rate = summary.parts / summary.seconds if summary.seconds else 0.0
    line = f"{stopped}{summary.parts} parts, {summary.rejects} rejects"
    if summary.failed:
        line += f", {summary.failed} failures"
    if inspector.bundle.manifest.cascade is not None:
        line += f", {summary.rejudged} judged twice"
    if summary.parts:
        line += (
            f"; p50 {summary.percentile_ms(50):.1f} ms, p95 {summary.percentile_ms(95):.1f} ms, {rate:.1f} parts/s"
            f" ({inspector.engine.name}, {inspector.bundle.manifest.precision})"
        )
    click.echo(line, err=True)


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
    facts = manifest.provenance
    backbone, bank = facts.get("backbone", {}), facts.get("bank", {})
    calibration = facts.get("calibration", {})
    frames = "any uint8 BGR frame"
    if manifest.frame_px is not None:
        frames = f"uint8 BGR frames of {manifest.frame_px[1]}x{manifest.frame_px[0]} only"
    rate = "false-reject rate not stated"
    if calibration:
        rate = f"aimed at {100 * calibration['false_reject_rate']:.2f}% of good parts rejected"
    trained = f"{facts.get('trained')} on data {str(facts.get('dataset_fingerprint'))[:12]}"
    if checkpoint := facts.get("checkpoint"):
        trained = f"by anomalib alone, {checkpoint['file']} {checkpoint['sha256'][:12]}, on data not stated"
    rows: list[tuple[str, str]] = [
        ("bundle", manifest.bundle_id),
        ("exported", manifest.created),
        ("trained", trained),
        (
            "backbone",
            f"{backbone.get('name')} {', '.join(backbone.get('layers', []))} ({backbone.get('weights')})",
        ),
        ("memory bank", f"{bank.get('rows')} x {bank.get('width')}"),
        ("input", f"{frames}, judged at {manifest.input_width_px}x{manifest.input_height_px}"),
        ("precision", manifest.precision),
        ("threshold", f"raw {manifest.point.image.threshold:.6g}, {rate}"),
    ]
    if calibration and not calibration.get("is_supported", True):
        held_out, smallest = calibration["held_out"], 100 * calibration["smallest_rate"]
        rows.append(("", f"{held_out} held-out pictures can speak for no less than {smallest:.1f}%"))
    for engine, figures in manifest.parity.items():
        rows.append(
            (
                f"parity {engine}",
                (
                    f"{figures['flips']} of {figures['pictures']} verdicts flipped, "
                    f"max |d score| {figures['max_d_score']:.1e}"
                ),
            )
        )
    rows.append(("files", f"{len(manifest.files)}, all match their SHA-256"))
    unlisted = bundle.unlisted_files()
    if unlisted:
        rows.append(("", f"not used, since the manifest does not list them: {', '.join(unlisted)}"))
    rows.append(("signature", _signature(bundle)))
    width = max(20, *(len(name) + 2 for name, _ in rows))
    for name, value in rows:
        say(f"{name:<{width}}{value}")


def _signature(bundle: Bundle) -> str:
    """Say who signed a bundle, and whether that was verified."""
    if bundle.verified_by is not None:
        return f"by {bundle.verified_by}, verified"
    try:
        signature = read_signature(bundle.folder)
    except BundleError as error:
        return f"unusable, not verified ({error})"
    return "none" if signature is None else f"by {signature.key}, not verified (no --verify-key)"


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
    say(f"{'signature':<18}{_signature(bundle)}")
    if bundle.manifest.precision != "fp32" and machine.lacks_vnni:
        say("this CPU has no VNNI instructions: int8 is right here, but slower than where it has", color=_colour())
    names = [engine] if engine is not None else [name for name in available_engines() if name in bundle.manifest.models]
    if not names:
        load_engine(bundle)  # says what to install
    passed = [_doctor_engine(bundle, name, threads) for name in names]
    if not all(passed):
        ctx.exit(EXIT_UNUSABLE if strict else EXIT_FAILURES)


def _doctor_engine(bundle: Bundle, name: str, threads: int | None) -> bool:
    """Print one engine's self-test; return whether it passed."""
    loaded = load_engine(bundle, name, threads=threads)
    test: SelfTest = run_selftest(bundle, loaded)
    frames = len(bundle.manifest.golden)
    say(f"\n{name} {loaded.version}, computing in {loaded.precision}, {test.latency_ms:.1f} ms a golden frame")
    for stage in test.stages:
        mark = click.style("ok   ", fg="green") if stage.passed else click.style("DRIFT", fg="red", bold=True)
        if stage.stage == "verdict":
            what = f"{int(stage.deviation)} of {frames} verdicts flipped"
        else:
            what = f"off by {stage.deviation:.1e} (tolerance {stage.tolerance:.1e})"
        say(f"  {mark} {stage.stage:<22}{what}", color=_colour())
    drift = test.first_drift
    if drift is None:
        say("  this device judges as the reference did")
    else:
        say(f"  the first stage that drifts is {drift.stage}", color=_colour())
    return test.passed
