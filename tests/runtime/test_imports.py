"""`import nut_runtime` is light: it must start on a small PC, next to nothing else."""

import json
import subprocess
import sys

import pytest

# Whatever else a module name may be in sys.modules: the standard library, or numpy and ours.
ALLOWED = {"numpy", "nut_runtime"}
ALLOWED_IN_CLI = ALLOWED | {"click"}
# Files of an editable install and of virtual environments, which are no package of anybody's choosing.
_OF_THE_ENVIRONMENT = ("_virtualenv", "__editable__", "_distutils_hack", "distutils", "sitecustomize", "usercustomize")

_LIST = """
import json, sys
before = set(sys.modules)
{statement}
print(json.dumps(sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})))
"""


def third_party(statement: str, *arguments: str) -> set[str]:
    """Return the top-level packages outside the standard library that a statement imports."""
    done = subprocess.run(
        [sys.executable, "-c", _LIST.format(statement=statement), *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    names = set(json.loads(done.stdout))
    # numpy's Cython modules register a few such names.
    return {
        name
        for name in names - sys.stdlib_module_names
        if not name.startswith((*_OF_THE_ENVIRONMENT, "_cython_", "cython_runtime", "__mp_main__"))
    }


def test_importing_the_package_brings_numpy_and_nothing_else():
    assert third_party("import nut_runtime") == ALLOWED


def test_importing_the_command_brings_click_besides():
    assert third_party("import nut_runtime.cli") == ALLOWED_IN_CLI


@pytest.mark.parametrize(("engine", "other"), [("openvino", "onnxruntime"), ("onnxruntime", "openvino")])
def test_judging_a_frame_brings_one_engine_and_opencv(bundle_folder, engine, other):
    statement = f"""
from nut_runtime import Inspector
inspector = Inspector(sys.argv[1], engine="{engine}")
frame = inspector.bundle.golden_frame(inspector.bundle.manifest.golden[-1])
assert inspector.inspect(frame).is_defective
"""
    brought = third_party(statement, str(bundle_folder))
    assert {engine, "cv2", "numpy"} <= brought
    heavy = {"torch", "onnx", "matplotlib", "anomalib", "lightning", "rich", "PIL", "pandas", "sklearn", "timm", other}
    assert not brought & heavy


def test_only_a_key_to_verify_with_brings_cryptography(bundle_folder, tmp_path):
    statement = """
from nut_runtime.errors import BundleError, InputError
from nut_runtime import open_bundle
try:
    open_bundle(sys.argv[1], verify_key=sys.argv[2] if len(sys.argv) > 2 else None)
except (BundleError, InputError):
    pass
"""
    assert third_party(statement, str(bundle_folder)) == ALLOWED
    brought = third_party(statement, str(bundle_folder), str(tmp_path / "none.pem"))
    # cryptography's own extension modules register under names of their own
    assert brought - {"_cffi_backend", "_openssl"} == ALLOWED | {"cryptography"}


def test_the_page_without_its_extra_is_refused_in_one_line():
    program = """
import sys
sys.modules["starlette"] = None  # as where it is not installed
from nut_runtime.errors import InputError
from nut_runtime.health import Health
from nut_runtime.serve.live_state import LiveState
from nut_runtime.serve.server import PageServer
from nut_runtime.station_file.config import ServeConfig
try:
    PageServer(ServeConfig(port=0), LiveState(), Health(), facts=dict)
except InputError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    (line,) = done.stdout.splitlines()
    assert 'pip install "nut-runtime[serve]"' in line
    assert "starlette" in line


def test_every_public_name_is_there():
    import nut_runtime

    assert nut_runtime.__all__ == sorted(nut_runtime.__all__)
    for name in nut_runtime.__all__:
        assert getattr(nut_runtime, name) is not None


def test_the_package_is_imported_within_0_3_seconds():
    program = "import time; t = time.perf_counter(); import nut_runtime; print(time.perf_counter() - t)"

    def seconds() -> float:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
        return float(done.stdout)

    # 0.3 s is what a person takes for immediate, and three times what it takes here; the best of three (a busy
    # machine is given seven) leaves out what others do on it.
    best = min(seconds() for _ in range(3))
    if best >= 0.3:
        best = min(best, *(seconds() for _ in range(4)))
    assert best < 0.3
