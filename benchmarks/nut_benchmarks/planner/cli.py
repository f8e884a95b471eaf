"""`nut plan`."""

from pathlib import Path

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand
from nut_runtime.engines import ENGINES
from nut_runtime.engines.base import PRECISIONS
from nut_train.config import DEVICES

__all__ = ["plan"]

_PIPED_WIDTH = 160  # characters of the table where no terminal limits it


@click.command(cls=NutCommand)
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option("--target-ms", type=float, required=True, metavar="MS", help="Time within which a part must be judged.")
@click.option(
    "--cameras",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help="Cameras that share this machine; the parts of all must be judged in time.",
)
@click.option(
    "-o",
    "--output",
    "out",
    default="plan",
    show_default=True,
    metavar="OUT",
    type=click.Path(path_type=Path),
    help="Folder to write.",
)
@click.option(
    "--backbone",
    "backbones",
    multiple=True,
    metavar="NAME[=FILE]",
    show_default="those whose weights packages are installed",
    help="A timm model to try, with a weights file where it needs one; may be given again.",
)
@click.option(
    "--image-size",
    "image_sizes",
    multiple=True,
    metavar="PX|HxW",
    show_default="160, 224, 256 and 320",
    help="A size of the model's input to try; may be given again.",
)
@click.option(
    "--coreset-ratio",
    "coreset_ratios",
    type=float,
    multiple=True,
    metavar="SHARE",
    show_default="0.01 and 0.1",
    help="A share of patches to keep in the bank; may be given again.",
)
@click.option(
    "--precision",
    "precisions",
    type=click.Choice(PRECISIONS),
    multiple=True,
    show_default="all",
    help="A precision to try; may be given again.",
)
@click.option(
    "--engine",
    "engines",
    type=click.Choice(tuple(ENGINES)),
    multiple=True,
    show_default="the preferred one",
    help="An engine to try; may be given again.",
)
@click.option("--quick", is_flag=True, help="Fewer by default: sizes 160 and 256, a bank of 0.01.")
@click.option(
    "--complete", is_flag=True, help="Try other precisions of banks, too, that fp32 shows not to be worth it."
)
@click.option("--threads", type=int, default=0, show_default="cores", help="Threads to use, of all streams together.")
@click.option(
    "--pictures", type=int, default=100, show_default=True, metavar="N", help="Good pictures in a bank at most."
)
@click.option(
    "--test-pictures", type=int, default=200, show_default=True, metavar="N", help="Test pictures judged at most."
)
@click.option("--warm-up", type=int, default=10, show_default=True, metavar="N", help="Frames before the clock starts.")
@click.option("--repeats", type=int, default=50, show_default=True, metavar="N", help="Timed frames.")
@click.option(
    "--false-reject-rate",
    type=float,
    default=0.01,
    show_default=True,
    help="Share of good parts that may be rejected.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Fixes the split and the coreset's start.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True, help="Where to train.")
@click.option("--force", is_flag=True, help="Replace OUT if it exists.")
def plan(
    dataset: Path,
    target_ms: float,
    cameras: int,
    out: Path,
    backbones: tuple[str, ...],
    image_sizes: tuple[str, ...],
    coreset_ratios: tuple[float, ...],
    precisions: tuple[str, ...],
    engines: tuple[str, ...],
    quick: bool,
    complete: bool,
    threads: int,
    pictures: int,
    test_pictures: int,
    warm_up: int,
    repeats: int,
    false_reject_rate: float,
    seed: int,
    device: str,
    force: bool,
) -> None:
    """Measure what can be afforded on this machine: propose backbone, image size, bank, precision and streams.

    Trains on DATASET, exports and times each candidate, and says what accuracy each one costs. Run it on the kind of
    machine that will judge. The 95th percentile of the time has to meet the target.

    \b
    nut plan nuts --target-ms 30
    nut plan nuts --target-ms 100 --cameras 4 --quick -o plan-4
    nut plan nuts --target-ms 10 --image-size 192x320 --coreset-ratio 0.02 --precision int8
    nut plan nuts --target-ms 30 --backbone tf_efficientnet_lite0 --backbone resnet18=resnet18.safetensors
    """
    from nut_train.quiet import hush_libraries

    hush_libraries()
    from rich.console import Console

    from nut_benchmarks.planner.config import (
        QUICK_RATIOS,
        QUICK_SIDES_PX,
        RATIOS,
        SIDES_PX,
        BackboneChoice,
        PlanConfig,
    )
    from nut_benchmarks.planner.plan import run_plan
    from nut_benchmarks.planner.report import plan_table, refusals
    from nut_benchmarks.planner.words import notes, plan_lines, plan_title
    from nut_train.config import parse_image_size

    sizes = image_sizes or tuple(str(side) for side in (QUICK_SIDES_PX if quick else SIDES_PX))
    config = PlanConfig(
        target_ms=target_ms,
        cameras=cameras,
        backbones=tuple(BackboneChoice.parse(text) for text in backbones),
        image_sizes=tuple(parse_image_size(text) for text in sizes),
        coreset_ratios=coreset_ratios or (QUICK_RATIOS if quick else RATIOS),
        precisions=precisions or PRECISIONS,
        engines=engines,
        threads=threads,
        pictures=pictures,
        test_pictures=test_pictures,
        warm_up=warm_up,
        repeats=repeats,
        is_complete=complete,
        false_reject_rate=false_reject_rate,
        seed=seed,
        device=device,
    )
    with progress_bars() as progress:
        found = run_plan(
            dataset,
            out,
            config,
            overwrite=force,
            progress=progress,
            say=lambda line: click.echo(line, err=True),
        )
    click.echo(plan_title(found))
    console = Console()
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(plan_table(found))
    for refusal in refusals(found):
        click.echo(f"refused {refusal}")
    for note in notes(found):
        click.echo(f"note: {note}")
    for line in plan_lines(found):
        click.echo(line)
    for command in found.commands():
        click.echo(f"  {command}")
    click.echo(
        f"machine {found.machine.cpu}, {found.machine.cores} cores, {' '.join(found.machine.instruction_sets)}\n"
        f"plan    {out / 'plan.json'}\ntable   {out / 'plan.md'}\nfigure  {out / 'plan.png'}"
    )
