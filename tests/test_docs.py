"""What the docs show is run: code blocks as they stand, and links that lead somewhere."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


def code_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", [0, 1], ids=["onnxruntime", "openvino"])
def test_the_ten_lines_without_our_runtime_judge_as_it_does(number: int, bundle_folder: Path, tmp_path: Path):
    from nut_runtime import Inspector
    from nut_runtime.pictures import read_picture

    code = code_blocks(ROOT / "docs" / "export.md", "python")[number]
    assert len(code.strip().splitlines()) <= 10
    (tmp_path / "bundle").symlink_to(bundle_folder)
    shutil.copy(bundle_folder / "golden" / "00.png", tmp_path / "part.png")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, score = done.stdout.split()
    verdict = Inspector(bundle_folder).inspect(read_picture(tmp_path / "part.png"))
    assert label == str(verdict.label)
    # two engines sum float32 in different orders; DESIGN.md's fp32 tolerance
    assert abs(float(score) - verdict.pred_score) <= 1e-3


def test_the_library_example_of_the_runtime_page_runs(bundle_folder: Path, tmp_path: Path):
    (code,) = code_blocks(ROOT / "docs" / "runtime.md", "python")
    (tmp_path / "bundle").symlink_to(bundle_folder)
    code = "import numpy as np\nframe = np.zeros((48, 64, 3), np.uint8)\n" + code
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in {"good", "defect"}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to compare with")
def test_openssl_agrees_with_us_on_fingerprint_and_signature(bundle_folder: Path, tmp_path: Path):
    from nut_export.signing import generate_key, sign_bundle

    (code,) = code_blocks(ROOT / "docs" / "trust.md", "sh")
    shutil.copytree(bundle_folder, tmp_path / "bundle")
    key = generate_key(tmp_path / "plant.pem")
    sign_bundle(tmp_path / "bundle", key)

    def verify() -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    done = verify()
    assert done.returncode == 0, done.stderr
    found, named, outcome = done.stdout.splitlines()
    assert f"sha256:{found}" == named == key.fingerprint
    assert outcome == "Signature Verified Successfully"
    (tmp_path / "bundle" / "manifest.json").write_text("{}")
    assert verify().returncode != 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_in_the_docs_lead_to_files_that_exist(page: Path):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_tests_named_in_the_docs_exist(page: Path):
    for name in re.findall(r"`(tests/[\w/]+\.py)`", page.read_text(encoding="utf-8")):
        assert (ROOT / name).is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_options_named_in_the_docs_exist(page: Path):
    from nut_benchmarks.cli import main as nut
    from nut_benchmarks.coreset import main as coreset
    from nut_benchmarks.coverage import main as coverage
    from nut_benchmarks.false_alarms import main as false_alarms
    from nut_benchmarks.quality.cli import quality
    from nut_runtime.cli import main as nut_runtime

    known = {"--help", "--version"}
    known |= {
        name
        for command in (coreset, coverage, false_alarms, quality)
        for option in command.params
        for name in option.opts
    }
    known |= {"--logdir"}  # TensorBoard's
    known |= {"--head"}  # of ray start
    known |= {"--no-index", "--find-links", "--wheel-dir", "--no-deps"}  # pip's
    known |= {"--rm", "--config", "--port", "--rest", "--opt"}  # docker's and OpenVINO's, as far as an underscore
    context = nut.make_context("nut", [], resilient_parsing=True)
    groups = [(nut, context), (nut_runtime, nut_runtime.make_context("nut-runtime", [], resilient_parsing=True))]
    while groups:
        group, context = groups.pop()
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            known |= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if hasattr(command, "list_commands"):
                groups.append((command, context))
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", page.read_text(encoding="utf-8")))
    assert found <= known, f"{page.name}: {sorted(found - known)}"
