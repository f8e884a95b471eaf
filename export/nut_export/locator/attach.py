"""A locator put into a bundle: graphs, golden frames and proof beside those of the judge."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nut_dataset.evenly import evenly
from nut_dataset.progress import Progress, no_progress
from nut_export.bundle_id import LOCATOR_STEM, with_locator
from nut_export.locator.golden import golden_tolerance, write_golden_trays
from nut_export.locator.models import LocatorModels, build_models, calibration_pixels
from nut_export.locator.parity import LocatorParity, ReferenceTray, check_locator, measure_locator
from nut_export.writers import write_model
from nut_runtime.atomic import new_folder, write_json
from nut_runtime.bundle import Bundle, file_entry, open_bundle
from nut_runtime.errors import InputError
from nut_runtime.locate.entry import LocatorEntry
from nut_runtime.locate.finding import find_instances
from nut_runtime.locate.locator import Locator
from nut_runtime.locate.settings import CutoutSettings
from nut_runtime.manifest import MANIFEST, Manifest
from nut_runtime.pictures import read_picture
from nut_train.locator.pixels import locate_map
from nut_train.locator.run import LocatorRun
from nut_train.locator.train import TraySplits, split_trays
from nut_train.run import package_versions

__all__ = ["LOCATOR_PRECISIONS", "STEM", "LocatorConfig", "add_locator", "attach_locator"]

LOCATOR_PRECISIONS = ("fp32", "int8")
STEM = LOCATOR_STEM
"""The names of the locator's files without their endings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatorConfig:
    """How a locator is exported.

    Attributes:
        precision: `fp32` or `int8`.
        pictures: Pictures that the proof uses at most.
        is_forced: Write it even where the proof fails.
    """

    precision: str = "fp32"
    pictures: int = 60
    is_forced: bool = False

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            InputError: If a value is outside its range.
        """
        if self.precision not in LOCATOR_PRECISIONS:
            raise InputError(
                f"unknown precision {self.precision!r} of a locator, expected one of {', '.join(LOCATOR_PRECISIONS)}"
            )
        if self.pictures < 1:
            raise InputError(f"{self.pictures} pictures for the proof, expected at least 1")


def add_locator(
    bundle: Bundle,
    run: LocatorRun,
    out: Path,
    config: LocatorConfig | None = None,
    *,
    trays: Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Bundle:
    """Write a copy of a judge's bundle with a locator; one that it had is replaced, and a signature is left behind.

    Args:
        bundle: The judge's, opened.
        run: The locator's run.
        out: The bundle folder to write.
        config: How to export; None takes the defaults.
        trays: Tray data set for calibration and proof; None takes the one the locator was trained on.
        overwrite: Replace an older bundle.
        progress: Told of each step.

    Returns:
        The new bundle.

    Raises:
        InputError: If the run or the trays are not usable.
        ParityError: If the exported locator does not find what the trained one finds, and it is not forced.
        OutputError: If `out` exists or cannot be written.
    """
    inputs = [bundle.folder, run.folder, *([] if trays is None else [trays])]
    with new_folder(out, marker=MANIFEST, overwrite=overwrite, inputs=inputs) as folder:
        old = bundle.manifest.locator
        dropped = set() if old is None else set(old.files)
        for name in sorted(set(bundle.manifest.files) - dropped):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, folder / name)
        judge = replace(bundle.manifest, locator=None)
        manifest = attach_locator(judge, folder, run, config, trays=trays, progress=progress)
        write_json(folder / MANIFEST, manifest.to_json())
    return open_bundle(out)


def attach_locator(
    manifest: Manifest,
    folder: Path,
    run: LocatorRun,
    config: LocatorConfig | None = None,
    *,
    trays: Path | None = None,
    progress: Progress = no_progress,
) -> Manifest:
    """Write a locator's files into the folder of a bundle that is being made, and return the manifest with it.

    Parts are cut out as the judge's training pictures were, where its bundle says how.

    Args:
        manifest: Of the judge alone.
        folder: The bundle's folder, with the judge's files.
        run: The locator's run.
        config: How to export; None takes the defaults.
        trays: As in `add_locator`.
        progress: Told of each step.

    Raises:
        InputError: As `add_locator`.
        ParityError: As `add_locator`.
    """
    config = config or LocatorConfig()
    splits = split_trays(Path(run.record["dataset"]["path"]) if trays is None else trays)
    network = run.load()
    references = _references(run, splits, config.pictures, progress)
    calibration = calibration_pixels(run, splits.train) if config.precision == "int8" else ()
    progress("building the locator", 0, 1)
    built = build_models(run, network, engines=sorted(manifest.models), calibration=calibration, progress=progress)
    facts = _facts(run, built)
    info = {"model_type": "DistanceMap", "nut_locator": json.dumps(facts, sort_keys=True)}
    files = {engine: write_model(engine, model, folder, info, stem=STEM) for engine, model in built.models.items()}
    progress("building the locator", 1, 1)
    trained = manifest.provenance.get("cutout")
    draft = LocatorEntry(
        models=files,
        precision=config.precision,
        long_side_px=run.config.long_side_px,
        find=run.settings,
        cutout=CutoutSettings() if trained is None else CutoutSettings.from_json(trained),
        golden=write_golden_trays(references, folder),
        tolerances=dict.fromkeys(files, 1.0),  # until it is measured
        provenance=facts,
    )
    unproven = Bundle(folder=folder, manifest=replace(manifest, locator=draft, files={}))
    parities, tolerances = [], {}
    for engine in files:
        locator = Locator(unproven, engine=engine)
        precision = built.precisions[engine]
        parities.append(measure_locator(locator, references, run.settings, precision=precision, progress=progress))
        tolerances[engine] = golden_tolerance(locator, draft.golden, folder, precision=precision)
    if not config.is_forced:
        check_locator(parities)
    entry = replace(draft, tolerances=tolerances, parity={one.engine: _summary(one) for one in parities})
    return replace(
        manifest,
        bundle_id=with_locator(manifest.bundle_id, manifest.name, folder, entry),
        locator=entry,
        files={
            path.relative_to(folder).as_posix(): file_entry(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    )


def _references(run: LocatorRun, splits: TraySplits, count: int, progress: Progress) -> list[ReferenceTray]:
    """Return what torch makes of the held-out trays."""
    network, found = run.load(), []
    pictures = evenly([*splits.valid, *splits.test], count)
    for done, picture in enumerate(pictures, 1):
        frame = read_picture(picture.path)
        found_map = locate_map(network, frame, run.encoder, long_side_px=run.config.long_side_px)
        frame_px = (frame.shape[0], frame.shape[1])
        instances = find_instances(found_map, frame_px=frame_px, settings=run.settings)
        found.append(ReferenceTray(path=picture.path, found_map=found_map, instances=instances))
        progress("locating with torch", done, len(pictures))
    return found


def _facts(run: LocatorRun, built: LocatorModels) -> dict[str, Any]:
    """Return where a locator came from, for the manifest and for its files."""
    record = run.record
    return {
        "trained": record.get("created"),
        "dataset_fingerprint": record["dataset"]["fingerprint"],
        "encoder": record["encoder"],
        "figures": record.get("figures"),
        "precisions": dict(built.precisions),
        "quantised": None if built.quantised is None else dict(built.quantised),
        "versions": package_versions("onnx", "openvino", "onnxruntime", "segmentation-models-pytorch"),
    }


def _summary(parity: LocatorParity) -> Mapping[str, Any]:
    """Return what a manifest keeps of a proof."""
    data = parity.to_json()
    del data["engine"]
    return {**data, "failure": parity.failure}
