"""Notebooks are checked in as they were written: without outputs, each saying what it is for."""

import json
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NOTEBOOKS = sorted((EXAMPLES / "notebooks").glob("*.ipynb"))
stripped = runpy.run_path(str(EXAMPLES / "strip_outputs.py"))["stripped"]


def test_the_four_notebooks_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "01_explore_dataset",
        "02_run_locally",
        "03_submit_to_cluster",
        "04_inspect_results",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path: Path) -> None:
    assert path.read_text() == stripped(path.read_text()), "run: make format"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_a_title_words_and_one_cell_of_parameters(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    assert cells[0]["cell_type"] == "markdown"
    assert cells[0]["source"][0].startswith(f"# {int(path.stem[:2])}. ")
    assert sum("parameters" in cell["metadata"].get("tags", []) for cell in cells) == 1
    words = sum(cell["cell_type"] == "markdown" for cell in cells)
    assert words >= 4


def test_outputs_counts_and_metadata_are_stripped() -> None:
    cell = {
        "cell_type": "code",
        "id": "a1b2",
        "metadata": {"collapsed": True, "tags": ["parameters"]},
        "source": "a = 1\nb = 2",
        "execution_count": 7,
        "outputs": [{"output_type": "stream", "name": "stdout", "text": ["secret"]}],
    }
    notebook = {"cells": [cell], "metadata": {"widgets": {}}, "nbformat": 4, "nbformat_minor": 5}
    text = stripped(json.dumps(notebook))
    assert "secret" not in text
    assert "widgets" not in text
    assert json.loads(text)["cells"] == [
        {
            "cell_type": "code",
            "id": "cell-00",
            "metadata": {"tags": ["parameters"]},
            "source": ["a = 1\n", "b = 2"],
            "execution_count": None,
            "outputs": [],
        }
    ]
    assert stripped(text) == text
