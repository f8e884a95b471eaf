"""Verdicts come in the order of their frames, however many are judged at a time."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from nut_runtime.bundle import open_bundle
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.errors import EngineError, InputError, PictureError, SourceError
from nut_runtime.inspector import Inspector
from nut_runtime.judging import judge_in_order
from nut_runtime.pictures import read_picture
from nut_runtime.sources.base import Frame, now


@dataclass
class _Source:
    """Frames whose first pixel is their number; it may break off, and notes how many were taken."""

    frames: int
    breaks: bool = False
    taken: int = 0
    count: int | None = None

    def __iter__(self) -> Iterator[Frame]:
        for number in range(self.frames):
            self.taken += 1
            picture = None if number == 3 else np.full((8, 8, 3), number, np.uint8)
            error = PictureError("torn") if number == 3 else None
            yield Frame(source=f"f{number}", name="f", timestamp=now(), capture_ms=0.0, picture=picture, error=error)
        if self.breaks:
            raise SourceError("unplugged")

    def close(self) -> None:
        pass


class _Inspector:
    """Judges later frames sooner, and notes how many are judged at the same time."""

    def __init__(self) -> None:
        self.warmed, self.at_once, self.most = 0, 0, 0
        self.lock = threading.Lock()

    def warm_up(self, height: int, width: int) -> None:
        self.warmed += 1

    def inspect(self, frame: np.ndarray) -> int:
        number = int(frame[0, 0, 0])
        with self.lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.03 if number % 2 == 0 else 0.001)
        with self.lock:
            self.at_once -= 1
        if number == 66:
            raise EngineError("broken")
        return number


@pytest.mark.parametrize("streams", [1, 2, 5])
def test_verdicts_come_in_the_order_of_the_frames(streams):
    inspector = _Inspector()
    judged = list(judge_in_order(_Source(9), inspector, streams=streams))
    assert [one.sequence for one in judged] == list(range(1, 10))
    assert [one.verdict for one in judged] == [0, 1, 2, None, 4, 5, 6, 7, 8]
    assert "torn" in str(judged[3].error)
    assert inspector.most == (1 if streams == 1 else pytest.approx(streams, abs=streams - 2))
    assert inspector.warmed == 1


@pytest.mark.parametrize("streams", [1, 3])
def test_a_source_that_breaks_off_ends_after_everything_before_it(streams):
    told = []
    with pytest.raises(SourceError, match="unplugged"):
        told.extend(iter_into(told, judge_in_order(_Source(5, breaks=True), _Inspector(), streams=streams)))
    assert [one.sequence for one in told] == [1, 2, 3, 4, 5]


def iter_into(told, judged):
    """Keep what comes before an error."""
    for one in judged:
        told.append(one)
    return []


@pytest.mark.parametrize("streams", [1, 3])
def test_a_limit_takes_no_frame_more_from_the_source(streams):
    source = _Source(9)
    assert len(list(judge_in_order(source, _Inspector(), streams=streams, limit=2))) == 2
    assert source.taken == 2


def test_an_engine_that_fails_ends_it():
    class _Broken(_Source):
        def __iter__(self) -> Iterator[Frame]:
            yield Frame(source="f", name="f", timestamp=now(), capture_ms=0.0, picture=np.full((8, 8, 3), 66, np.uint8))

    with pytest.raises(EngineError, match="broken"):
        list(judge_in_order(_Broken(1), _Inspector(), streams=2))


@pytest.mark.parametrize("engine", list(ENGINES))
def test_several_streams_judge_as_one_does(engine, bundle_folder, nuts):
    paths = sorted((nuts / "test").rglob("*.png"))
    one = load_engine(open_bundle(bundle_folder), engine, threads=2)
    alone = [one.infer(read_picture(path)).raw_score for path in paths]
    inspector = Inspector(bundle_folder, engine=engine, threads=2, streams=2)

    class _Pictures:
        count = None

        def __iter__(self) -> Iterator[Frame]:
            for path in paths * 3:
                yield Frame(
                    source=str(path), name=path.stem, timestamp=now(), capture_ms=0.0, picture=read_picture(path)
                )

        def close(self) -> None:
            pass

    together = [one.verdict.raw_score for one in judge_in_order(_Pictures(), inspector, streams=2)]
    # another number of threads may sum in another order
    assert together == pytest.approx(alone * 3, rel=1e-5)


@pytest.mark.parametrize("engine", list(ENGINES))
def test_no_streams_at_all_are_refused(engine, bundle_folder):
    with pytest.raises(InputError, match="0 streams"):
        load_engine(open_bundle(bundle_folder), engine, streams=0)


def test_openvino_starts_afresh_between_frames_of_many_sizes_in_several_streams(bundle_folder, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    from nut_runtime.engines import openvino

    monkeypatch.setattr(openvino, "_SIZES_KEPT", 3)
    engine = load_engine(open_bundle(bundle_folder), "openvino", streams=2)
    frames = [np.full((20 + number, 30, 3), 90, np.uint8) for number in range(8)]
    with ThreadPoolExecutor(2) as pool:
        scores = [result.raw_score for result in pool.map(engine.infer, frames)]
    assert scores == pytest.approx([engine.infer(frame).raw_score for frame in frames], rel=1e-5)
