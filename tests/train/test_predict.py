"""anomalib's prediction as the reference: it depends on nothing but the picture, and it is antialiased."""

from pathlib import Path

import numpy as np
import pytest
import torch

from nut_dataset.layout import open_dataset
from nut_dataset.progress import no_progress
from nut_runtime.errors import InputError, PictureError
from nut_runtime.pictures import read_picture
from nut_runtime.scoring import is_defective, normalise
from nut_train.backbone import describe_backbone
from nut_train.config import TrainConfig
from nut_train.fit import fit
from nut_train.patchcore import build_model
from nut_train.predict import Prediction, accelerator, picture_tensor, predict
from nut_train.run import open_run
from nut_train.weights import find_weights


def _predict(model, paths: list[Path]) -> list[Prediction]:
    found: list[Prediction] = []
    predict(model, paths, found.append, device="cpu")
    return found


@pytest.fixture(scope="module")
def run(run_folder):
    return open_run(run_folder)


@pytest.fixture(scope="module")
def model(run):
    return run.load()


@pytest.fixture(scope="module")
def paths(nuts) -> list[Path]:
    dataset = open_dataset(nuts)
    return [*dataset.test_good, *dataset.defective]


@pytest.fixture(scope="module")
def predictions(model, paths) -> list[Prediction]:
    return _predict(model, paths)


@pytest.fixture(scope="module")
def banks(nuts) -> dict[int, np.ndarray]:
    """Every patch of six pictures of different sizes, by the batch size they were fitted with."""
    dataset = open_dataset(nuts)
    pictures = dataset.train_good[:6]
    assert len({read_picture(path).shape for path in pictures}) > 1
    backbone = describe_backbone("tf_efficientnet_lite0")
    found = {}
    for batch_size in (1, 6):
        config = TrainConfig(
            image_height_px=64, image_width_px=96, coreset_ratio=1.0, batch_size=batch_size, device="cpu"
        )
        model = build_model(
            backbone, image_size=config.image_size, coreset_ratio=1.0, weights=find_weights(backbone.name)
        )
        fit(model, dataset, pictures, config, progress=no_progress)
        found[batch_size] = model.model.memory_bank.numpy().astype(np.float64)
    return found


def _distances(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return all distances by differences, in float64."""
    pair = torch.from_numpy(one), torch.from_numpy(other)
    return torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist").numpy()


def test_features_do_not_depend_on_who_shares_the_batch(banks):
    one, many = banks[1], banks[6]
    distances = _distances(one, many)
    scale = np.linalg.norm(one, axis=1).mean()
    # 1e-5 of a vector's length: oneDNN blocks its float32 sums by batch size, about 10 roundings of 2^-24 each.
    # Resized to the largest of the batch first, as anomalib's collation does, vectors move by 1e-2 and more.
    assert one.shape == many.shape
    assert distances.min(axis=0).max() < 1e-5 * scale
    assert distances.min(axis=1).max() < 1e-5 * scale


def test_the_features_in_the_bank_are_those_of_each_picture_alone(banks, nuts):
    backbone = describe_backbone("tf_efficientnet_lite0")
    model = build_model(backbone, image_size=(64, 96), weights=find_weights(backbone.name)).eval()
    frame = read_picture(open_dataset(nuts).train_good[0])
    with torch.no_grad():
        pixels = model.pre_processor.transform(picture_tensor(frame)[None])
        features = model.model.feature_extractor(pixels)
        pooled = {layer: model.model.feature_pooler(values) for layer, values in features.items()}
        alone = model.model.reshape_embedding(model.model.generate_embedding(pooled)).numpy().astype(np.float64)
    distances = _distances(alone, banks[6]).min(axis=1)
    # As above, and once more 1e-5: the resize of a resized picture is the same picture, up to float32 rounding.
    assert distances.max() < 2e-5 * np.linalg.norm(alone, axis=1).mean()


def test_scores_do_not_depend_on_the_order(model, paths, predictions):
    backwards = {found.path: found for found in _predict(model, paths[::-1])}
    for found in predictions:
        again = backwards[found.path]
        assert again.raw_score == found.raw_score
        assert np.array_equal(again.raw_map, found.raw_map)


def test_results_come_in_the_order_given(paths, predictions):
    assert [found.path for found in predictions] == paths


def test_the_raw_score_and_map_are_those_of_the_network_before_normalisation(model, predictions):
    for found in predictions:
        with torch.no_grad():
            pixels = model.pre_processor.transform(picture_tensor(read_picture(found.path))[None])
            direct = model.model(pixels)
        assert found.raw_score == float(direct.pred_score)
        assert np.array_equal(found.raw_map, direct.anomaly_map.numpy().squeeze())


def test_normalised_values_are_those_of_our_own_formula(run, predictions):
    for found in predictions:
        # 2^-23: one more rounding where torch fuses or orders the same float32 operations otherwise
        score = normalise(np.float32(found.raw_score), run.point.image)
        assert found.pred_score == pytest.approx(float(score), abs=2**-23)
        assert np.abs(found.anomaly_map - normalise(found.raw_map, run.point.pixel)).max() <= 2**-23


def test_verdicts_are_above_a_half_and_both_kinds_occur(predictions):
    assert {found.pred_label for found in predictions} == {True, False}
    for found in predictions:
        assert found.pred_label == is_defective(np.float32(found.pred_score))
        assert np.array_equal(found.pred_mask, is_defective(found.anomaly_map))


def test_maps_have_the_height_and_width_of_the_models_input(predictions):
    assert {found.raw_map.shape for found in predictions} == {(128, 96)}


def test_the_reference_is_antialiased_and_forward_is_not(model, tmp_path):
    """DESIGN.md forbids `forward()` as a reference; on a picture that is scaled down the two differ."""
    import cv2

    frame = np.random.default_rng(0).integers(0, 256, (480, 360, 3), np.uint8)
    path = tmp_path / "noise.png"
    cv2.imwrite(str(path), frame)
    (found,) = _predict(model, [path])
    with torch.no_grad():
        forward = model(picture_tensor(frame)[None])
    # Noise that is averaged over four pixels a side is smooth; picked from single pixels it is not.
    assert abs(float(forward.pred_score) - found.pred_score) > 0.01


def test_the_models_own_callbacks_are_back_after_a_prediction(model, predictions):
    assert "configure_callbacks" not in vars(model)


def test_no_pictures_give_no_results(model):
    assert _predict(model, []) == []


def test_a_picture_that_cannot_be_read_is_named(model, paths, tmp_path):
    with pytest.raises(PictureError, match=r"nowhere\.png does not exist"):
        _predict(model, [*paths[:1], tmp_path / "nowhere.png"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_cuda_without_a_gpu_is_refused_and_auto_is_the_cpu():
    assert accelerator("auto") == "cpu"
    with pytest.raises(InputError, match="use --device cpu or auto"):
        accelerator("cuda")
