"""What is installed where: one-way layers, a lean wheel, live source, no generic names."""

import ast
import email
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import nut_runtime

ROOT = Path(__file__).parents[1]
# Each package may import itself and those before it.
LAYERS = ["runtime", "dataset", "train", "export", "benchmarks"]
PACKAGES = ["nut_runtime", "nut_dataset", "nut_train", "nut_export", "nut_benchmarks"]
# The edge must never carry these.
HEAVY = {"torch", "torchvision", "anomalib", "onnx", "matplotlib", "lightning", "pandas", "scikit-learn", "rich"}


# What one module alone imports, late, and an extra installs.
EXTRAS = {
    "signature.py": {"cryptography"},
    "genicam.py": {"genicam", "harvesters"},
    "mqtt.py": {"paho"},
    "mqtt_connection.py": {"paho"},
    "wire.py": {"pymodbus"},
    # below serve/
    "app.py": {"starlette"},
    "connections.py": {"uvicorn"},
    "events.py": {"starlette"},
    "guard.py": {"starlette"},
    "metrics.py": {"prometheus_client"},
    "server.py": {"uvicorn"},
}


def imported(path: Path) -> Iterator[str]:
    """Give the top-level package of every import in a file, wherever in it it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            assert node.module is not None
            yield node.module.partition(".")[0]


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=LAYERS)
def test_a_package_imports_only_those_below_it(number):
    files = sorted((ROOT / LAYERS[number] / PACKAGES[number]).rglob("*.py"))
    assert files
    above = set(PACKAGES[number + 1 :])
    found = {f"{path.relative_to(ROOT)}: {name}" for path in files for name in imported(path) if name in above}
    assert not found


def test_the_runtime_imports_nothing_heavy_even_late():
    allowed = {"numpy", "cv2", "click", "openvino", "onnxruntime", "nut_runtime"} | sys.stdlib_module_names
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in (ROOT / "runtime" / "nut_runtime").rglob("*.py")
        for name in imported(path)
        if name not in allowed | EXTRAS.get(path.name, set())
    }
    assert not found


@pytest.mark.parametrize("number", range(len(LAYERS)), ids=LAYERS)
def test_the_checkout_is_not_shadowed_by_an_installed_copy(number):
    spec = importlib.util.find_spec(PACKAGES[number])
    assert spec is not None
    assert Path(str(spec.origin)).parent == ROOT / LAYERS[number] / PACKAGES[number]


def test_each_stage_folder_holds_exactly_one_module():
    for layer, package in zip(LAYERS, PACKAGES, strict=True):
        modules = [
            path.name
            for path in (ROOT / layer).iterdir()
            if path.suffix == ".py" or (path.is_dir() and any(path.rglob("*.py")))
        ]
        assert modules == [package], f"{layer}/ is on the path, so everything in it can be imported"


def test_no_generic_name_can_be_imported_from_here():
    stages = [ROOT / layer for layer in LAYERS]
    inner = {
        path.stem
        for layer, package in zip(LAYERS, PACKAGES, strict=True)
        for path in (ROOT / layer / package).rglob("*.py")
    }
    generic = (inner | set(LAYERS) | {"config", "train", "export", "dataset", "cli", "utils"}) - {
        "__init__",
        "__main__",
        *sys.stdlib_module_names,
    }
    assert {"config", "train", "cli"} <= generic
    program = (
        "import importlib.util, json, sys\n"
        "specs = {name: importlib.util.find_spec(name) for name in json.loads(sys.argv[1])}\n"
        "print(json.dumps({n: [s.origin, *(s.submodule_search_locations or ())] for n, s in specs.items() if s}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, json.dumps(sorted(generic))],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found = json.loads(done.stdout)
    ours = {
        name: places
        for name, places in found.items()
        if any(place is not None and Path(place).is_relative_to(stage) for place in places for stage in stages)
    }
    assert not ours


def test_the_five_packages_have_one_version():
    done = subprocess.run(
        [sys.executable, "-m", "pip", "show", "nut-toolchain"], capture_output=True, text=True, check=True, timeout=60
    )
    assert f"\nVersion: {nut_runtime.__version__}\n" in done.stdout


def build_wheel(project: Path, out: Path) -> Path:
    """Build a project's wheel from a copy, so that nothing is written to the checkout."""
    source = out / "source"
    wanted = [project] if project != ROOT else [ROOT / layer for layer in LAYERS]
    for path in wanted:
        shutil.copytree(
            path, source / path.relative_to(ROOT), ignore=shutil.ignore_patterns("__pycache__", "dist", "*.egg-info")
        )
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            str(out / "dist"),
            str(source / project.relative_to(ROOT)),
        ],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = (out / "dist").glob("*.whl")
    return wheel


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="module")
def runtime_wheel(tmp_path_factory) -> Path:
    return build_wheel(ROOT / "runtime", tmp_path_factory.mktemp("runtime"))


@pytest.fixture(scope="module")
def toolchain_wheel(tmp_path_factory) -> Path:
    return build_wheel(ROOT, tmp_path_factory.mktemp("toolchain"))


@pytest.mark.slow
def test_the_toolchain_wheel_brings_no_runtime_but_requires_the_same_version(toolchain_wheel):
    with zipfile.ZipFile(toolchain_wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES) - {"nut_runtime"}
    required = metadata(toolchain_wheel).get_all("Requires-Dist") or []
    version = nut_runtime.__version__
    assert [line for line in required if line.startswith("nut-runtime")] == [f"nut-runtime[openvino]=={version}"]
    assert metadata(toolchain_wheel)["Version"] == version


@pytest.mark.slow
def test_the_runtime_wheel_holds_the_runtime_alone_and_asks_for_three_packages(runtime_wheel):
    with zipfile.ZipFile(runtime_wheel) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"nut_runtime"}
    assert "nut_runtime/py.typed" in names
    required = metadata(runtime_wheel).get_all("Requires-Dist") or []
    always = {re.split("[<>=~! ]", line)[0] for line in required if "extra ==" not in line}
    assert always == {"numpy", "opencv-python-headless", "click"}
    assert metadata(runtime_wheel)["Version"] == nut_runtime.__version__


class Edge:
    """A fresh virtual environment, as on an industrial PC."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder, with_pip=True)
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, away from the checkout."""
        return subprocess.run(
            [str(self.bin / program), *arguments],
            capture_output=True,
            text=True,
            check=check,
            timeout=500,
            cwd=self.bin,
        )

    def install(self, what: str) -> None:
        done = self.run("python", "-m", "pip", "install", "--disable-pip-version-check", what, check=False)
        if done.returncode:
            # A requirement that no version meets reads like an index out of reach; a package that is there tells.
            probe = self.run("python", "-m", "pip", "download", "--no-deps", "-d", str(self.bin), "click", check=False)
            if probe.returncode:
                pytest.skip(f"the package index cannot be reached: {probe.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr

    def packages(self) -> set[str]:
        listed = json.loads(self.run("python", "-m", "pip", "list", "--format", "json").stdout)
        return {entry["name"].lower() for entry in listed}


@pytest.fixture(scope="module")
def edge(tmp_path_factory, runtime_wheel) -> Edge:
    edge = Edge(tmp_path_factory.mktemp("edge") / "venv")
    edge.install(f"{runtime_wheel}[openvino]")
    return edge


def judge(edge: Edge, bundle_folder: Path, engine: str) -> None:
    """The self-test passes on the edge, and the golden frames get the reference's verdicts and scores."""
    model = ["--model", str(bundle_folder), "--engine", engine]
    doctor = edge.run("nut-runtime", "doctor", *model)
    assert "this device judges as the reference did" in doctor.stdout
    golden = json.loads((bundle_folder / "manifest.json").read_text())["golden"]["frames"]
    pictures = [str(bundle_folder / frame["picture"]) for frame in golden]
    done = edge.run("nut-runtime", "run", *pictures, *model, "--output", "-", "--quiet")
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict["label"] == "defect" for verdict in verdicts] == [frame["is_defective"] for frame in golden]
    for verdict, frame in zip(verdicts, golden, strict=True):
        # See tests/runtime/test_engines.py.
        assert verdict["raw_score"] == pytest.approx(frame["raw_score"], rel=1e-5)


@pytest.mark.slow
def test_the_edge_installs_lean_and_judges_as_the_reference_did(edge, bundle_folder):
    assert not edge.packages() & (HEAVY | {"onnxruntime", "nut-toolchain"})
    origin = edge.run("python", "-c", "import nut_runtime; print(nut_runtime.__file__)").stdout
    assert "site-packages" in origin
    judge(edge, bundle_folder, "openvino")
    missing = edge.run("nut-runtime", "doctor", "--model", str(bundle_folder), "--engine", "onnxruntime", check=False)
    assert missing.returncode == 2
    assert missing.stderr == "error: onnxruntime is not installed; run: pip install 'nut-runtime[onnxruntime]'\n"
    assert "cryptography" not in edge.packages()
    key = ["--verify-key", str(bundle_folder / "manifest.json")]
    unverified = edge.run("nut-runtime", "info", "--model", str(bundle_folder), *key, check=False)
    assert unverified.returncode == 2
    assert unverified.stderr.endswith("run: pip install 'nut-runtime[sign]'\n")


@pytest.mark.slow
def test_the_other_engine_can_be_added_on_the_edge(edge, runtime_wheel, bundle_folder):
    edge.install(f"{runtime_wheel}[onnxruntime]")
    assert not edge.packages() & HEAVY
    judge(edge, bundle_folder, "onnxruntime")
    judge(edge, bundle_folder, "openvino")
    edge.run("python", "-m", "pip", "check")
