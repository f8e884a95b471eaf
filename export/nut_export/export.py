"""A whole export: graph, files, golden frames, proof, and the bundle only if the proof holds."""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from nut_dataset.cutouts import read_cutout_settings
from nut_dataset.evenly import evenly
from nut_dataset.layout import Dataset, fingerprint
from nut_dataset.progress import Progress, no_progress
from nut_export.batch import add_batch, check_batch_size
from nut_export.bundle_id import bundle_id
from nut_export.cascade import ChosenCascade, choose_cascade
from nut_export.compat import COMPAT, write_compat
from nut_export.fast import PLANNED_PICTURES, FastConfig, FastModel, build_fast, pixels_of
from nut_export.frame_size import at_frame_size, check_frame_size, input_text
from nut_export.golden import choose_golden, selftest_tolerances, write_golden
from nut_export.graph import Parts, assemble, prepare
from nut_export.guard import perturbed
from nut_export.locator.attach import LocatorConfig, attach_locator
from nut_export.ovms import LAYOUTS, write_ovms
from nut_export.parity import Parity, check_parity
from nut_export.parity_report import write_parity_report
from nut_export.proof import all_judges, judge_with_anomalib, prove
from nut_export.proof_pictures import find_pictures
from nut_export.quantise import MOST_PICTURES
from nut_export.set_threshold import KEPT
from nut_export.signing import SigningKey, sign_manifest
from nut_export.view_calibration import calibrate_views
from nut_export.writers import model_info, write_model
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import Bundle, file_entry, open_bundle
from nut_runtime.contract import INPUT, OUTPUTS
from nut_runtime.engines import ENGINES, load_engine
from nut_runtime.engines.base import PRECISIONS
from nut_runtime.errors import InputError
from nut_runtime.manifest import MANIFEST, GoldenFrame, Manifest
from nut_runtime.pictures import read_picture
from nut_train.extension_record import first_base_rows
from nut_train.locator.run import LocatorRun
from nut_train.run import Run, package_versions

__all__ = ["ExportConfig", "Exported", "export_bundle"]

_SPOILED = 4  # pictures whose perturbations fix the range of the int8 search


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """The arguments of `nut export`.

    Attributes:
        name: Name of the part; None takes the data set's folder name.
        precision: `fp32`, `int8` or `cascade`.
        tolerance: Largest |d pred_score| that the proof lets pass, above 0; None takes the precision's own.
        pictures: Pictures the proof uses at most, evenly over the test and held-out ones.
        is_forced: Write the bundle even where the proof fails.
        compat: Variants for other tools to write as well, names from `nut_export.compat.COMPAT`.
        layout: Model repository to write as well, one of `nut_export.ovms.LAYOUTS`; None writes none.
        frame_px: Height and width of the only frames that the model is to take; None takes any.
        fast: What of the fast model of `int8` and `cascade` is fixed instead of chosen.
        batch: Frames that a second model of each engine is to take at once; None writes none.
        locator: How a locator is exported, where one is given.
    """

    name: str | None = None
    precision: str = "fp32"
    tolerance: float | None = None
    pictures: int = 400
    is_forced: bool = False
    compat: tuple[str, ...] = ()
    layout: str | None = None
    frame_px: tuple[int, int] | None = None
    fast: FastConfig = field(default_factory=FastConfig)
    batch: int | None = None
    locator: LocatorConfig = field(default_factory=LocatorConfig)

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range, or a variant or layout is not known.
        """
        if self.precision not in PRECISIONS:
            raise InputError(f"unknown precision {self.precision!r}, expected one of {', '.join(PRECISIONS)}")
        if self.tolerance is not None and not 0 < self.tolerance <= 1:
            raise InputError(f"tolerance {self.tolerance}, expected above 0 and at most 1")
        if self.precision == "fp32" and self.fast != FastConfig():
            raise InputError("components and candidates belong to the fast search; add --precision int8 or cascade")
        if self.pictures < 1:
            raise InputError(f"{self.pictures} pictures for the proof, expected at least 1")
        for name in self.compat:
            if name not in COMPAT:
                raise InputError(f"unknown compat variant {name!r}, expected one of {', '.join(COMPAT)}")
        if self.layout is not None and self.layout not in LAYOUTS:
            raise InputError(f"unknown layout {self.layout!r}, expected one of {', '.join(LAYOUTS)}")
        if self.frame_px is not None:
            check_frame_size(self.frame_px)
        if self.batch is not None:
            check_batch_size(self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A written bundle and its proof.

    Attributes:
        bundle: The bundle, as the edge opens it.
        parity: The proof, by engine, by variant as `compat/NAME`, and of a cascade's exact models as `exact/ENGINE`.
        fast: What was chosen for the fast model, by engine; empty for fp32.
        tolerance: Largest |d pred_score| that was asked for; None where each model was held to its precision's own.
    """

    bundle: Bundle
    parity: Mapping[str, Parity]
    fast: Mapping[str, FastModel]
    tolerance: float | None


def export_bundle(
    run: Run,
    out: Path,
    config: ExportConfig | None = None,
    *,
    dataset_root: Path | None = None,
    locator: LocatorRun | None = None,
    trays_root: Path | None = None,
    signing_key: SigningKey | None = None,
    overwrite: bool = False,
    keep_older_as: Path | None = None,
    progress: Progress = no_progress,
) -> Exported:
    """Export a trained run as a bundle.

    Args:
        run: A finished training run.
        out: The bundle folder to write; it appears only when the proof holds.
        config: What is asked for; None takes the defaults.
        dataset_root: Data set for proof and golden frames; None takes the one the run was trained on.
        locator: Finds the parts that the judge is then given; None where a frame shows one part.
        trays_root: Tray data set for the locator's proof; None takes the one it was trained on.
        signing_key: Signs the bundle; None leaves it unsigned.
        overwrite: Replace an older bundle.
        keep_older_as: Where that goes, beside `out`, instead of being removed.
        progress: Told of each step.

    Raises:
        InputError: If the run or the data set is not usable.
        ParityError: If the exported model does not decide as anomalib does, or together otherwise than alone, and the
            export is not forced.
        OutputError: If `out` exists or cannot be written.
    """
    config = config or ExportConfig()
    inputs = [run.folder, *([] if signing_key is None else [signing_key.path])]
    inputs += [] if locator is None else [locator.folder]
    with (
        new_folder(out, marker=MANIFEST, overwrite=overwrite, inputs=inputs, keep_older_as=keep_older_as) as folder,
        ExitStack() as stack,
    ):
        pictures = find_pictures(run, dataset_root, config.pictures)
        dataset = pictures.dataset
        sources = stack.enter_context(at_frame_size([*pictures.proof, *pictures.others], config.frame_px))
        brought = {source: path for path, source in sources.items()}
        others = [brought[path] for path in pictures.others]
        model = run.load()
        predictions = judge_with_anomalib(model, [brought[path] for path in pictures.proof], progress)
        run = run.settled(predictions)
        progress("building the graph", 0, 1)
        parts = prepare(
            model,
            run.backbone,
            size=run.config.image_size,
            point=run.point,
            frame_px=config.frame_px,
            centred_on=first_base_rows(run.record),
        )
        progress("building the graph", 1, 1)
        facts = _facts(run, dataset, config, grid=parts.grid)
        options: Mapping[str, tuple[FastModel, ...]] = {}
        if config.precision != "fp32":
            options = build_fast(
                parts,
                [pixels_of(model, read_picture(path)) for path in evenly(pictures.training, MOST_PICTURES)],
                [pixels_of(model, read_picture(path)) for path in evenly(others, PLANNED_PICTURES)],
                config.fast,
                extremes=[pixels_of(model, frame) for frame in perturbed(evenly(others, _SPOILED))],
                engines=sorted(ENGINES),
                progress=progress,
            )
        fast: Mapping[str, FastModel] = (
            {engine: choices[0] for engine, choices in options.items()} if config.precision == "int8" else {}
        )
        if fast:
            facts["fast"] = {engine: one.to_json() for engine, one in fast.items()}
        info = model_info(run.point, facts)
        models = _write_models(folder, parts, fast, info)
        variants = write_compat(folder / models["openvino"], config.compat)
        if config.layout is not None:
            write_ovms(folder / models["openvino"], facts["name"])

        golden = write_golden(model, choose_golden(predictions, avoids_threshold=config.precision == "int8"), folder)
        draft = _draft(run, facts, models, golden, folder, config)
        found = None
        if config.precision == "cascade":
            found = choose_cascade(Bundle(folder=folder, manifest=draft), options, info, others, progress)
        if found is not None:
            fast = found.fast
            draft = _with_cascade(draft, found, folder, run)
        bundle = Bundle(folder=folder, manifest=draft)
        engines = {name: load_engine(bundle, name) for name in models}
        coarse = {name for name, one in fast.items() if one.plan is not None}
        parities = prove(
            all_judges(engines, variants), draft, predictions, sources, parts.bank, coarse, dataset, progress
        )
        write_json(folder / "parity.json", {name: parity.to_json() for name, parity in parities.items()})
        write_parity_report(folder / "parity.html", draft, parities, config.tolerance)
        if not config.is_forced:
            check_parity(parities, config.tolerance)
        manifest = replace(
            draft,
            batch=add_batch(
                bundle,
                parts,
                fast,
                engines,
                predictions,
                size=config.batch,
                is_forced=config.is_forced,
                progress=progress,
            ),
            tolerances=selftest_tolerances(bundle, model, list(engines.values())),
            parity={name: parity.summary() for name, parity in parities.items()},
            calibration=calibrate_views(
                run, pictures, next(engines[name] for name in ENGINES if name in engines), config.frame_px, progress
            ),
            files={
                path.relative_to(folder).as_posix(): file_entry(path)
                for path in sorted(folder.rglob("*"))
                if path.is_file()
            },
        )
        if locator is not None:
            manifest = attach_locator(manifest, folder, locator, config.locator, trays=trays_root, progress=progress)
        write_json(folder / MANIFEST, manifest.to_json())
        if signing_key is not None:
            sign_manifest(folder, (folder / MANIFEST).read_bytes(), signing_key)
    return Exported(bundle=open_bundle(out), parity=parities, fast=fast, tolerance=config.tolerance)


def _write_models(folder: Path, parts: Parts, fast: Mapping[str, FastModel], info: Mapping[str, str]) -> dict[str, str]:
    """Write the bundle's main models, the fast ones if there are any, else the exact one; return their files."""
    if fast:
        return {engine: write_model(engine, one.model, folder, info) for engine, one in fast.items()}
    exact = assemble(parts)
    return {engine: write_model(engine, exact, folder, info) for engine in sorted(ENGINES)}


def _draft(
    run: Run,
    facts: Mapping[str, Any],
    models: Mapping[str, str],
    golden: tuple[GoldenFrame, ...],
    folder: Path,
    config: ExportConfig,
) -> Manifest:
    """Return the manifest before the proof."""
    return Manifest(
        bundle_id=bundle_id(facts["name"], folder, run.point),
        name=facts["name"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        precision="int8" if config.precision == "int8" else "fp32",
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


def _with_cascade(draft: Manifest, found: ChosenCascade, folder: Path, run: Run) -> Manifest:
    """Return the manifest of a cascade that was chosen."""
    facts = {**draft.provenance, "fast": {engine: one.to_json() for engine, one in found.fast.items()}}
    return replace(
        draft,
        bundle_id=bundle_id(draft.name, folder, run.point),
        precision="cascade",
        cascade=found.cascade,
        provenance=facts,
    )


def _facts(run: Run, dataset: Dataset, config: ExportConfig, *, grid: tuple[int, int]) -> dict[str, Any]:
    """Return where the model came from, for the manifest and for the model files themselves."""
    record = run.record
    name = config.name or Path(record["dataset"]["path"] or dataset.root.resolve()).name
    evaluation = record.get("evaluation") or {}
    cutout = read_cutout_settings(dataset.root)
    return {
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "part",
        "trained": record.get("created"),
        "dataset_fingerprint": record["dataset"]["fingerprint"],
        "proof_fingerprint": fingerprint(dataset),
        "backbone": record["backbone"],
        "bank": record["bank"],
        "patches": list(grid),
        "neighbours": run.config.neighbours,
        **({"whitened": True} if run.config.whiten else {}),
        "operating_point": run.point.to_json(),
        "calibration": {
            key: record["calibration"][key]
            for key in KEPT
            if key in record["calibration"]  # a checkpoint states none of them
        },
        "evaluation": {key: evaluation.get(key) for key in ("image", "pixel")},
        "input": {INPUT: input_text(config.frame_px)},
        "outputs": dict(OUTPUTS),
        "versions": package_versions("onnx", "openvino", "onnxruntime"),
        **{key: record[key] for key in ("checkpoint",) if key in record},
        **({} if cutout is None else {"cutout": cutout.to_json()}),
    }
