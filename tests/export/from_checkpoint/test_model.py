"""The model is built from checked arguments, and tried, before anything is exported."""

import pytest
import torch

from nut_export.from_checkpoint.reading import BANK
from nut_export.from_checkpoint.run import open_checkpoint
from nut_runtime.errors import InputError

KERNEL = "model.anomaly_map_generator.blur.kernel"


def _arguments(**values: object):
    return lambda content: content["hyper_parameters"].update(values)


def _flatten_blur(content):
    kernel = content["state_dict"][KERNEL]
    content["state_dict"][KERNEL] = torch.full_like(kernel, 1 / kernel.numel())


def _first_weight(content):
    return next(name for name in content["state_dict"] if name.startswith("model.feature_extractor."))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(_arguments(backbone="resnet999"), "backbone 'resnet999', which timm does not know", id="backbone"),
        pytest.param(_arguments(backbone="hf_hub:a/b"), "which timm does not know", id="hub"),
        pytest.param(_arguments(backbone="resnet34"), "does not fit backbone resnet34", id="other-backbone"),
        pytest.param(_arguments(layers=["layer2", "layer9"]), "layer2, layer9, not all of which", id="layer"),
        pytest.param(_arguments(layers=[2, 3]), r"layers \[2, 3\], expected their names", id="numbers"),
        pytest.param(_arguments(layers=["layer2"]), "does not fit|of width 384", id="fewer-layers"),
        pytest.param(_arguments(num_neighbors=0), "neighbours 0, expected at least 1", id="no-neighbours"),
        pytest.param(_arguments(num_neighbors="9"), "'9' for num_neighbors", id="text"),
        pytest.param(_arguments(coreset_sampling_ratio="x"), "altered.ckpt: ", id="ratio"),
        pytest.param(
            lambda content: content["hyper_parameters"].pop("layers"), "lacks layers in its hyper_parameters", id="gone"
        ),
        pytest.param(
            lambda content: content["state_dict"].update({BANK: torch.rand(9, 100)}),
            "a memory bank of width 100, its backbone resnet18 gives 384",
            id="width",
        ),
        pytest.param(_flatten_blur, "blurs its anomaly maps otherwise than anomalib does", id="blur"),
        pytest.param(
            lambda content: content["state_dict"].pop(_first_weight(content)), "does not fit backbone", id="tensor"
        ),
    ],
)
def test_arguments_that_do_not_fit_the_tensors_are_one_line(altered, change, says):
    path = altered(change)
    with pytest.raises(InputError, match=says) as caught:
        open_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_an_input_smaller_than_the_blur_is_refused(altered):
    def shrink(content):
        resize = content["anomalib_pre_processor_config"]["transform"]["init_args"]["transforms"][0]
        resize["init_args"]["size"] = [32, 32]

    path = altered(shrink)
    with pytest.raises(InputError, match="image size 32 px, expected 64 to 1024"):
        open_checkpoint(path)
