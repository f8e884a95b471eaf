"""Which feature extractors there are, and how their pixels are normalised."""

import pytest

from nut_runtime.errors import InputError
from nut_train.backbone import describe_backbone


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        pytest.param("tf_efficientnet_lite0", ("blocks.2", "blocks.4"), id="lite0"),
        pytest.param("resnet18", ("layer2", "layer3"), id="resnet18"),
        pytest.param("wide_resnet50_2", ("layer2", "layer3"), id="wide-resnet50"),
    ],
)
def test_the_blocks_of_strides_8_and_16_are_taken_by_default(name, layers):
    assert describe_backbone(name, image_size=(64, 64)).layers == layers


@pytest.mark.parametrize(
    ("name", "mean", "std"),
    [
        pytest.param("tf_efficientnet_lite0", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), id="lite0-by-a-half"),
        pytest.param("resnet18", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), id="resnet18-by-imagenet"),
    ],
)
def test_each_backbone_is_normalised_as_it_was_trained(name, mean, std):
    backbone = describe_backbone(name, image_size=(64, 64))
    assert (backbone.mean, backbone.std) == (mean, std)


def test_the_finest_layer_leads_whatever_order_was_asked_for():
    asked = ("layer3", "layer1", "layer2")
    assert describe_backbone("resnet18", asked, image_size=(64, 64)).layers == ("layer1", "layer2", "layer3")


def test_an_unknown_backbone_lists_near_ones():
    with pytest.raises(InputError, match=r"unknown backbone 'resnet_18', did you mean .*resnet18"):
        describe_backbone("resnet_18")


def test_an_unknown_tag_of_a_known_backbone_is_named():
    with pytest.raises(InputError, match=r"Invalid pretrained tag \(nope\)"):
        describe_backbone("resnet18.nope")


def test_an_unknown_layer_lists_near_ones_and_all_there_are():
    with pytest.raises(InputError, match=r"no layer 'layr2', did you mean layer2.*; it has act1, layer1, layer2"):
        describe_backbone("resnet18", ("layr2",))


def test_a_layer_that_is_named_twice_is_refused():
    with pytest.raises(InputError, match="each may be named once"):
        describe_backbone("resnet18", ("layer2", "layer2"))


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        pytest.param("vit_tiny_patch16_224", (256, 256), "does not take pictures of 256x256 px", id="transformer"),
        pytest.param("mixer_s16_224", (128, 96), "does not take pictures of 128x96 px", id="mlp-mixer"),
        pytest.param("swin_tiny_patch4_window7_224", (224, 224), r"shape \[1, 56, 56, 96\].*channels first", id="swin"),
        pytest.param("coat_tiny", (256, 256), "has no layers of strides 8 and 16", id="no-strides"),
    ],
)
def test_a_network_that_is_not_convolutional_is_refused_in_one_line(name, size, says):
    with pytest.raises(InputError, match=says) as caught:
        describe_backbone(name, image_size=size)
    assert "\n" not in str(caught.value)
