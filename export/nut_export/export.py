"""A whole export: graph, files, golden frames, proof, and the bundle only if the proof holds."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nut_dataset.layout import Dataset, fingerprint, open_dataset
from nut_dataset.progress import Progress, no_progress
from nut_export.compat import COMPAT, write_compat
from nut_export.compat_engine import CompatEngine
from nut_export.frame_size import at_frame_size, check_frame_size
from nut_export.golden import choose_golden, reference_stages, write_golden
from nut_export.graph import build_graph
from nut_export.ovms import LAYOUTS, write_ovms
from nut_export.parity import FP32_TOLERANCE, Parity, check_parity, compare, measure
from nut_export.parity_report import write_parity_report
from nut_export.writers import model_info, write_models
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import Bundle, file_entry, open_bundle
from nut_runtime.contract import INPUT, OUTPUTS, STAGES
from nut_runtime.engines import load_engine
from nut_runtime.engines.base import Engine
from nut_runtime.errors import InputError
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.pictures import read_picture
from nut_runtime.selftest import RAW_SCORE, deviation, sample_stage
from nut_train.predict import Prediction, predict
from nut_train.run import Run, package_versions

if TYPE_CHECKING:
    from anomalib.models import Patchcore

__all__ = ["ExportConfig", "Exported", "export_bundle"]

# A device may sum in another order than this machine did: ten times the difference seen here is let pass, never less
# than 1e-4 and never more than 3e-3. bf16 (8 bits of mantissa) is off by 4e-3 and more, a missing antialias by 1e-1;
# a bundle that was forced past its proof cannot widen its own tolerance to hide that.
_SELFTEST_FACTOR, _SELFTEST_FLOOR, _SELFTEST_CEILING = 10.0, 1e-4, 3e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """The arguments of `nut export`.

    Attributes:
        name: Name of the part; None takes the data set's folder name.
        tolerance: Largest |d pred_score| that the proof lets pass, above 0.
        pictures: Pictures the proof uses at most, evenly over the test and held-out ones.
        is_forced: Write the bundle even where the proof fails.
        compat: Variants for other tools to write as well, names from `nut_export.compat.COMPAT`.
        layout: Model repository to write as well, one of `nut_export.ovms.LAYOUTS`; None writes none.
        frame_px: Height and width of the only frames that the model is to take; None takes any.
    """

    name: str | None = None
    tolerance: float = FP32_TOLERANCE
    pictures: int = 400
    is_forced: bool = False
    compat: tuple[str, ...] = ()
    layout: str | None = None
    frame_px: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range, or a variant or layout is not known.
        """
        if not 0 < self.tolerance <= 1:
            raise InputError(f"tolerance {self.tolerance}, expected above 0 and at most 1")
        if self.pictures < 1:
            raise InputError(f"{self.pictures} pictures for the proof, expected at least 1")
        for name in self.compat:
            if name not in COMPAT:
                raise InputError(f"unknown compat variant {name!r}, expected one of {', '.join(COMPAT)}")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise InputError(f"unknown layout {self.layout!r}, expected one of {', '.join(LAYOUTS)}")
        if self.frame_px is not None:
            check_frame_size(self.frame_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A written bundle and its proof.

    Attributes:
        bundle: The bundle, as the edge opens it.
        parity: The proof, by engine, and by variant as `compat/NAME`.
    """

    bundle: Bundle
    parity: Mapping[str, Parity]


def export_bundle(
    run: Run,
    out: Path,
    config: ExportConfig | None = None,
    *,
    dataset_root: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Exported:
    """Export a trained run as a bundle.

    Args:
        run: A finished training run.
        out: The bundle folder to write; it appears only when the proof holds.
        config: What is asked for; None takes the defaults.
        dataset_root: Data set for proof and golden frames; None takes the one the run was trained on.
        overwrite: Replace an older bundle.
        progress: Told of each step.

    Raises:
        InputError: If the run or the data set is not usable.
        ParityError: If the exported model does not decide as anomalib does, and the export is not forced.
        OutputError: If `out` exists or cannot be written.
    """
    config = config or ExportConfig()
    with new_folder(out, marker=MANIFEST, overwrite=overwrite, inputs=[run.folder]) as folder, ExitStack() as stack:
        dataset = _dataset(run, dataset_root)
        paths = _proof_pictures(run, dataset, config.pictures)
        model = run.load()
        progress("building the graph", 0, 1)
        deployment = build_graph(
            model, run.backbone, size=run.config.image_size, point=run.point, frame_px=config.frame_px
        )
        facts = _facts(run, dataset, config, grid=deployment.grid)
        models = write_models(deployment.model, folder, model_info(run.point, facts))
        variants = write_compat(folder / models["openvino"], config.compat)
        if config.layout is not None:
            write_ovms(folder / models["openvino"], facts["name"])
        progress("building the graph", 1, 1)

        sources = stack.enter_context(at_frame_size(paths, config.frame_px))
        predictions = _reference(model, list(sources), progress)
        golden = write_golden(model, choose_golden(predictions), folder)
        draft = Manifest(
            bundle_id=_bundle_id(facts["name"], folder / models["onnxruntime"], run),
            name=facts["name"],
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            precision="fp32",
            input_height_px=run.config.image_height_px,
            input_width_px=run.config.image_width_px,
            point=run.point,
            model_point=run.point,
            files={},
            models=models,
            golden=golden,
            tolerances={},
            parity={},
            provenance=facts,
            frame_px=config.frame_px,
        )
        bundle = Bundle(folder=folder, manifest=draft)
        engines = {name: load_engine(bundle, name) for name in models}
        judges = engines | {judge.name: judge for judge in (CompatEngine(variants[name], name) for name in variants)}
        named = [replace(prediction, path=sources[prediction.path]) for prediction in predictions]
        parities = {
            name: compare(
                named,
                measure(engine, predictions, progress),
                engine=name,
                engine_version=engine.version,
                precision=draft.precision,
                dataset=dataset,
                threshold=run.point.image.threshold,
                frame_px=config.frame_px,
            )
            for name, engine in judges.items()
        }
        write_json(folder / "parity.json", {name: parity.to_json() for name, parity in parities.items()})
        write_parity_report(folder / "parity.html", draft, parities, config.tolerance)
        if not config.is_forced:
            check_parity(parities, config.tolerance)
        manifest = replace(
            draft,
            tolerances=_tolerances(bundle, model, list(engines.values())),
            parity={name: parity.summary() for name, parity in parities.items()},
            files={
                path.relative_to(folder).as_posix(): file_entry(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        )
        write_json(folder / MANIFEST, manifest.to_json())
    return Exported(bundle=open_bundle(out), parity=parities)


def _dataset(run: Run, root: Path | None) -> Dataset:
    """Open the data set of the proof.

    Raises:
        InputError: If the run's own data set is gone and none was given.
    """
    if root is not None:
        return open_dataset(root)
    trained = Path(run.record["dataset"]["path"])
    if not trained.is_dir():
        raise InputError(f"{trained}, which the run was trained on, is not there; give a data set with --dataset")
    return open_dataset(trained)


def _proof_pictures(run: Run, dataset: Dataset, limit: int) -> list[Path]:
    """Return the test pictures and the held-out good ones, thinned evenly to `limit`."""
    held_out = set(run.record.get("split", {}).get("held_out", ()))
    paths = [
        *(path for path in dataset.train_good if path.name in held_out),
        *dataset.test_good,
        *dataset.defective,
    ] or list(dataset.train_good)
    places = np.unique(np.linspace(0, len(paths) - 1, min(limit, len(paths))).round().astype(int))
    return [paths[place] for place in places]


def _reference(model: "Patchcore", paths: Sequence[Path], progress: Progress) -> list[Prediction]:
    """Judge the pictures with anomalib's own prediction."""
    predictions: list[Prediction] = []

    def keep(prediction: Prediction) -> None:
        predictions.append(prediction)
        progress("judging with anomalib", len(predictions), len(paths))

    predict(model, paths, keep, device="cpu")
    return predictions


def _tolerances(bundle: Bundle, model: "Patchcore", engines: Sequence[Engine]) -> dict[str, float]:
    """Return what the self-test lets pass at each stage, from the differences seen on this machine."""
    worst = dict.fromkeys((*STAGES, RAW_SCORE), 0.0)
    for golden in bundle.manifest.golden:
        frame = read_picture(bundle.folder / golden.picture)
        reference = reference_stages(model, frame)
        for engine in engines:
            found = engine.stages(frame)
            for stage in STAGES:
                share = deviation(sample_stage(found[stage]), sample_stage(reference[stage]))
                worst[stage] = max(worst[stage], share)
            score = np.array([engine.infer(frame).raw_score], np.float32)
            worst[RAW_SCORE] = max(worst[RAW_SCORE], deviation(score, np.array([golden.raw_score], np.float32)))
    return {
        stage: min(max(_SELFTEST_FACTOR * share, _SELFTEST_FLOOR), _SELFTEST_CEILING) for stage, share in worst.items()
    }


def _bundle_id(name: str, model: Path, run: Run) -> str:
    """Name this very model and operating point: the part's name and a digest of both."""
    content = model.read_bytes() + json.dumps(run.point.to_json(), sort_keys=True).encode()
    return f"{name}-{hashlib.sha256(content).hexdigest()[:12]}"


def _facts(run: Run, dataset: Dataset, config: ExportConfig, *, grid: tuple[int, int]) -> dict[str, Any]:
    """Return where the model came from, for the manifest and for the model files themselves."""
    record = run.record
    name = config.name or Path(record["dataset"]["path"]).name
    evaluation = record.get("evaluation") or {}
    return {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "part",
        "trained": record.get("created"),
        "dataset_fingerprint": record["dataset"]["fingerprint"],
        "proof_fingerprint": fingerprint(dataset),
        "backbone": record["backbone"],
        "bank": record["bank"],
        "patches": list(grid),
        "neighbours": run.config.neighbours,
        "operating_point": run.point.to_json(),
        "calibration": {
            key: record["calibration"][key]
            for key in ("false_reject_rate", "held_out", "smallest_rate", "is_supported")
        },
        "evaluation": {key: evaluation.get(key) for key in ("image", "pixel")},
        "input": {INPUT: _input_text(config.frame_px)},
        "outputs": dict(OUTPUTS),
        "versions": package_versions("onnx", "openvino", "onnxruntime"),
    }


def _input_text(frame_px: tuple[int, int] | None) -> str:
    if frame_px is None:
        return "uint8 [1, H, W, 3], BGR, any H and W"
    return f"uint8 [1, {frame_px[0]}, {frame_px[1]}, 3], BGR"
