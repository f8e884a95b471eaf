"""The U-Net: padding, sizes and what is not learned."""

import pytest
import timm
import torch

from nut_runtime.errors import InputError
from nut_train.backbone import load_weights
from nut_train.locator.loss import distance_loss
from nut_train.locator.network import build_network, describe_encoder
from nut_train.weights import find_weights

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def network():
    return build_network(LITE0, find_weights(LITE0)).eval()


def test_the_encoder_computes_what_timm_does_at_every_stage(network):
    theirs = timm.create_model(LITE0, features_only=True).eval()
    load_weights(theirs, find_weights(LITE0))
    pixels = torch.randn(1, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for ours, expected in zip(network.encoder(pixels)[1:], theirs(pixels), strict=True):
            assert torch.equal(ours, expected)  # the same numbers in the same order


@pytest.mark.parametrize("size", [(32, 32), (96, 160), (32, 416)])
def test_maps_have_half_the_size_of_any_input(network, size):
    with torch.no_grad():
        assert network(torch.zeros(2, 3, *size)).shape == (2, 1, size[0] // 2, size[1] // 2)


def test_frozen_stages_do_not_change_in_training():
    network = build_network("test_efficientnet")
    network.freeze_first_stages()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimiser = torch.optim.SGD([one for one in network.parameters() if one.requires_grad], lr=0.1)
    distance_loss(network(torch.rand(2, 3, 64, 64)), torch.rand(2, 1, 32, 32)).backward()
    optimiser.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("decoder.") for name in changed)
    assert not any(name.startswith(("encoder.model.conv_stem", "encoder.model.blocks.0.")) for name in changed)


def test_an_encoder_that_does_not_halve_five_times_is_refused_by_name():
    with pytest.raises(InputError, match=r"encoder .* does not"):
        build_network("test_vit")


def test_an_unknown_encoder_is_refused_with_near_names():
    with pytest.raises(InputError, match="did you mean tf_efficientnet_lite0"):
        describe_encoder("tf_efficientnet_lite00")


def test_a_missed_valley_costs_more_than_as_large_a_mistake_far_from_parts():
    target = torch.zeros(1, 1, 32, 48)
    target[..., 4:28, 4:15] = 0.9
    target[..., 4:28, 17:28] = 0.9
    merged, dirty = target.clone(), target.clone()
    merged[..., 4:28, 15:17] = 0.9
    dirty[..., 4:28, 42:44] = 0.9
    perfect, far, valley = (
        distance_loss(torch.logit(one.clamp(0.01, 0.99)), target) for one in (target, dirty, merged)
    )
    assert perfect < far < valley
