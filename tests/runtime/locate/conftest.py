"""Trays drawn with dark squares, and a bundle whose locator finds what is dark."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nut_runtime.bundle import file_entry, open_bundle
from nut_runtime.locate.entry import GoldenTray, LocatorEntry
from nut_runtime.locate.settings import CutoutSettings, FindSettings
from nut_runtime.manifest import MANIFEST
from nut_runtime.pictures import write_picture

SIDE = 44
"""Of a part, in pixels of a frame of 640x480."""
_EROSIONS = 11
"""As deep as a part is at half the frame's size."""

Place = tuple[float, float, float]
"""A part's centre, x and y, and by how many degrees it is turned."""


def _labels(places: Sequence[Place], size: tuple[int, int], side: float) -> np.ndarray:
    """Return which part each pixel belongs to, int32 `[H, W]`; the later one lies on top."""
    labels = np.zeros(size, np.int32)
    for number, (x, y, angle) in enumerate(places, 1):
        cv2.fillPoly(labels, [cv2.boxPoints(((x, y), (side, side), angle)).round().astype(np.int32)], number)
    return labels


def _distance_map(labels: np.ndarray) -> np.ndarray:
    """Return the exact distance map of parts, as the contract has it."""
    found = np.zeros(labels.shape, np.float32)
    for number in range(1, int(labels.max()) + 1):
        inside = cv2.copyMakeBorder((labels == number).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        distance = cv2.distanceTransform(inside, cv2.DIST_L2, 5)[1:-1, 1:-1]
        if distance.max() > 0:
            found = np.maximum(found, distance / distance.max())
    return found


def _frame(places: Sequence[Place], size: tuple[int, int] = (480, 640), side: float = SIDE) -> np.ndarray:
    """Return a picture of a tray: dark parts with a light bore, on light grey."""
    rng = np.random.default_rng(3)
    frame = rng.normal(215, 3, (*size, 3))
    labels = _labels(places, size, side)
    steel = rng.normal(70, 12, (*size, 3))  # of the whole frame, so that a part looks alike whatever lies beside it
    frame[labels > 0] = steel[labels > 0]
    return np.clip(frame, 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def labels_of() -> Callable[..., np.ndarray]:
    return _labels


@pytest.fixture(scope="session")
def distance_map() -> Callable[[np.ndarray], np.ndarray]:
    return _distance_map


@pytest.fixture(scope="session")
def tray_frame() -> Callable[..., np.ndarray]:
    """A function that draws a frame: `tray_frame([(x, y, degrees), ...], size=(H, W), side=px)`."""
    return _frame


@pytest.fixture(scope="session")
def places() -> list[Place]:
    """Six parts in two rows, none at the edge."""
    return [(100.0, 120, 0), (260, 130, 20), (420, 125, 45), (110, 300, 70), (280, 310, 10), (430, 305, 30)]


def _fake_locator() -> bytes:
    """Return a model that takes for a part what is dark: a chessboard distance map at half the frame's size."""
    from onnx import TensorProto, checker, helper

    nodes, sums = [], []

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    one = node("Cast", ["image"], "float", to=TensorProto.FLOAT)
    one = node("Transpose", [one], "planes", perm=[0, 3, 1, 2])
    one = node("ReduceMean", [one], "grey", axes=[1], keepdims=1)
    one = node("AveragePool", [one], "half", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    one = node("Cast", [node("Less", [one, "limit"], "dark")], "inside", to=TensorProto.FLOAT)
    for step in range(_EROSIONS):
        sums.append(one)
        light = node("Neg", [one], f"light{step}")
        wider = node("MaxPool", [light], f"wider{step}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        one = node("Neg", [wider], f"eroded{step}")
    node("Div", [node("Sum", sums, "depth"), "deepest"], "distance_map")
    graph = helper.make_graph(
        nodes,
        "fake locator",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, "H", "W", 3])],
        [helper.make_tensor_value_info("distance_map", TensorProto.FLOAT, [1, 1, "h", "w"])],
        [
            helper.make_tensor("limit", TensorProto.FLOAT, [], [128.0]),
            helper.make_tensor("deepest", TensorProto.FLOAT, [], [float(_EROSIONS)]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def _rewrite(folder: Path, manifest: object) -> None:
    """Write a manifest as it is, with the sums of the files that lie there now."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    files = {name: file_entry(folder / name) for name in sorted(names)}
    text = json.dumps(replace(manifest, files=files).to_json())
    (folder / MANIFEST).write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def rewrite() -> Callable[[Path, object], None]:
    """A function that writes a manifest into a bundle: `rewrite(folder, manifest)`."""
    return _rewrite


def _with_locator(judge: Path, folder: Path, places: Sequence[Place]) -> Path:
    """Write a bundle with the judge of another one and the fake locator; half of `places` are above its threshold."""
    from nut_runtime.engines.import_onnxruntime import import_onnxruntime
    from nut_runtime.engines.import_openvino import import_openvino
    from nut_runtime.inspector import Inspector
    from nut_runtime.locate.finding import find_instances
    from nut_runtime.locate.tray import TrayInspector

    shutil.copytree(judge, folder)
    model, onnxruntime, openvino = _fake_locator(), import_onnxruntime(), import_openvino()
    (folder / "locator.onnx").write_bytes(model)
    openvino.save_model(openvino.convert_model(folder / "locator.onnx"), folder / "locator.xml", compress_to_fp16=False)
    frame = _frame(places)
    write_picture(folder / "golden" / "tray.png", frame)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    found = session.run(["distance_map"], {"image": frame[None]})[0][0, 0]
    np.savez_compressed(folder / "golden" / "tray.npz", distance_map=found)
    find = FindSettings()
    entry = LocatorEntry(
        models={"openvino": "locator.xml", "onnxruntime": "locator.onnx"},
        precision="fp32",
        long_side_px=320,
        find=find,
        cutout=CutoutSettings(size_px=96),
        golden=(
            GoldenTray(
                picture="golden/tray.png",
                map="golden/tray.npz",
                centres=tuple(one.centre for one in find_instances(found, frame_px=(480, 640), settings=find)),
            ),
        ),
        tolerances={"openvino": 1e-4, "onnxruntime": 1e-4},
    )
    manifest = replace(open_bundle(judge).manifest, locator=entry)
    _rewrite(folder, manifest)
    # The judge knows nuts and not dark squares: its threshold is put where half of them are defective.
    scores = [nut.verdict.raw_score for nut in TrayInspector(Inspector(folder)).inspect(frame).nuts]
    image = replace(manifest.point.image, threshold=float(np.median(scores)))
    _rewrite(folder, replace(manifest, point=replace(manifest.point, image=image)))
    return folder


@pytest.fixture(scope="session")
def tray_bundle(bundle_folder, places, tmp_path_factory) -> Path:
    """A bundle for trays, with the judge of `bundle_folder`."""
    return _with_locator(bundle_folder, tmp_path_factory.mktemp("trays") / "bundle", places)


@pytest.fixture(scope="session")
def tray_batch_bundle(batch_bundle, places, tmp_path_factory) -> Path:
    """A bundle for trays whose judge takes three parts at once, too."""
    return _with_locator(batch_bundle, tmp_path_factory.mktemp("trays") / "bundle", places)
