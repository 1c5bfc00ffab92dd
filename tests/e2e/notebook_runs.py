"""How tests run the notebooks: in a kernel of their own, with other values of their parameters."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "notebooks"


def read_notebook(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def execute(name: str, **parameters: str) -> Any:
    """Run a notebook with other values of its parameters, and return it with its outputs."""
    notebook = read_notebook(name)
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


def without_tags(html: str) -> str:
    return re.sub(r"<[^>]+>", "", html)
