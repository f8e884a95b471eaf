"""A model repository for OpenVINO Model Server, inside the bundle (`nut export --layout ovms`).

    ovms/config.json             what to serve, and at which precision
    ovms/NAME/1/model.xml, .bin  the bundle's own model, copied

The server's rules (https://docs.openvino.ai/2024/ovms_docs_models_repository.html): a folder for each model, in it a
folder for each version, named by a positive integer, in it the model's files, `.xml` and `.bin` for an IR, under any
name. A shape that is dynamic in the file is served as it is (ovms_docs_dynamic_shape_dynamic_model). `base_path` may be
relative to `config.json` (ovms_docs_parameters), so the folder can be mounted anywhere.

The files are copies: hard links do not survive a copy to another disk, and the bundle refuses symbolic ones.
"""

import shutil
from pathlib import Path

from nut_runtime.atomic import write_json

__all__ = ["LAYOUTS", "OVMS_FOLDER", "write_ovms"]

LAYOUTS = ("ovms",)
OVMS_FOLDER = "ovms"


def write_ovms(model: Path, name: str) -> Path:
    """Write `ovms/` beside a bundle's model.

    Args:
        model: The bundle's `model.xml`, its `.bin` beside it.
        name: Name that clients ask for, safe in a path.

    Returns:
        The folder that the server is given.
    """
    folder = model.parent / OVMS_FOLDER
    version = folder / name / "1"
    version.mkdir(parents=True)
    for file in (model, model.with_suffix(".bin")):
        shutil.copyfile(file, version / file.name)
    # Left alone, OpenVINO computes in bf16 on CPUs that have it.
    config = {"name": name, "base_path": name, "plugin_config": {"INFERENCE_PRECISION_HINT": "f32"}}
    write_json(folder / "config.json", {"model_config_list": [{"config": config}]})
    return folder
