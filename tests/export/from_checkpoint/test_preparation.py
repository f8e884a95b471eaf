"""How pictures are prepared comes from the checkpoint; what the graph does not do is refused by name."""

import pytest
import torch
from torchvision.transforms.v2 import CenterCrop, Compose, Grayscale, InterpolationMode, Normalize, Resize

from nut_export.from_checkpoint.preparation import prepare
from nut_export.from_checkpoint.reading import read_checkpoint
from nut_runtime.errors import InputError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
RESIZE, NORMALIZE = Resize((64, 80), antialias=True), Normalize(MEAN, STD)


@pytest.fixture
def with_transform(altered):
    """Return a function that writes a checkpoint whose pre-processor has another transform, as anomalib keeps it."""
    from anomalib.pre_processing.utils.spec import transform_to_spec

    def write(transform):
        spec = transform_to_spec(transform)
        return read_checkpoint(altered(lambda content: content["anomalib_pre_processor_config"].update(transform=spec)))

    return write


def test_size_and_normalisation_are_those_of_the_checkpoint(checkpoint):
    preparation = prepare(read_checkpoint(checkpoint))
    assert preparation.image_size == (64, 80)
    assert (preparation.mean, preparation.std) == (MEAN, STD)
    assert preparation.is_stated


def test_another_normalisation_is_taken_and_none_leaves_pixels_as_they_are(with_transform):
    other = prepare(with_transform(Compose([RESIZE, Normalize([0.5, 0.5, 0.5], [0.5, 0.25, 0.5])])))
    assert (other.mean, other.std) == ((0.5, 0.5, 0.5), (0.5, 0.25, 0.5))
    alone = prepare(with_transform(Compose([Compose([RESIZE])])))
    assert (alone.mean, alone.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    pixels = torch.rand(1, 3, 64, 80)
    assert torch.equal(alone.pre_processor.transform(pixels), pixels)


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        pytest.param(Compose([RESIZE, CenterCrop(56), NORMALIZE]), "with CenterCrop, which", id="centre-crop"),
        pytest.param(Compose([Grayscale(3), RESIZE, NORMALIZE]), "with Grayscale, which", id="grey"),
        pytest.param(Compose([NORMALIZE, RESIZE]), "with Normalize, then Resize, which", id="order"),
        pytest.param(NORMALIZE, "with Normalize, which", id="no-resize"),
        pytest.param(None, "has no transform", id="none"),
        pytest.param(Resize((64, 80), antialias=False), "bilinear interpolation, antialias False", id="antialias"),
        pytest.param(Resize((64, 80), InterpolationMode.BICUBIC), "bicubic interpolation", id="bicubic"),
        pytest.param(Resize(64), r"resizes one side to \[64\] and keeps the proportions", id="one-side"),
        pytest.param(Compose([RESIZE, Normalize([0.5], [0.5])]), r"normalises with \[0\.5\]", id="one-channel"),
        pytest.param(Compose([RESIZE, Normalize(MEAN, [0.0, 1, 1])]), r"normalises with \[0\.0, 1", id="std-0"),
    ],
)
def test_what_the_graph_does_not_do_is_refused_by_name(with_transform, transform, says):
    with pytest.raises(InputError, match=says):
        prepare(with_transform(transform))


def _transform(spec):
    return lambda content: content["anomalib_pre_processor_config"].update(transform=spec)


def _switch_off(content):
    content["anomalib_components_enabled"]["pre_processor"] = False


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            _transform({"class_path": "os.system", "init_args": {"command": "true"}}),
            "a transform that cannot be restored: Unsupported transform class: os.system",
            id="not-a-transform",
        ),
        pytest.param(_transform(["Resize"]), "a transform that cannot be restored", id="no-table"),
        pytest.param(
            lambda content: content["anomalib_pre_processor_config"].update(tiles=4),
            "a pre-processor with tiles",
            id="more-settings",
        ),
        pytest.param(
            lambda content: content.pop("anomalib_pre_processor_config"), "a pre-processor of its own make", id="custom"
        ),
        pytest.param(_switch_off, "was trained without a pre-processor", id="switched-off"),
    ],
)
def test_a_pre_processor_that_is_not_anomalibs_is_refused(altered, change, says):
    contents = read_checkpoint(altered(change))
    with pytest.raises(InputError, match=says):
        prepare(contents)


def test_an_older_checkpoint_needs_the_size_and_takes_anomalibs_default_with_it(older):
    contents = read_checkpoint(older)
    with pytest.raises(InputError, match=r"does not say how pictures are resized .*give --image-size, 256 for"):
        prepare(contents)
    preparation = prepare(contents, (64, 80))
    assert preparation.image_size == (64, 80)
    assert (preparation.mean, preparation.std) == (MEAN, STD)
    assert not preparation.is_stated


def test_a_size_other_than_the_checkpoints_is_refused_and_the_same_is_not(checkpoint):
    contents = read_checkpoint(checkpoint)
    assert prepare(contents, (64, 80)).is_stated
    with pytest.raises(InputError, match="are resized to 64x80; leave --image-size out"):
        prepare(contents, (80, 64))
