"""The exported files hold what their formats and protocols ask: onnx.checker, benchmark_app, KServe v2."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "other-tools.md").read_text(encoding="utf-8")
# Datatypes of the Open Inference Protocol, by what the engines call them.
ONNX_TYPES = {"tensor(uint8)": "UINT8", "tensor(float)": "FP32", "tensor(bool)": "BOOL"}
OPENVINO_TYPES = {"u8": "UINT8", "f32": "FP32", "boolean": "BOOL"}
NUMPY_TYPES = {"UINT8": np.uint8}


def test_onnx_checks_the_whole_file_and_infers_every_shape_strictly(tools_bundle):
    path = tools_bundle.model_path("onnxruntime")
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    assert [opset.domain for opset in model.opset_import] == [""]  # nobody's own operators
    assert {tensor.data_location for tensor in model.graph.initializer} == {onnx.TensorProto.DEFAULT}  # one file


def test_benchmark_app_runs_as_the_docs_say_and_at_the_pinned_precision(tools_bundle, tmp_path):
    line = re.search(r"^benchmark_app .*$", PAGE, re.MULTILINE)
    assert line is not None
    command = shlex.split(line.group().replace("-t 10", "-niter 5"))
    command[0] = str(Path(sys.executable).with_name("benchmark_app"))
    (tmp_path / "bundle").symlink_to(tools_bundle.folder)
    declined = tmp_path / "intel" / "openvino_telemetry"  # what `opt_in_out --opt_out` writes at home
    declined.parent.mkdir()
    declined.write_text("0")
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "INFERENCE_PRECISION_HINT: <Type: 'float32'>" in done.stdout
    assert re.search(r"Count: +5 iterations", done.stdout)


@pytest.fixture(scope="module")
def documented(tools_bundle) -> dict[str, tuple[str, list[int]]]:
    """The table of the docs: datatype and shape by tensor, with this model's input size put in."""
    rows = re.findall(r"^\| `(\w+)` \| `([A-Z0-9]+)` \| `\[(.*?)\]` \|", PAGE, re.MULTILINE)
    size = {"h": tools_bundle.manifest.input_height_px, "w": tools_bundle.manifest.input_width_px}
    return {name: (kind, [int(size.get(side, side)) for side in shape.split(", ")]) for name, kind, shape in rows}


def test_the_kserve_table_is_what_the_onnx_file_says(documented, tools_bundle):
    session = onnxruntime.InferenceSession(tools_bundle.model_path("onnxruntime"), providers=["CPUExecutionProvider"])
    said = {
        node.name: (ONNX_TYPES[node.type], [-1 if isinstance(side, str) else side for side in node.shape])
        for node in (*session.get_inputs(), *session.get_outputs())
    }
    assert documented == said


def test_the_kserve_table_is_what_the_ir_says(documented, tools_bundle):
    model = openvino.Core().read_model(tools_bundle.model_path("openvino"))
    said = {
        port.any_name: (
            OPENVINO_TYPES[port.element_type.get_type_name()],
            [-1 if side.is_dynamic else side.get_length() for side in port.partial_shape],
        )
        for port in (*model.inputs, *model.outputs)
    }
    assert documented == said


def test_the_kserve_request_of_the_docs_fits_the_table_and_is_judged(documented, tools_bundle):
    (text,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    request = json.loads(text)
    (tensor,) = request["inputs"]
    kind, shape = documented[tensor["name"]]
    assert tensor["datatype"] == kind
    assert all(wanted in (-1, side) for wanted, side in zip(shape, tensor["shape"], strict=True))
    frame = np.array(tensor["data"], NUMPY_TYPES[kind]).reshape(tensor["shape"])
    wanted = [output["name"] for output in request["outputs"]]
    session = onnxruntime.InferenceSession(tools_bundle.model_path("onnxruntime"), providers=["CPUExecutionProvider"])
    assert all(np.isfinite(value).all() for value in session.run(wanted, {tensor["name"]: frame}))
