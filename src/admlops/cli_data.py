"""Commands about data that are no steps: `guideline`, `query` and `view`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from admlops.errors import ConfigError, DataError

if TYPE_CHECKING:
    from admlops.lake.store import Dataset

Labelled = Annotated[
    str, typer.Option(help="Manifest or reference of labelled frames to draw examples from.")
]


def guideline(
    definition: Annotated[str, typer.Argument(help="A shipped definition, or a YAML file.")],
    output: Annotated[Path, typer.Option(help="Folder to write.")] = Path("guideline"),
    dataset: Labelled = "",
) -> None:
    """Write the annotation guideline of a definition, with schema and labelling-tool files."""
    from admlops.annotation.definition import load_definition
    from admlops.steps.guideline import GUIDELINE_PAGE, write_guideline

    chosen = load_definition(definition)
    write_guideline(chosen, open_dataset(dataset) if dataset else None, output)
    print(output / GUIDELINE_PAGE)


def query(
    dataset: Annotated[str, typer.Argument(help="Manifest, or reference like lake@3.")],
    sql: Annotated[str, typer.Argument(help="One SELECT; without, a prompt opens.")] = "",
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per row.")] = False,
) -> None:
    """Ask a dataset in SQL: the views frames, boxes and boxes_2d."""
    from admlops.sql_shell import Layout, SqlShell

    if csv and json:
        raise ConfigError("--csv and --json exclude each other; choose one")
    layout: Layout = "csv" if csv else "json" if json else "table"
    shell = SqlShell(open_dataset(dataset), layout)
    if sql:
        shell.answer(sql)
    else:
        shell.converse()


def view(
    dataset: Annotated[str, typer.Argument(help="Manifest, or reference like lake@3.")],
    output: Annotated[Path, typer.Option(help="MCAP file to write.")] = Path("view.mcap"),
    where: Annotated[
        str, typer.Option(help="SQL condition on the view frames, as \"scene = '003'\".")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="Frames to write at most.")] = 1000,
) -> None:
    """Write frames of a dataset, with their labels, as a recording that Foxglove shows."""
    from admlops.recordings.foxglove import write_view

    opened = open_dataset(dataset)
    rows = opened.rows_where(where or "true")
    keys = opened.keys()
    ordered = sorted(rows.tolist(), key=lambda row: keys[row].timestamp_ns)[:limit]
    if not ordered:
        raise DataError(f"{opened.reference}: no frame meets {where!r}")
    frames = opened.iterate(ordered, camera=True, other_cameras=True)
    print(f"{output}: {write_view(output, frames)} of {len(rows)} frames")


COMMANDS: Mapping[str, Callable[..., None]] = {
    "guideline": guideline,
    "query": query,
    "view": view,
}


def open_dataset(manifest_or_reference: str) -> "Dataset":
    """Open the dataset that a manifest file or a reference names.

    Raises:
        DataError: there is none.
    """
    from admlops.lake.store import Dataset
    from admlops.structures.manifest import Manifest

    path = Path(manifest_or_reference)
    if path.is_file():
        return Dataset.open(Manifest.read(path, "dataset").reference)
    return Dataset.open(manifest_or_reference)
