"""`nut train-all`."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nut_dataset.progress import progress_bars
from nut_runtime.cli_errors import NutCommand, say

if TYPE_CHECKING:
    from nut_benchmarks.train_all.job import Job
    from nut_benchmarks.train_all.processes import Workers
    from nut_benchmarks.train_all.standing import Standing

__all__ = ["train_all"]

_SOME_FAILED = 1


@click.command(cls=NutCommand)
@click.argument("root", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "out", required=True, metavar="OUT", type=click.Path(path_type=Path), help="Folder to write to."
)
@click.option(
    "--config",
    "config_file",
    metavar="FILE.toml",
    type=click.Path(path_type=Path),
    help='Tables [train] and [export] for all parts, [part."NAME".train] and [part."NAME".export] for one.',
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Parts at a time; by cores and memory by default."
)
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Threads of each part; its share by default.")
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="How often a part is begun again whose process or machine died.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Use Ray: local starts it on this machine, auto or HOST:PORT joins a cluster that shares ROOT and OUT.",
)
@click.option("--dry-run", is_flag=True, help="Only say which parts there are and what would be done.")
@click.option(
    "--force",
    is_flag=True,
    help="Do all parts again, those that are done too; interrupted, it is gone on with by --force.",
)
def train_all(
    root: Path,
    out: Path,
    config_file: Path | None,
    jobs: int | None,
    threads: int | None,
    retries: int,
    address: str | None,
    dry_run: bool,
    force: bool,
) -> None:
    """Train, evaluate and export every data set below ROOT, into OUT/PART/run and OUT/PART/bundle.

    The same command again goes on: parts that are done, with the same arguments and pictures, are kept. Exit code 1
    when some part failed; the others are done.

    \b
    nut train-all parts -o models
    nut train-all parts -o models --config plant.toml --jobs 4
    nut train-all parts -o models --dry-run
    nut train-all parts -o /mnt/share/models --address 10.0.0.5:6379
    """
    from nut_benchmarks.train_all.cluster_address import check_address, check_cluster
    from nut_benchmarks.train_all.parts import find_parts
    from nut_train.quiet import hush_libraries

    hush_libraries()
    parts = find_parts(root, out=out)
    if address is not None:  # before what takes long to import
        check_address(address)
        if not dry_run:
            check_cluster(address)
    from nut_benchmarks.train_all.config import read_config
    from nut_benchmarks.train_all.every_part import (
        check_output,
        do_parts,
        forced_pass_of,
        look_at_parts,
        make_jobs,
        own_output,
    )

    configs = read_config(config_file, [part.name for part in parts])
    check_output(root, out, is_forced=force)
    todo = make_jobs(parts, configs, out, attempts=retries + 1)
    pending = forced_pass_of(root, out)
    if pending is not None and not force:
        say("a pass with --force was interrupted; give --force again to go on with it")
    if dry_run:
        with progress_bars() as progress:
            _say_plan(look_at_parts(_in_pass(todo, (pending or "new") if force else None), progress))
        return
    with own_output(root, out, is_forced=force) as forced_pass:
        with progress_bars() as progress:
            standings = look_at_parts(_in_pass(todo, forced_pass), progress)
        left = [standing.job for standing in standings if standing.why is not None]
        say(f"{len(parts)} parts, {len(left)} to do")
        try:
            with (
                _workers(address, left, jobs, threads, root.resolve(), out.resolve()) as workers,
                progress_bars() as progress,
            ):
                summary = do_parts(root, out, standings, workers, command=_command(), progress=progress, say=say)
        except KeyboardInterrupt:
            click.echo(f"the parts that are done stay in {out}; the same command goes on", err=True)
            raise
    failed = summary.count("failed")
    say(f"{summary.count('done')} done, {summary.count('kept')} kept, {failed} failed\nsummary {out / 'summary.html'}")
    if failed:
        raise click.exceptions.Exit(_SOME_FAILED)


def _in_pass(jobs: "list[Job]", forced_pass: str | None) -> "list[Job]":
    """Return the same jobs as those of a pass with `--force`, where there is one."""
    return [replace(job, forced_pass=forced_pass) for job in jobs]


@contextmanager
def _workers(
    address: str | None,
    left: "list[Job]",
    jobs: int | None,
    threads: int | None,
    root: Path,
    out: Path,
) -> "Iterator[Workers]":
    """Give what does the parts: processes, or the tasks of a cluster."""
    import torch

    from nut_benchmarks.train_all.processes import Processes, share_machine, visible_gpus

    uses_gpu = any(job.uses_gpu for job in left)
    gpus = visible_gpus(torch.cuda.device_count()) if uses_gpu else ()
    share = share_machine(len(left), jobs=jobs, threads=threads, gpus=len(gpus))
    if address is None or not left:
        yield Processes(share, gpus=gpus)
        return
    from nut_benchmarks.train_all.cluster import CLUSTER_THREADS, ray_workers

    if address != "local":
        share = replace(share, jobs=jobs or 0, threads=threads or CLUSTER_THREADS)
    with ray_workers(address, share=share, root=root, out=out) as workers:
        yield workers


def _say_plan(standings: "list[Standing]") -> None:
    """Say what would be done."""
    for standing in standings:
        if standing.why is None:
            plan = "kept, its bundle was changed since" if standing.is_changed else "kept, it is done"
        else:
            stays = "; its bundle was changed since and will stay beside the new one" if standing.is_changed else ""
            plan = f"to do, {standing.why}{stays}"
        say(f"{standing.job.name}: {plan}")
    left = sum(standing.why is not None for standing in standings)
    say(f"{len(standings)} parts, {left} to do")


def _command() -> str:
    return shlex.join(["nut", *sys.argv[1:]])
