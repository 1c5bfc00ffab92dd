"""The notebooks run from top to bottom, in a kernel of their own, and show what they promise."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebooks")


def execute(name: str, **parameters: str) -> Any:
    """Run a notebook with other values of its parameters, and return it with its outputs."""
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (cell,) = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])]
    cell.source += "".join(f"\n{key} = {value}" for key, value in parameters.items())
    where = {"metadata": {"path": str(FOLDER)}}
    with TemporaryDirectory() as folder:  # sockets of this user, and no ports
        sockets = {"transport": "ipc", "connection_file": f"{folder}/kernel.json"}
        config = Config({"KernelManager": sockets})
        NotebookClient(notebook, timeout=500, resources=where, config=config).execute()
    return notebook


def shown(notebook: Any) -> str:
    """Return everything that the cells printed or displayed, as HTML or text."""
    parts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            parts.append(data.get("text/html") or data.get("text/plain") or output.get("text", ""))
    return "\n".join(parts)


def num_pictures(notebook: Any) -> int:
    return shown(notebook).count("<img src=")


@pytest.fixture(scope="module")
def local_run(home: Path) -> Any:
    return execute("02_run_locally", home=f"Path({str(home)!r})", num_steps="4")


def test_a_dataset_is_explored(home: Path) -> None:
    notebook = execute("01_explore_dataset", home=f"Path({str(home)!r})")
    assert num_pictures(notebook) > 10
    words = shown(notebook)
    assert "<td" in words
    assert "num_added=36" in words
    assert "nothing to draw" not in words


def test_a_pipeline_runs_locally(local_run: Any, home: Path) -> None:
    words = shown(local_run)
    assert "stepz" in words
    assert "gate_passed" in words
    assert "<iframe" in words
    assert (home / "serving" / "current.json").is_file()


def test_results_of_the_run_are_inspected(local_run: Any, home: Path) -> None:
    words = shown(execute("04_inspect_results", home=f"Path({str(home)!r})"))
    assert "gate_passed" in shown(local_run)
    assert words.count("<img src=") == 5
    assert "changed since it was published: nothing" in words
    assert "models/network/config.pbtxt" in words
    assert "nothing to draw" not in words


def test_submission_is_skipped_without_a_cluster(home: Path) -> None:
    words = shown(execute("03_submit_to_cluster", home=f"Path({str(home)!r})", endpoint="''"))
    assert "findings of the pipeline above: []" in words
    assert "IMAGE001" in words
    assert "GPU001" in words
    assert "condition-1/publish" in words
    assert "skipped: no cluster; set KF_PIPELINES_ENDPOINT" in words


def test_an_unreachable_cluster_is_told_and_stops_nothing(home: Path) -> None:
    address = "'http://127.0.0.1:9'"  # discard: nothing listens there
    words = shown(execute("03_submit_to_cluster", home=f"Path({str(home)!r})", endpoint=address))
    assert "not submitted: KFP at http://127.0.0.1:9" in words
