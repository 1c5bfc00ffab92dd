"""What people need to label a dataset: the guideline, and the set-up of their tools.

No step of its own: it goes into the package that `annotate` sends to a vendor, and
`admlops guideline` writes it for people who want to read it first.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.delivery_schema import make_delivery_schema
from admlops.annotation.projects import make_cvat_labels, make_openlabel_project
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.store import Dataset
from admlops.reporting.guideline import Evidence, collect_evidence, render_guideline

GUIDELINE_PAGE = "guideline.html"
DEFINITION_FILE = "definition.yaml"
SCHEMA_FILE = "delivery_schema.json"
CVAT_FILE = "cvat_labels.json"
OPENLABEL_FILE = "openlabel.json"


def write_guideline(definition: DatasetDefinition, dataset: Dataset | None, folder: Path) -> None:
    """Write a folder with the guideline and what belongs to it; replaces the folder as a whole.

    Args:
        definition: what is labelled, and how.
        dataset: labelled frames from which examples are drawn; without, the guideline has none.
        folder: where the five files go.

    Raises:
        DataError: the dataset cannot be read.
    """
    with write_folder_atomically(folder) as draft:
        write_guideline_files(definition, dataset, draft)


def write_guideline_files(
    definition: DatasetDefinition, dataset: Dataset | None, folder: Path
) -> None:
    """Write the same files into a folder that holds others too.

    Raises:
        DataError: the dataset cannot be read.
    """
    evidence = Evidence() if dataset is None else collect_evidence(dataset, definition)
    values = definition.to_json_dict() | {"requirement_file": ""}
    files: dict[str, str] = {
        GUIDELINE_PAGE: render_guideline(definition, evidence),
        DEFINITION_FILE: yaml.safe_dump(values, sort_keys=False, allow_unicode=True),
        SCHEMA_FILE: _as_json(make_delivery_schema(definition)),
        CVAT_FILE: _as_json(make_cvat_labels(definition)),
        OPENLABEL_FILE: _as_json(make_openlabel_project(definition)),
    }
    for name, text in files.items():
        write_atomically(folder / name, text)


def _as_json(content: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return json.dumps(content, indent=2) + "\n"
