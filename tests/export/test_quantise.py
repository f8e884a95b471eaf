"""int8 by post-training quantisation: as near as was asked, said where it is not used, and right without VNNI too."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nut_export.quantise import LEAST_PICTURES, QuantisedFeatures, embeddings, has_depthwise, quantise_features
from nut_runtime.errors import InputError
from nut_runtime.machine import this_machine

SIZE = (32, 24)


def _network(*, groups: int = 1, loudness: float = 1000) -> onnx.ModelProto:
    """Four convolutions from pixels to patch embeddings, of which `fragile` does not survive quantisation.

    One channel in front of it is a thousand times as large as the others and hardly counts, but sets the step of all.
    With a loudness of 1 all survive.
    """
    generator = np.random.default_rng(0)
    loud = np.ones((16, 1, 1, 1), np.float32)
    loud[0] = loudness
    weights = {
        "first": generator.normal(0, 0.4, (16, 3, 3, 3)),
        "middle": generator.normal(0, 0.4, (16, 16 // groups, 3, 3)) * loud,
        "fragile": generator.normal(0, 0.4, (16, 16, 1, 1)) / loud.reshape(1, 16, 1, 1),
        "last": generator.normal(0, 0.4, (24, 16, 1, 1)),
    }
    nodes, source = [], "pixels"
    for name, values in weights.items():
        shape = {"kernel_shape": values.shape[2:], "pads": [values.shape[2] // 2] * 4}
        shape |= {"strides": [2, 2] if name == "first" else [1, 1], "group": groups if name == "middle" else 1}
        nodes.append(helper.make_node("Conv", [source, f"{name}_weights"], [f"{name}_out"], name=name, **shape))
        nodes.append(helper.make_node("Relu", [f"{name}_out"], [f"{name}_relu"], name=f"{name}_relu"))
        source = f"{name}_relu"
    patches = SIZE[0] * SIZE[1] // 4
    nodes.append(helper.make_node("Transpose", [source], ["channels_last"], name="channels_last", perm=[0, 2, 3, 1]))
    nodes.append(helper.make_node("Reshape", ["channels_last", "shape"], ["embedding"], name="flat"))
    constants = [
        numpy_helper.from_array(values.astype(np.float32), f"{name}_weights") for name, values in weights.items()
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 3, *SIZE])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [patches, 24])],
        [*constants, numpy_helper.from_array(np.array([patches, 24]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model, full_check=True)
    return model


def _pixels(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(1)
    return [generator.normal(0, 1, (1, 3, *SIZE)).astype(np.float32) for _ in range(count)]


def _bright(*, groups: int = 1) -> onnx.ModelProto:
    """Return one convolution whose weights and pixels are all large and positive: the worst for narrow sums."""
    weights = np.random.default_rng(0).uniform(0.8, 1.0, (32, 32 // groups, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["pixels", "weights"], ["out"], name="bright", kernel_shape=[3, 3], group=groups),
        helper.make_node("Transpose", ["out"], ["channels_last"], name="channels_last", perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["channels_last", "shape"], ["embedding"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 32, 6, 6])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [16, 32])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([16, 32]), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    return model


def _bright_pixels(count: int = LEAST_PICTURES) -> list[np.ndarray]:
    generator = np.random.default_rng(2)
    return [
        (generator.uniform(0.8, 1, (1, 32, 6, 6)) * (generator.uniform(size=(1, 32, 6, 6)) > 0.05)).astype(np.float32)
        for _ in range(count)
    ]


def _quantised(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """Return the integer weights of each quantised convolution, by name; one in float32 is not there."""
    makers = {output: node for node in model.graph.node for output in node.output}
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        inside = [makers[name] for name in node.input if name in makers and "Dequantize" in makers[name].op_type]
        if node.op_type != "Conv" or not inside:
            continue
        assert len(inside) == 2, "either both sides of a product are integers, or it is not one of integers"
        (weights,) = (one.input[0] for one in inside if one.input[0] in constants)
        found[node.name] = numpy_helper.to_array(constants[weights])
    return found


def _error(model: onnx.ModelProto, reference: onnx.ModelProto, pixels: list[np.ndarray]) -> float:
    """Return the root mean square error of the embeddings as a share of their spread."""
    found, truth = (np.concatenate(embeddings(one, pixels)).astype(np.float64) for one in (model, reference))
    return float(np.sqrt(((found - truth) ** 2).sum() / ((truth - truth.mean(axis=0)) ** 2).sum()))


@pytest.fixture(scope="module", params=[0.3, 0.03])
def quantised(request) -> tuple[float, QuantisedFeatures]:
    return request.param, quantise_features(_network(), _pixels(12), error=request.param)


def test_the_embeddings_are_off_by_no_more_than_was_asked(quantised):
    asked, found = quantised
    assert 0 < found.error <= asked
    # on the pictures that it was measured on: the first, the last and two between
    pixels = _pixels(12)
    assert found.error == pytest.approx(_error(found.model, _network(), [pixels[n] for n in (0, 4, 7, 11)]), rel=1e-3)
    assert _error(found.model, _network(), _pixels(20)[12:]) < 2 * asked


def test_the_layer_that_breaks_is_the_first_to_stay_in_float_and_is_named(quantised):
    asked, found = quantised
    assert found.float_layers[0] == "fragile"
    assert set(_quantised(found.model)) == {"first", "middle", "fragile", "last"} - set(found.float_layers)
    assert found.layers == 4
    if asked == 0.3:
        assert found.float_layers == ("fragile",)


def test_what_survives_is_quantised_as_a_whole_without_trying_each_layer():
    steps: list[tuple[str, int, int]] = []
    network, pixels = _network(loudness=1), _pixels(LEAST_PICTURES)
    found = quantise_features(network, pixels, error=0.3, progress=lambda *step: steps.append(step))
    assert (found.scope, found.float_layers) == ("everything", ())
    assert found.error <= 0.3
    assert set(_quantised(found.model)) == {"first", "middle", "fragile", "last"}
    assert steps == [("quantising", 0, 5), ("quantising", 5, 5)]


def test_only_convolutions_are_quantised_where_one_does_not_survive(quantised):
    _, found = quantised
    assert found.scope == "convolutions"
    kinds = [node.op_type for node in found.model.graph.node]
    assert {kind for kind in kinds if "Quantize" not in kind and "Dequantize" not in kind} == {
        "Conv",
        "Relu",
        "Transpose",
        "Reshape",
    }
    assert kinds.count("QuantizeLinear") <= 4 - len(found.float_layers)


def test_what_a_manifest_keeps_is_plain(quantised):
    _, found = quantised
    facts = found.to_json()
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts) == {"error", "scope", "float_layers", "layers", "pictures"}
    assert facts["pictures"] == 12


def test_where_nothing_survives_all_layers_stay_in_float_and_nothing_changes_or_is_printed(capfd):
    network, pixels = _network(), _pixels(LEAST_PICTURES)
    before = network.SerializeToString(deterministic=True)
    steps: list[tuple[str, int, int]] = []
    found = quantise_features(network, pixels, error=1e-9, progress=lambda *step: steps.append(step))
    assert capfd.readouterr() == ("", "")
    assert network.SerializeToString(deterministic=True) == before
    assert (found.error, sorted(found.float_layers)) == (0, ["first", "fragile", "last", "middle"])
    assert _quantised(found.model) == {}
    for ours, theirs in zip(embeddings(found.model, pixels), embeddings(network, pixels), strict=True):
        assert np.array_equal(ours, theirs)
    # one whole, and each layer alone since that was too far off
    assert steps[0] == ("quantising", 0, 5)
    assert [done for _, done, _ in steps[1:-1]] == [1, 2, 3, 4]
    assert steps[-1] == ("quantising", 5, 5)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_too_few_pictures_are_refused_in_one_line(count):
    says = rf"^{count} pictures to calibrate int8 with, at least 8 are needed; .* --precision fp32$"
    with pytest.raises(InputError, match=says):
        quantise_features(_network(), _pixels(count), error=0.1)


def test_of_many_pictures_a_hundred_are_used():
    assert quantise_features(_bright(), _bright_pixels(130), error=9.0).pictures == 100


@pytest.mark.parametrize(("groups", "expected"), [(1, False), (16, True)])
def test_a_depthwise_convolution_is_noticed(groups, expected):
    assert has_depthwise(_network(groups=groups)) is expected


def test_the_sum_of_two_products_fits_in_16_bits(quantised):
    """CPUs without VNNI add pairs of products of an unsigned and a signed byte up in int16, and saturate."""
    _, found = quantised
    for name, weights in _quantised(found.model).items():
        largest = int(np.abs(weights.astype(np.int32)).max())
        assert largest > 32, f"{name} wastes half of its range"
        assert 2 * 255 * largest <= np.iinfo(np.int16).max, name


_COMPUTE = """
import sys
import numpy as np, openvino
core = openvino.Core()
pixels = list(np.load(sys.argv[1]))
for path in sys.argv[3:]:
    compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = {str(one.get_rt_info()["primitiveType"].astype(str)) for one in compiled.get_runtime_model().get_ops()}
    print(sorted(kind for kind in kinds if kind.endswith("_I8")))
    np.save(path + sys.argv[2], np.concatenate([np.array(compiled(one)[0]) for one in pixels]))
"""


def test_the_same_file_is_right_on_a_cpu_without_vnni(tmp_path, monkeypatch):
    """OpenVINO told to use AVX2 alone computes to the bit what it computes with everything this machine has."""
    machine = this_machine()
    if "avx2" not in machine.instruction_sets:
        pytest.skip("this is no x86 with AVX2, whose narrow sums are looked at")
    pixels = _bright_pixels()
    np.save(tmp_path / "pixels.npy", np.stack(pixels))
    files = [str(tmp_path / f"{name}.onnx") for name in ("ours", "depthwise", "full_range")]
    onnx.save(quantise_features(_bright(), pixels, error=9.0).model, files[0])
    onnx.save(quantise_features(_bright(groups=32), pixels, error=9.0).model, files[1])
    parameters = sys.modules["nncf.quantization.advanced_parameters"]  # what we would have without the halved range:
    monkeypatch.setattr(parameters, "OverflowFix", SimpleNamespace(ENABLE=parameters.OverflowFix.DISABLE))
    onnx.save(quantise_features(_bright(), pixels, error=9.0).model, files[2])
    printed = []
    for ending, limit in ((".all.npy", {}), (".avx2.npy", {"ONEDNN_MAX_CPU_ISA": "AVX2"})):
        done = subprocess.run(
            [sys.executable, "-c", _COMPUTE, str(tmp_path / "pixels.npy"), ending, *files],
            env=os.environ | limit,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        printed.append(done.stdout.splitlines())
    told = printed[1][:2] if machine.lacks_vnni else printed[1]  # the third runs in float32 where VNNI is missing
    assert all("avx2" in kind for kind in told), f"the limit was not taken up: {printed}"
    assert not any("vnni" in kind for kind in printed[1]), f"the limit was not taken up: {printed}"
    ours, depthwise, full_range = (
        float(np.abs(np.load(f"{path}.all.npy") - np.load(f"{path}.avx2.npy")).max()) for path in files
    )
    truth = np.concatenate(embeddings(_bright(), pixels))
    off = float(np.abs(np.load(f"{files[0]}.all.npy") - truth).max())  # what rounding to 8 bits costs
    assert ours <= off / 100
    assert depthwise <= off / 100
    if not machine.lacks_vnni:
        assert full_range > 10 * off, "this machine's sums do not saturate, so the test tells nothing"
