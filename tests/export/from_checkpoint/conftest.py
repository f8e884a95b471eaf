"""Checkpoints that anomalib alone trained, each made once a session, and altered copies of them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SIZE = (64, 80)  # height x width, so that mixed-up sides show


def _train(nuts: Path, folder: Path, build: Callable[[], Any], *, has_masks: bool = True, **engine: Any) -> Path:
    """Train as anomalib's documentation does and return the checkpoint that its `Engine` wrote."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    kinds = sorted(path.name for path in (nuts / "test").iterdir() if path.name != "good")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomalib's own run, none of our code in it
        torch.manual_seed(0)
        model = build()
        data = Folder(
            name="nuts",
            root=nuts,
            normal_dir="train/good",
            normal_test_dir="test/good",
            abnormal_dir=[f"test/{kind}" for kind in kinds],
            mask_dir=[f"ground_truth/{kind}" for kind in kinds] if has_masks else None,
            num_workers=0,
            seed=0,
        )
        trainer = Engine(
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            **engine,
        )
        trainer.fit(model=model, datamodule=data)
    return Path(trainer.trainer.checkpoint_callback.best_model_path)


def _small_patchcore(**more: Any) -> Any:
    """Return anomalib's Patchcore on a random ResNet18 at 64x80 px."""
    from anomalib.models import Patchcore

    return Patchcore(
        pre_trained=False,
        coreset_sampling_ratio=0.1,
        pre_processor=Patchcore.configure_pre_processor(image_size=SIZE),
        **{"backbone": "resnet18", **more},
    )


@pytest.fixture(scope="session")
def train_alone() -> Callable[..., Path]:
    """The function that trains a model with anomalib alone: data set, folder to write in, function that builds it."""
    return _train


@pytest.fixture(scope="session")
def small_patchcore() -> Callable[..., Any]:
    """The function that builds anomalib's Patchcore, small."""
    return _small_patchcore


@pytest.fixture(scope="session")
def checkpoint(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with anomalib's own settings but for the size of the input."""
    return _train(nuts, tmp_path_factory.mktemp("plain"), _small_patchcore)


@pytest.fixture(scope="session")
def sensitive(nuts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with both sensitivities moved, and without masks, so that pixels have no threshold of their own."""
    from anomalib.post_processing import PostProcessor

    def build() -> Any:
        return _small_patchcore(post_processor=PostProcessor(image_sensitivity=0.3, pixel_sensitivity=0.8))

    return _train(nuts, tmp_path_factory.mktemp("sensitive"), build, has_masks=False)


@pytest.fixture
def altered(checkpoint: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """Return a function that writes a copy of `checkpoint` with its content changed."""
    from anomalib import PrecisionType

    def alter(change: Callable[[dict[str, Any]], object]) -> Path:
        with torch.serialization.safe_globals([PrecisionType]):
            content = torch.load(checkpoint, weights_only=True)
        change(content)
        path = tmp_path / "altered.ckpt"
        torch.save(content, path)
        return path

    return alter


@pytest.fixture
def older(altered: Callable[[Callable[[dict[str, Any]], object]], Path]) -> Path:
    """A copy in the layout of anomalib 2.1 to 2.6, which kept neither pre- nor post-processor's settings."""

    def change(content: dict[str, Any]) -> None:
        for key in [key for key in content if key.startswith("anomalib_")]:
            del content[key]
        content["hyper_parameters"] |= dict.fromkeys(("pre_processor", "post_processor", "evaluator"), True)

    return altered(change)
