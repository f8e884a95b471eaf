"""The model repository for OpenVINO Model Server keeps the server's rules and holds the proved model.

The rules are those of https://docs.openvino.ai/2024/ovms_docs_models_repository.html and of the server's
`src/schema.cpp`, which refuses a configuration with a key it does not know. The server itself is not on the package
index; what it does with the folder, reading the model with the plugin configuration, is done here.
"""

import json
import re

import numpy as np
import openvino
import pytest

from nut_runtime.pictures import read_picture

# `model_config` in the server's schema, additionalProperties false
KNOWN_KEYS = {
    "name", "base_path", "batch_size", "model_version_policy", "shape", "layout", "nireq", "target_device",
    "plugin_config", "stateful", "idle_sequence_cleanup", "low_latency_transformation", "max_sequence_number",
    "custom_loader_options",
}  # fmt: skip


@pytest.fixture(scope="module")
def repository(tools_bundle):
    return tools_bundle.folder / "ovms"


@pytest.fixture(scope="module")
def config(repository):
    (entry,) = json.loads((repository / "config.json").read_text())["model_config_list"]
    assert set(entry) == {"config"}
    return entry["config"]


def test_each_model_has_a_folder_and_in_it_one_named_by_a_positive_integer(repository):
    models = [path for path in repository.iterdir() if path.is_dir()]
    assert [path.name for path in models] == ["nuts"]
    assert [path.name for path in models[0].iterdir()] == ["1"]
    assert all(re.fullmatch(r"[1-9][0-9]*", path.name) and path.is_dir() for path in models[0].iterdir())


def test_a_version_holds_one_ir_the_very_files_of_the_bundle(repository, tools_bundle):
    files = sorted((repository / "nuts" / "1").iterdir())
    assert [path.name for path in files] == ["model.bin", "model.xml"]
    for path in files:
        assert not path.is_symlink()
        assert path.stat().st_nlink == 1
        assert path.read_bytes() == (tools_bundle.folder / path.name).read_bytes()


def test_the_configuration_has_what_the_server_requires_and_nothing_it_refuses(config, repository):
    assert {"name", "base_path"} <= set(config) <= KNOWN_KEYS
    assert config["name"] == "nuts"
    assert not config["base_path"].startswith("/")
    assert (repository / config["base_path"] / "1" / "model.xml").is_file()


def test_the_served_model_judges_as_our_runtime_with_the_servers_settings(config, repository, our_engine, pictures):
    core = openvino.Core()
    model = core.read_model(repository / config["base_path"] / "1" / "model.xml")
    assert str(model.input("image").partial_shape) == "[1,?,?,3]"  # the server takes over what is dynamic
    served = core.compile_model(model, "CPU", config["plugin_config"])
    for path in pictures:
        frame = read_picture(path)
        found, wanted = served({"image": frame[None]}), our_engine.infer(frame)
        # the same graph in the same engine, compiled twice: float32 rounding of sums in another order
        assert np.abs(found["raw_score"] - wanted.raw_score).max() <= 1e-6 * wanted.raw_score
        assert bool(found["pred_label"][0]) == wanted.pred_label
