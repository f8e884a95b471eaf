"""The four notebooks run top to bottom, in order, as a reader would run them."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that the notebooks make, one after the other."""
    return tmp_path_factory.mktemp("notebooks")


def outputs(notebook: nbformat.NotebookNode) -> str:
    """Return what its cells printed."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "".join(output.get("text", "") for cell in cells for output in cell.outputs)


@pytest.mark.parametrize(
    ("path", "printed"),
    [
        pytest.param(NOTEBOOKS[0], "usable", id="setup"),
        pytest.param(NOTEBOOKS[1], "held-out pictures can speak for", id="train"),
        pytest.param(NOTEBOOKS[2], "pictures judged", id="evaluate"),
        pytest.param(NOTEBOOKS[3], "0 verdicts changed", id="inference"),
    ],
)
# Its kernel's sockets are closed when they are collected.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:(jupyter_client|nbclient|zmq|traitlets).*")
def test_it_runs_from_top_to_bottom(path, printed, work, monkeypatch):
    monkeypatch.setenv("DRAW", "20")
    monkeypatch.setenv("WORK", str(work))
    monkeypatch.delenv("DATA", raising=False)
    monkeypatch.delenv("NEW", raising=False)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(work)}}).execute()
    assert printed in outputs(notebook)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_with_outputs_that_teach_and_names_nobody_s_machine(path):
    notebook = nbformat.read(path, as_version=4)
    assert outputs(notebook)
    assert str(Path.home()) not in path.read_text(encoding="utf-8")
    assert path.stat().st_size < 500_000, "too large to be read on a web page"
    assert os.fspath(Path(__file__).parents[1]) not in path.read_text(encoding="utf-8")
