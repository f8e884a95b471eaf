"""The training itself: steps, a falling rate, and the best state that the validation saw."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nut_dataset.coco.trays import TrayPicture
from nut_dataset.progress import Progress, no_progress
from nut_runtime.errors import InputError
from nut_runtime.locate.network_size import network_size
from nut_train.backbone import Backbone
from nut_train.locator.config import LocatorConfig
from nut_train.locator.loss import distance_loss
from nut_train.locator.network import LocatorNetwork
from nut_train.locator.pixels import normalised, pixels_of, small_distance
from nut_train.locator.samples import batches, steps_an_epoch

__all__ = ["Epoch", "fit_network", "torch_device"]

_ENCODER_SHARE = 0.25  # of the learning rate
_WARM_UP = 0.1  # share of all steps in which the rate rises
_WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One pass over the training pictures.

    Attributes:
        train_loss: Mean of its steps.
        valid_loss: On the validation pictures as whole frames.
    """

    train_loss: float
    valid_loss: float


def torch_device(name: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means here.

    Raises:
        InputError: If a GPU is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device cuda was asked for and torch sees no GPU; choose cpu or auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def fit_network(
    network: LocatorNetwork,
    encoder: Backbone,
    train: Sequence[TrayPicture],
    valid: Sequence[TrayPicture],
    config: LocatorConfig,
    *,
    progress: Progress = no_progress,
) -> tuple[Epoch, ...]:
    """Train a network in place; it ends with its best state, in evaluation mode, on the CPU.

    Args:
        network: From `build_network`.
        encoder: Its normalisation.
        train: Pictures to learn from.
        valid: Pictures that decide when to stop.
        config: What is asked for.
        progress: Told of each step.

    Returns:
        What each epoch came to.

    Raises:
        InputError: If the loss is no longer a number.
    """
    device = torch_device(config.device)
    network.to(device)
    network.freeze_first_stages()
    inner = [one for one in network.encoder.parameters() if one.requires_grad]
    outer = [*network.decoder.parameters(), *network.head.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": inner, "lr": config.learning_rate * _ENCODER_SHARE}, {"params": outer, "lr": config.learning_rate}],
        weight_decay=_WEIGHT_DECAY,
    )
    steps = steps_an_epoch(len(train), config.batch_size)
    total = steps * config.epochs
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step, total))
    best, best_state, epochs = math.inf, copy.deepcopy(network.state_dict()), []
    worse = 0
    for epoch in range(config.epochs):
        network.train()
        losses = []
        for step, (pictures, target) in enumerate(batches(train, config, epoch)):
            optimiser.zero_grad()
            loss = distance_loss(network(normalised(pictures.to(device), encoder)), target.to(device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            rates.step()
            losses.append(loss.item())
            progress("training the locator", epoch * steps + step + 1, total)
        found = Epoch(
            train_loss=float(np.mean(losses)), valid_loss=validation_loss(network, encoder, valid, config, device)
        )
        if not math.isfinite(found.train_loss + found.valid_loss):
            raise InputError("the training went astray: the loss is no longer a number; lower --learning-rate")
        epochs.append(found)
        if found.valid_loss < best:
            best, best_state, worse = found.valid_loss, copy.deepcopy(network.state_dict()), 0
        else:
            worse += 1
            if worse >= config.patience:
                break
    progress("training the locator", total, total)
    network.load_state_dict(best_state)
    network.cpu().eval()
    return tuple(epochs)


def validation_loss(
    network: LocatorNetwork,
    encoder: Backbone,
    pictures: Sequence[TrayPicture],
    config: LocatorConfig,
    device: torch.device,
) -> float:
    """Return the mean loss over whole frames, each at its own size."""
    network.eval()
    losses = []
    with torch.no_grad():
        for one in pictures:
            frame, _, distance = one.read()
            size = network_size(*frame.shape[:2], long_side_px=config.long_side_px)
            pixels = pixels_of(frame, encoder, long_side_px=config.long_side_px).to(device)
            target = torch.from_numpy(small_distance(distance, size))[None, None].to(device)
            losses.append(distance_loss(network(pixels), target).item())
    return float(np.mean(losses))


def _rate(step: int, total: int) -> float:
    """Return the share of the learning rate: a short rise, then half a cosine down to 0."""
    rise = max(1, round(_WARM_UP * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, total - rise)))
