"""How many parts a second a station judges with its outputs on, against the engine alone, in one run."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nut_dataset.evenly import evenly
from nut_dataset.layout import open_dataset
from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.inspector import Inspector
from nut_runtime.parts import Part, Trigger
from nut_runtime.pictures import read_picture
from nut_runtime.pipeline import Pipeline
from nut_runtime.pipeline.judge import Judge
from nut_runtime.pipeline.pipeline import Rules
from nut_runtime.serve.live_state import LiveState
from nut_runtime.sinks.base import Journal, Listener
from nut_runtime.sinks.csv_file import CsvJournal
from nut_runtime.sinks.jsonl import JsonlJournal
from nut_runtime.sinks.pictures import PictureSink, picture_path
from nut_runtime.sinks.sqlite import SqliteJournal
from nut_runtime.sources.base import Frame, now
from nut_runtime.station_file.config import PicturesConfig
from nut_runtime.verdict import Label

__all__ = ["StationRate", "station_rate"]

_PICTURES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StationRate:
    """What was measured.

    Attributes:
        engine: The engine.
        parts: Parts a round.
        alone: Parts a second of the engine alone, by round.
        station: Parts a second of the station, by round.
        rejects: Share of the parts that were rejected, whose pictures were saved.
    """

    engine: str
    parts: int
    alone: tuple[float, ...]
    station: tuple[float, ...]
    rejects: float

    @property
    def ratio(self) -> float:
        """The station's rate as a share of the engine's, median over the rounds, each against its neighbour."""
        return self.quartiles[1]

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """The quartiles of that share over the rounds."""
        shares = [whole / bare for whole, bare in zip(self.station, self.alone, strict=True)]
        low, middle, high = statistics.quantiles(shares, n=4)
        return low, middle, high


class _InMemory:
    """Gives pictures from memory, as fast as they are taken."""

    count = None

    def __init__(self, pictures: Sequence[NDArray[np.uint8]], parts: int) -> None:
        self._pictures, self._parts = pictures, parts

    def __iter__(self) -> Iterator[Part]:
        for number in range(self._parts):
            picture = self._pictures[number % len(self._pictures)]
            frame = Frame(
                source="memory", name="memory", timestamp=now(), capture_ms=0.0, picture=picture, camera="memory"
            )
            yield Part(sequence=0, trigger=Trigger(at=frame.taken_at), frames=(frame,))

    def stop(self) -> None:
        """Do nothing: it ends by itself."""

    def close(self) -> None:
        """Do nothing."""


def station_rate(
    bundle: Path,
    dataset: Path,
    *,
    engine: str | None = None,
    threads: int | None = None,
    parts: int = 150,
    rounds: int = 21,
) -> StationRate:
    """Measure in turns: the engine alone in a loop, and the station with JSONL, CSV, SQLite, pictures and page.

    Many short rounds, each against its neighbour and in changing order: on a machine whose cores others share, the rate
    of one engine alone changes by a third from one second to the next.

    Args:
        bundle: The bundle.
        dataset: Its test pictures are judged, brought to one size as a camera has it.
        engine: As in `Inspector`.
        threads: As in `Inspector`.
        parts: Parts a round.
        rounds: How often both are measured, at least twice.

    Raises:
        InputError: If the data set has no test pictures.
    """
    inspector = Inspector(bundle, engine=engine, threads=threads)
    pictures = _of_one_size(dataset)
    inspector.warm_up(*pictures[0].shape[:2])
    alone, station = [], []
    rejects = 0
    for number in range(rounds):
        for is_station in (number % 2 == 0, number % 2 == 1):
            if is_station:
                with tempfile.TemporaryDirectory(prefix="nut-rate-") as folder:
                    seconds, rejects = _run(inspector, pictures, parts, Path(folder))
                station.append(parts / seconds)
            else:
                alone.append(_alone(inspector, pictures, parts))
    return StationRate(
        engine=inspector.engine.name,
        parts=parts,
        alone=tuple(alone),
        station=tuple(station),
        rejects=rejects / parts,
    )


def _alone(inspector: Inspector, pictures: Sequence[NDArray[np.uint8]], parts: int) -> float:
    """Return the parts a second of the engine alone."""
    started = time.perf_counter()
    for number in range(parts):
        inspector.inspect(pictures[number % len(pictures)])
    return parts / (time.perf_counter() - started)


def _run(inspector: Inspector, pictures: Sequence[NDArray[np.uint8]], parts: int, folder: Path) -> tuple[float, int]:
    """Run a station over so many parts; return the seconds until all was kept, and how many were rejected."""
    saved = PicturesConfig(folder=folder / "pictures")

    def picture(sequence: int, label: Label, frame: Frame) -> str | None:
        path = picture_path(saved, frame.timestamp, sequence, label, frame.name)
        return None if path is None else str(path)

    journals: list[Journal] = [
        JsonlJournal(str(folder / "verdicts.jsonl")),
        CsvJournal(folder / "verdicts.csv"),
        SqliteJournal(folder / "verdicts.sqlite"),
    ]
    listeners: list[Listener] = [PictureSink(saved), LiveState(station="bench", cameras=["memory"])]
    pipeline = Pipeline(
        [_InMemory(pictures, parts)],
        Judge(lambda: inspector),
        Rules(station="bench", bundle=lambda: inspector.bundle.manifest.bundle_id, picture=picture),
        journals=journals,
        listeners=listeners,
        health=Health(),
    )
    summary = pipeline.run()
    return summary.seconds, summary.rejects


def _of_one_size(dataset: Path) -> list[NDArray[np.uint8]]:
    """Return test pictures brought to the size of the first, as a camera has one."""
    import cv2

    found = open_dataset(dataset)
    paths = evenly([*found.test_good, *found.defective], _PICTURES)
    if not paths:
        raise InputError(f"{dataset} has no test pictures to judge")
    pictures = [read_picture(path) for path in paths]
    height, width = pictures[0].shape[:2]
    return [cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) for picture in pictures]
