"""Remove outputs, execution counts and editors' metadata from the notebooks; `make format` does.

Run: python examples/strip_outputs.py
"""

import json
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parent / "notebooks"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def stripped(text: str) -> str:
    """Return a notebook's JSON as it is checked in: what was written, and nothing that was run."""
    notebook = json.loads(text)
    cells = [_cell(cell, f"cell-{number:02d}") for number, cell in enumerate(notebook["cells"])]
    content = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _cell(cell: dict[str, Any], name: str) -> dict[str, Any]:
    tags = cell["metadata"].get("tags", [])
    lines = "".join(cell["source"]).splitlines(keepends=True)
    kept = {
        "cell_type": cell["cell_type"],
        "id": name,
        "metadata": {"tags": tags} if tags else {},
        "source": lines,
    }
    ran = {"execution_count": None, "outputs": []} if cell["cell_type"] == "code" else {}
    return kept | ran


def main() -> None:
    """Strip every notebook in place."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        before = path.read_text()
        after = stripped(before)
        if after != before:
            path.write_text(after)
            print(f"stripped {path.name}")


if __name__ == "__main__":
    main()
