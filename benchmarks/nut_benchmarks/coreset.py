"""The selection of the memory bank beside anomalib's: time, covering radius and memory of one run.

    python -m nut_benchmarks.coreset --rows 225000 --width 1536 --ratio 0.01
    python -m nut_benchmarks.coreset --features features.npy --ratio 0.1 --anomalib-picks 100

Both start at the same row of the same projected features. anomalib's own loop is run for so many picks, in a process of
its own, and its time for all of them extrapolated: every pick costs it the same. Its picks are compared one by one with
the first of ours, and the covering radius of both is measured apart, with plain products in float64.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from nut_benchmarks.own_process import run_in_process
from nut_dataset.progress import progress_bars
from nut_runtime.atomic import write_json
from nut_runtime.cli_errors import NutCommand
from nut_runtime.errors import InputError
from nut_runtime.machine import this_machine
from nut_train.coreset import select_coreset
from nut_train.free_memory import size_text
from nut_train.projection import project

__all__ = ["covering_radius", "measure_coreset"]

_BLOCK_ROWS = 4096
_FEWEST_PICKS = 2


def measure_coreset(features: Path, *, ratio: float, anomalib_picks: int, threads: int, seed: int) -> dict[str, Any]:
    """Select a coreset with our search and with anomalib's loop, each in a process of its own.

    Args:
        features: A `.npy` of float32 `[N, D]`, patch features before the projection.
        ratio: Share of the rows to pick, in (0, 1].
        anomalib_picks: Picks that anomalib is timed for, at least 2.
        threads: Threads to compute with.
        seed: Of the projection and the start.

    Returns:
        Figures in seconds, bytes and units of the projected features.

    Raises:
        InputError: If the file is no such array, or the ratio keeps fewer than two rows.
    """
    try:
        given = np.load(features, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{features} is not a .npy file of features: {error}") from error
    if len(given.shape) != len(("N", "D")) or given.dtype != np.float32:
        raise InputError(f"{features} has {given.dtype} of shape {list(given.shape)}, expected float32 [N, D]")
    count = int(len(given) * ratio)
    if count < _FEWEST_PICKS:
        raise InputError(f"ratio {ratio} keeps {count} of {len(given)} rows, at least {_FEWEST_PICKS} are needed")
    found: dict[str, Any] = {"rows": len(given), "width": int(given.shape[1]), "ratio": ratio, "picks": count}
    found["threads"] = threads
    with tempfile.TemporaryDirectory(prefix="nut-coreset-") as name:
        folder = Path(name)
        for who, picks in (("ours", count), ("anomalib", min(anomalib_picks, count))):
            (folder / who).mkdir()
            job = {"features": str(features.resolve()), "who": who, "count": picks, "seed": seed}
            job["out"] = str(folder / who)
            run_in_process("nut_benchmarks.coreset", job, folder / who, engine=f"{who} coreset", threads=threads)
            found[who] = json.loads((folder / who / "found.json").read_text(encoding="utf-8"))
        ours, theirs = (np.load(folder / who / "picks.npy", allow_pickle=False) for who in ("ours", "anomalib"))
        projected, _ = _projected(features, seed, folder)
        found["picks_compared"] = len(theirs)
        found["picks_equal"] = int((ours[: len(theirs)] == theirs).sum())
        found["ours"]["radius_of_compared"] = covering_radius(projected, ours[: len(theirs)])
        found["anomalib"]["radius_of_compared"] = covering_radius(projected, theirs)
    for name in ("seconds", "cpu_seconds"):
        found["anomalib"][f"{name}_all"] = found["anomalib"][name] * count / len(theirs)
        found[f"times_faster_by_{name}"] = found["anomalib"][f"{name}_all"] / found["ours"][name]
    found["components"] = int(projected.shape[1])
    return found


def covering_radius(features: Tensor, picks: np.ndarray) -> float:
    """Return the largest distance of any row to its nearest pick, in float64.

    Args:
        features: float32 `[N, C]`.
        picks: Places of rows, int64 `[M]`.
    """
    centres = features[torch.from_numpy(picks)].double()
    norms = centres.square().sum(dim=1)
    farthest = 0.0
    for block in features.split(_BLOCK_ROWS):
        wide = block.double()
        nearest = torch.full((len(wide),), torch.inf, dtype=torch.float64)
        for first in range(0, len(centres), _BLOCK_ROWS):
            part = slice(first, first + _BLOCK_ROWS)
            squares = torch.addmm(norms[part], wide, centres[part].T, alpha=-2)
            nearest = torch.minimum(nearest, squares.min(dim=1).values)
        farthest = max(farthest, float((nearest + wide.square().sum(dim=1)).max()))
    return float(np.sqrt(max(farthest, 0.0)))


def _projected(features: Path, seed: int, folder: Path) -> tuple[Tensor, int]:
    """Project a file's features; read, not mapped, so that its pages do not count as our memory."""
    mapped = np.load(features, mmap_mode="r", allow_pickle=False)
    rows, width = mapped.shape

    def blocks() -> Iterator[Tensor]:
        with features.open("rb") as file:
            file.seek(mapped.offset)
            for first in range(0, rows, _BLOCK_ROWS):
                count = min(_BLOCK_ROWS, rows - first)
                yield torch.from_numpy(np.fromfile(file, np.float32, count * width).reshape(count, width))

    return project(blocks(), rows=rows, width=width, seed=seed, folder=folder)


def _work(job: dict[str, Any]) -> None:
    """Select in this process, and write the picks and what they took."""
    out = Path(job["out"])
    begin = time.perf_counter()
    projected, start = _projected(Path(job["features"]), job["seed"], out)
    projecting = time.perf_counter() - begin
    before = _peak_bytes()
    begin, busy = time.perf_counter(), time.process_time()
    if job["who"] == "ours":
        coreset = select_coreset(projected, job["count"], start=start)
        picks, radius = coreset.picks, coreset.radius
    else:
        picks, radius = _anomalibs(projected, job["count"], start), None
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - busy
    np.save(out / "picks.npy", picks)
    found = {
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "projecting_seconds": projecting,
        "picks": len(picks),
        "radius": radius,
    }
    write_json(out / "found.json", found | {"peak_bytes": _peak_bytes(), "peak_before_bytes": before})


def _anomalibs(features: Tensor, count: int, start: int) -> np.ndarray:
    """Run anomalib's own loop on projected features from a given start."""
    from anomalib.models.components.sampling import KCenterGreedy

    sampler = KCenterGreedy(features[:, :, None], (count + 0.5) / len(features))  # of 3 axes: not projected again
    draw = torch.randint
    torch.randint = lambda *_, **__: torch.tensor([start])  # its start cannot be given
    try:
        return np.array(sampler.select_coreset_idxs(), np.int64)
    finally:
        torch.randint = draw


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


@click.command(cls=NutCommand)
@click.option(
    "--features", type=click.Path(path_type=Path), help="A .npy of float32 [N, D]; else normal noise is drawn."
)
@click.option("--rows", type=click.IntRange(2), default=225_000, show_default=True, help="Rows of the noise.")
@click.option("--width", type=click.IntRange(1), default=1536, show_default=True, help="Width of the noise.")
@click.option("--ratio", type=click.FloatRange(0, 1, min_open=True), default=0.01, show_default=True)
@click.option("--anomalib-picks", type=click.IntRange(2), default=50, show_default=True, help="Picks it is timed for.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads to compute with.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of noise, projection and start.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def main(features: Path | None, rows: int, width: int, **options: Any) -> None:
    r"""Measure the selection of a memory bank beside anomalib's.

    \b
    python -m nut_benchmarks.coreset --rows 225000 --width 1536 --ratio 0.01
    python -m nut_benchmarks.coreset --features features.npy --ratio 0.1 --anomalib-picks 100
    """
    with tempfile.TemporaryDirectory(prefix="nut-coreset-") as name:
        if features is None:
            features = Path(name) / "noise.npy"
            _draw_noise(features, rows, width, options["seed"])
        as_json = options.pop("as_json")
        found = measure_coreset(features, **options) | {"machine": this_machine().to_json()}
    click.echo(json.dumps(found, indent=2) if as_json else _text(found))


def _text(found: dict[str, Any]) -> str:
    """Return the figures for people."""
    ours, theirs = found["ours"], found["anomalib"]
    return (
        f"{found['rows']} x {found['width']} ({found['components']} after the projection), {found['picks']} picks, "
        f"{found['threads']} threads\n"
        f"ours      {ours['seconds']:.1f} s ({ours['cpu_seconds']:.1f} s of processor time), {_memory(ours)}, "
        f"covering radius {ours['radius']:.6g}\n"
        f"anomalib  {theirs['seconds']:.1f} s ({theirs['cpu_seconds']:.1f} s) for {found['picks_compared']} picks, "
        f"{theirs['seconds_all']:.0f} s ({theirs['cpu_seconds_all']:.0f} s) for all (extrapolated), {_memory(theirs)}\n"
        f"same      {found['picks_equal']} of {found['picks_compared']} picks; covering radius of these: ours "
        f"{ours['radius_of_compared']:.6g}, anomalib {theirs['radius_of_compared']:.6g}\n"
        f"faster    {found['times_faster_by_seconds']:.0f} times by the clock, "
        f"{found['times_faster_by_cpu_seconds']:.0f} times by processor time"
    )


def _memory(found: dict[str, Any]) -> str:
    """Return the peak of a process, and what it had been when the selection began: libraries and projected features."""
    peak, before = found["peak_bytes"], found["peak_before_bytes"]
    return f"peak {size_text(peak)} ({size_text(before)} before the selection)"


def _draw_noise(path: Path, rows: int, width: int, seed: int) -> None:
    """Write normal noise in blocks."""
    target = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    generator = np.random.default_rng(seed)
    with progress_bars() as progress:
        for first in range(0, rows, _BLOCK_ROWS):
            block = target[first : first + _BLOCK_ROWS]
            block[:] = generator.standard_normal(block.shape, np.float32)
            progress("drawing noise", min(first + _BLOCK_ROWS, rows), rows)
    target.flush()


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].endswith("job.json"):
        _work(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
    else:
        main()
