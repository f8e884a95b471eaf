"""`nut bench` and `nut demo`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError

if TYPE_CHECKING:
    from nut_benchmarks.bench import BenchConfig

__all__ = ["CASE_NAMES", "bench", "demo"]

_PIPED_WIDTH = 160  # what is piped is not cut to 80 columns
CASE_NAMES = ("wrn50", "resnet18", "lite0")  # nut_benchmarks.cases.CASES, whose import takes seconds


@click.command(cls=NutCommand)
@click.option("--bundle", metavar="DIR", type=click.Path(path_type=Path), help="The bundle to measure.")
@click.option(
    "--dataset",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Its test pictures are judged; with --case, the bank is made of it.",
)
@click.option(
    "--case",
    "cases",
    multiple=True,
    type=click.Choice(CASE_NAMES),
    help="Measure a case known by name against anomalib's own export instead; may be given again.",
)
@click.option("--growth", is_flag=True, help="Measure banks of 1,000 to 200,000 rows, made of --dataset, instead.")
@click.option(
    "--bank-percent",
    "bank_percents",
    multiple=True,
    type=click.FloatRange(0.01, 100),
    default=(10.0, 1.0),
    show_default=True,
    help="Share of training patches in a case's bank; may be given again.",
)
@click.option(
    "--frames",
    metavar="WxH,...",
    help="Measure instead what frames of these sizes cost over one of the model's own size.",
)
@click.option(
    "--throughput",
    is_flag=True,
    help="Measure instead frames a second one at a time, in streams and in batches, with 1 and 2 threads or --threads.",
)
@click.option(
    "--station",
    is_flag=True,
    help="Measure instead how many parts a second a station judges with its outputs on, against the engine alone.",
)
@click.option(
    "--trays",
    is_flag=True,
    help="Measure instead finding and judging 24 parts in a drawn tray, or in a picture given as --dataset.",
)
@click.option(
    "--run",
    "run_folder",
    metavar="RUN",
    type=click.Path(path_type=Path),
    help="The run it came from; 'run' beside the bundle by default. With --trays a locator's run, in both precisions.",
)
@click.option("-o", "--output", "out", metavar="OUT", type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--threads", type=int, default=0, show_default="cores", help="Threads of every engine.")
@click.option("--warm-up", type=int, default=10, show_default=True, metavar="N", help="Frames before the clock starts.")
@click.option("--repeats", type=int, default=100, show_default=True, metavar="N", help="Timed frames.")
@click.option(
    "--cache",
    metavar="DIR",
    type=click.Path(file_okay=False, resolve_path=True),
    help="Let OpenVINO keep what it compiled in DIR: the second run shows how much sooner it starts.",
)
@click.option("--pictures", type=int, default=200, show_default=True, metavar="N", help="Pictures compared at most.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def bench(
    bundle: Path | None,
    dataset: Path | None,
    cases: tuple[str, ...],
    growth: bool,
    bank_percents: tuple[float, ...],
    frames: str | None,
    throughput: bool,
    station: bool,
    trays: bool,
    run_folder: Path | None,
    out: Path | None,
    threads: int,
    warm_up: int,
    repeats: int,
    cache: str | None,
    pictures: int,
    force: bool,
) -> None:
    """Measure anomalib in PyTorch and the bundle in ONNX Runtime and OpenVINO, side by side on the same files.

    \b
    nut bench --bundle bundle --run run --dataset nuts -o bench
    nut bench --bundle bundle --dataset nuts -o bench --threads 1 --repeats 300
    nut bench --case wrn50 --case lite0 -o cases
    nut bench --bundle bundle --frames 640x480,1920x1080 -o frames
    nut bench --growth --dataset magnetic-tile -o growth
    nut bench --bundle bundle --throughput -o throughput
    nut bench --station --bundle bundle --dataset nuts
    nut bench --trays --bundle bundle --run locator-run -o trays-bench
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_benchmarks.bench import BenchConfig

    config = BenchConfig(threads=threads, warm_up=warm_up, repeats=repeats, pictures=pictures, cache=cache)
    if station:
        _bench_station(bundle, dataset, threads)
        return
    if out is None:
        raise InputError("no folder to write to was given; add -o OUT")
    if cases:
        _bench_cases(cases, bank_percents, dataset, config, out, overwrite=force)
        return
    if trays:
        _bench_trays(bundle, run_folder, dataset, config, out, overwrite=force)
        return
    if growth:
        _bench_growth(dataset, config, out, overwrite=force)
        return
    if frames is not None:
        _bench_frames(bundle, frames, config, out, overwrite=force)
        return
    if throughput:
        _bench_throughput(bundle, config, out, overwrite=force)
        return
    _bench_pictures(bundle, dataset, run_folder, config, out, overwrite=force)


def _bench_pictures(
    bundle: Path | None,
    dataset: Path | None,
    run_folder: Path | None,
    config: "BenchConfig",
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Measure anomalib and the bundle's engines on the same pictures, and print and write the table."""
    from rich.console import Console

    from nut_benchmarks.bench import run_bench
    from nut_benchmarks.report import bench_table, bench_title

    if bundle is None or dataset is None:
        raise InputError("give a bundle and a data set (--bundle DIR --dataset DIR), or a case (--case NAME)")
    beside = bundle.resolve().parent / "run"
    if run_folder is None and beside.is_dir():
        run_folder = beside
    if run_folder is None:
        click.echo("note: without --run, anomalib in PyTorch and parity are left out", err=True)
    with progress_bars() as progress:
        found = run_bench(
            bundle, dataset, out, run_folder=run_folder, config=config, overwrite=overwrite, progress=progress
        )
    click.echo(bench_title(found))
    Console().print(bench_table(found))
    click.echo(f"machine {found.machine.cpu}, {found.machine.cores} cores, {' '.join(found.machine.instruction_sets)}")
    click.echo(f"results {out / 'results.json'}\ntable   {out / 'bench.md'}\nfigure  {out / 'bench.png'}")


def _bench_cases(
    cases: tuple[str, ...],
    bank_percents: tuple[float, ...],
    dataset: Path | None,
    config: "BenchConfig",
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Measure cases against anomalib's own export, and print and write their table."""
    from rich.console import Console

    from nut_benchmarks.cases import run_case
    from nut_benchmarks.cases_report import CASES_FILE, case_table, write_cases
    from nut_runtime.atomic import new_folder
    from nut_runtime.machine import this_machine

    machine = this_machine()
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    with new_folder(out, marker=CASES_FILE, overwrite=overwrite) as folder, progress_bars() as progress:
        results = [
            run_case(name, bank_percent=percent, dataset=dataset, config=config, progress=progress)
            for name in cases
            for percent in bank_percents
        ]
        write_cases(folder, results, machine, threads=config.threads or machine.cores)
    for result in results:
        click.echo(f"{result.name}: bank {result.rows} x {result.width}, {config.threads or machine.cores} threads")
        console.print(case_table(result))
        for engine, note in result.notes.items():
            click.echo(f"  {engine}: {note}")
    click.echo(f"machine {machine.cpu}, {machine.cores} cores, {' '.join(machine.instruction_sets)}")
    click.echo(f"results {out / 'cases.json'}\ntable   {out / 'cases.md'}")


def _bench_trays(
    bundle: Path | None,
    run_folder: Path | None,
    picture: Path | None,
    config: "BenchConfig",
    out: Path,
    *,
    overwrite: bool,
) -> None:
    """Measure finding and judging the parts of a tray, and print and write the table."""
    import shlex
    import tempfile

    from rich.console import Console

    from nut_benchmarks.trays import run_trays
    from nut_benchmarks.trays_report import TRAYS_FILE, trays_table, write_trays
    from nut_export.locator.attach import LOCATOR_PRECISIONS, LocatorConfig, add_locator
    from nut_runtime.atomic import new_folder
    from nut_runtime.bundle import open_bundle
    from nut_runtime.machine import this_machine
    from nut_train.locator.run import open_locator_run

    if bundle is None:
        raise InputError("no bundle to measure trays with was given; add --bundle DIR")
    machine = this_machine()
    threads = config.threads or machine.cores
    command = ["nut", "bench", "--trays", "--bundle", bundle, "-o", out, "--threads", config.threads]
    command += ["--warm-up", config.warm_up, "--repeats", config.repeats]
    command += [] if run_folder is None else ["--run", run_folder]
    inputs = [bundle, *([] if run_folder is None else [run_folder])]
    with (
        new_folder(out, marker=TRAYS_FILE, overwrite=overwrite, inputs=inputs) as folder,
        tempfile.TemporaryDirectory(prefix="nut-bench-trays-") as place,
        progress_bars() as progress,
    ):
        bundles = [bundle]
        if run_folder is not None:
            judge, run = open_bundle(bundle), open_locator_run(run_folder)
            bundles = [Path(place) / precision for precision in LOCATOR_PRECISIONS]
            for target in bundles:
                # what is timed need not be proven
                attached = LocatorConfig(precision=target.name, is_forced=True)
                add_locator(judge, run, target, attached, progress=progress)
        found = run_trays(
            bundles,
            picture=picture,
            threads=threads,
            warm_up=config.warm_up,
            repeats=config.repeats,
            progress=progress,
        )
        write_trays(folder, found, machine, threads=threads, command=shlex.join(map(str, command)))
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(trays_table(found))
    click.echo(f"machine {machine.cpu}, {machine.cores} cores, {threads} threads")
    click.echo(f"results {out / TRAYS_FILE}\ntable   {out / 'trays.md'}")


def _bench_frames(bundle: Path | None, frames: str, config: "BenchConfig", out: Path, *, overwrite: bool) -> None:
    """Measure what larger frames cost, and print and write the table."""
    import shlex

    from rich.console import Console

    from nut_benchmarks.frames import run_frames
    from nut_benchmarks.frames_report import FRAMES_FILE, frames_table, write_frames
    from nut_export.frame_size import check_frame_size, parse_frame_size
    from nut_runtime.atomic import new_folder
    from nut_runtime.machine import this_machine

    if bundle is None:
        raise InputError("no bundle to measure frames with was given; add --bundle DIR")
    sizes = [parse_frame_size(text) for text in frames.split(",")]
    for size in sizes:
        check_frame_size(size)
    machine = this_machine()
    threads = config.threads or machine.cores
    command = ["nut", "bench", "--bundle", bundle, "--frames", frames, "-o", out, "--threads", config.threads]
    command += ["--warm-up", config.warm_up, "--repeats", config.repeats]
    with new_folder(out, marker=FRAMES_FILE, overwrite=overwrite, inputs=[bundle]) as folder:
        found = run_frames(bundle, sizes, threads=threads, warm_up=config.warm_up, repeats=config.repeats)
        write_frames(folder, found, machine, shlex.join(map(str, command)))
    click.echo(f"{found.bundle_id}, {threads} threads")
    Console().print(frames_table(found))
    click.echo(f"machine {machine.cpu}, {machine.cores} cores, {' '.join(machine.instruction_sets)}")
    click.echo(f"results {out / FRAMES_FILE}\ntable   {out / 'frames.md'}")


def _bench_throughput(bundle: Path | None, config: "BenchConfig", out: Path, *, overwrite: bool) -> None:
    """Measure latency mode, streams and batches, and print and write their table."""
    import shlex

    from rich.console import Console

    from nut_benchmarks.throughput import run_throughput
    from nut_benchmarks.throughput_report import THROUGHPUT_FILE, throughput_table, write_throughput
    from nut_runtime.atomic import new_folder
    from nut_runtime.machine import this_machine

    if bundle is None:
        raise InputError("no bundle to measure the throughput of was given; add --bundle DIR")
    machine = this_machine()
    command = ["nut", "bench", "--bundle", bundle, "--throughput", "-o", out, "--threads", config.threads]
    command += ["--warm-up", config.warm_up, "--repeats", config.repeats]
    with new_folder(out, marker=THROUGHPUT_FILE, overwrite=overwrite, inputs=[bundle]) as folder:
        with progress_bars() as progress:
            found = run_throughput(
                bundle,
                threads=(config.threads,) if config.threads else (1, 2),
                warm_up=config.warm_up,
                frames=config.repeats,
                progress=progress,
            )
        write_throughput(folder, found, machine, shlex.join(map(str, command)))
    click.echo(found.bundle_id)
    Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH).print(throughput_table(found))
    if all(rate.mode.batch == 1 for rate in found.rates):
        click.echo("note: the bundle has no models for batches; export it with --batch N", err=True)
    click.echo(f"machine {machine.cpu}, {machine.cores} cores, {' '.join(machine.instruction_sets)}")
    click.echo(f"results {out / THROUGHPUT_FILE}\ntable   {out / 'throughput.md'}")


def _bench_station(bundle: Path | None, dataset: Path | None, threads: int) -> None:
    """Measure a station with its outputs on, in each engine, and print the table."""
    import statistics

    from nut_benchmarks.station_rate import station_rate
    from nut_runtime.engines import ENGINES

    if bundle is None or dataset is None:
        raise InputError("give a bundle and a data set to measure a station with: --bundle DIR --dataset DIR")
    head = "parts a second, medians; share with its quartiles; rejects, whose pictures were saved"
    click.echo(f"{'':<12} {'engine alone':>14} {'station':>14} {'share':>20}  {head}")
    for engine in sorted(ENGINES):
        found = station_rate(bundle, dataset, engine=engine, threads=threads or None)
        bare, whole = statistics.median(found.alone), statistics.median(found.station)
        low, middle, high = found.quartiles
        share = f"{middle:.1%} ({low:.0%}-{high:.0%})"
        click.echo(f"{engine:<12} {bare:>14.1f} {whole:>14.1f} {share:>20}  {found.rejects:.0%}")


def _bench_growth(dataset: Path | None, config: "BenchConfig", out: Path, *, overwrite: bool) -> None:
    """Measure how latency and memory grow with the bank, and print and write the table."""
    from rich.console import Console

    from nut_benchmarks.growth import run_growth
    from nut_benchmarks.growth_report import GROWTH_FILE, growth_table, write_growth
    from nut_runtime.atomic import new_folder
    from nut_runtime.engines import ENGINES
    from nut_runtime.machine import this_machine

    if dataset is None:
        raise InputError("the banks are made of a data set's patches; give one with --dataset DIR")
    machine = this_machine()
    threads = config.threads or machine.cores
    console = Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH)
    with new_folder(out, marker=GROWTH_FILE, overwrite=overwrite, inputs=[dataset]) as folder:
        with progress_bars() as progress:
            steps = run_growth(dataset, list(ENGINES), config=config, progress=progress)
        write_growth(folder, steps, machine, threads=threads, dataset=dataset.resolve().name)
    console.print(growth_table(steps))
    for step in steps:
        for label, note in step.notes.items():
            click.echo(f"  {step.rows:>9,} rows, {label}: {note}")
    click.echo(f"results {out / GROWTH_FILE}\ntable   {out / 'growth.md'}\nfigure  {out / 'growth.png'}")


@click.command(cls=NutCommand)
@click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="A data set of your own; weld nuts are drawn by default.",
)
@click.option(
    "-o",
    "--output",
    "out",
    default="demo",
    show_default=True,
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder for everything it makes.",
)
@click.option("--train", type=int, default=60, show_default=True, metavar="N", help="Good nuts drawn to train on.")
@click.option("--good", type=int, default=20, show_default=True, metavar="N", help="Good nuts drawn to test with.")
@click.option("--defects", type=int, default=30, show_default=True, metavar="N", help="Defective nuts drawn.")
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Fixes pictures and training.")
@click.option("--force", is_flag=True, help="Use a folder that holds an older demo.")
def demo(data: Path | None, out: Path, train: int, good: int, defects: int, seed: int, force: bool) -> None:
    """Draw nuts, check, train, export, judge and measure: the whole way in one command.

    \b
    nut demo
    nut demo --data my-parts -o my-demo
    """
    from rich.console import Console

    from nut_train.quiet import hush_libraries

    hush_libraries()
    from nut_benchmarks.demo import DemoConfig, run_demo
    from nut_benchmarks.report import bench_table, bench_title
    from nut_dataset.render import report_lines
    from nut_train.cli import print_training

    config = DemoConfig(train=train, good=good, defects=defects, seed=seed)
    with progress_bars() as progress:
        done = run_demo(
            out,
            data=data,
            config=config,
            overwrite=force,
            progress=progress,
            say=lambda stage: click.echo(f"== {stage}", err=True),
        )
    for line in report_lines(done.report):
        click.echo(line)
    print_training(done.run.record)
    console = Console()
    console.print()
    click.echo(bench_title(done.bench))
    console.print(bench_table(done.bench))
    click.echo(
        f"\nreport    {out / 'run' / 'report.html'}\nproof     {out / 'bundle' / 'parity.html'}"
        f"\noverlays  {done.overlays}\nverdicts  {done.verdicts}\nbench     {out / 'bench' / 'bench.md'}"
        f"\nbundle    {out / 'bundle'}\nnext      nut-runtime --model {out / 'bundle'} --camera 0"
    )
