"""The subcommands of `admlops collect`: the catalogue of open datasets."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, get_args

import typer
import yaml
from rich import box
from rich.console import Console
from rich.table import Table

from admlops.catalogue.entry import DatasetEntry, Task
from admlops.catalogue.licences import MixedTerms, licence_table
from admlops.catalogue.reading import find_entry, select_entries
from admlops.errors import ConfigError
from admlops.files import OWN_FOLDER
from admlops.steps.step import run_step

SOURCE_FILE = "source.json"
"""Where the reference to a dataset goes, in the folder of notes beside it."""

Name = Annotated[str, typer.Argument(help="Name in the catalogue.")]
SourceFile = Annotated[
    Path | None,
    typer.Option(help=f"Where the reference goes; {OWN_FOLDER}/{SOURCE_FILE} beside the data."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_commands(group: typer.Typer) -> None:
    """Add the subcommands to the group `collect`."""
    group.command("list")(list_datasets)
    group.command("show")(show)
    group.command("fetch")(fetch)
    group.command("register")(register)
    group.command("watch")(watch)


def list_datasets(
    task: Annotated[str, typer.Option(help="Only those labelled for it.")] = "",
    commercial: Annotated[
        bool, typer.Option(help="Only those known to permit commercial use.")
    ] = False,
    fetchable: Annotated[bool, typer.Option(help="Only those that `fetch` can download.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the open datasets of the catalogue."""
    tasks = get_args(Task)
    if task and task not in tasks:
        raise ConfigError(f"--task {task!r}: no such task; there are {', '.join(tasks)}")
    chosen = select_entries(
        next((known for known in tasks if known == task), None),
        commercial=commercial,
        fetchable=fetchable,
    )
    if as_json:
        print(json.dumps([_summary(entry) for entry in chosen], indent=2))
    else:
        Console(width=None if sys.stdout.isatty() else 120).print(_table(chosen))


def show(name: Name, as_json: AsJson = False) -> None:
    """Print all that the catalogue knows of a dataset and its terms."""
    entry = find_entry(name)
    facts = entry.to_json_dict()
    facts["licences"] = [licence_table()[name].to_json_dict() for name in entry.licences]
    facts["mix"] = _permissions(entry.terms)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        print(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True, width=100), end="")


def fetch(  # noqa: PLR0913 - one argument per flag
    name: Name,
    destination: Annotated[Path, typer.Option(help="Folder to fill, or to go on filling.")],
    accept_licence: Annotated[
        bool, typer.Option(help="Accept the dataset's terms; recorded beside the data.")
    ] = False,
    accepted_by: Annotated[str, typer.Option(help="Who accepts; you when empty.")] = "",
    part: Annotated[
        list[str] | None, typer.Option(help="Part or file; may be repeated. All when absent.")
    ] = None,
    mirror: Annotated[str, typer.Option(help="URL of a folder that holds the same files.")] = "",
    keep_archives: Annotated[bool, typer.Option(help="Keep archives after unpacking.")] = False,
    source: SourceFile = None,
) -> None:
    """Download and unpack an open dataset; run it again to go on where it stopped."""
    origin = {
        "kind": "catalogue",
        "dataset": name,
        "parts": part or [],
        "destination": destination,
        "accept_licence": accept_licence,
        "accepted_by": accepted_by,
        "mirror": mirror,
        "keep_archives": keep_archives,
    }
    _collect(origin, source or destination / OWN_FOLDER / SOURCE_FILE)


def register(
    folder: Annotated[Path, typer.Argument(help="Folder of data downloaded by hand.")],
    dataset: Annotated[str, typer.Option(help="Name in the catalogue.")],
    source: SourceFile = None,
) -> None:
    """Check the layout of a dataset downloaded by hand, and write a reference with its licences."""
    origin = {"kind": "folder", "path": folder, "dataset": dataset}
    find_entry(dataset)
    if source is None and folder.is_dir() and not os.access(folder, os.W_OK):
        raise ConfigError(f"{folder}: cannot be written to; say with --source where the file goes")
    _collect(origin, source or folder / OWN_FOLDER / SOURCE_FILE)


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder in which recordings appear.")],
    config: Annotated[
        Path | None, typer.Option(help="YAML file of triggers, detector, privacy and the rest.")
    ] = None,
    lake_uri: Annotated[str, typer.Option(help="Dataset; instead of the file's.")] = "",
    once: Annotated[bool, typer.Option(help="Look once, and end.")] = False,
) -> None:
    """Ingest recordings as they are completed, each exactly once; SIGTERM ends it cleanly."""
    from admlops.collection.watch import Watch, WatchConfig

    settings = WatchConfig() if config is None else WatchConfig.load(config)
    if lake_uri:
        settings = settings.replace(lake_uri=lake_uri)
    watching = Watch(folder, settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watching.stop.set())
    watching.run(once=once, report=lambda line: print(line, flush=True))


def _collect(origin: dict[str, object], source: Path) -> None:
    scores = run_step("collect", {}, {"source": str(source)}, {"origin": origin})
    for name, value in scores.items():
        if name != "num_simulated":
            print(f"{name}: {value:.0f}")
    print(f"source: {source}")


def _table(entries: list[DatasetEntry]) -> Table:
    title = f"{len(entries)} open dataset{'' if len(entries) == 1 else 's'}"
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for head in ("name", "labelled for", "scenes", "frames", "GB", "terms", "commercial", "fetch"):
        number = head in ("scenes", "frames", "GB")
        table.add_column(
            head, justify="right" if number else "left", no_wrap=head != "labelled for"
        )
    for entry in entries:
        table.add_row(
            entry.name,
            ", ".join(entry.tasks),
            _count(entry.size.scenes),
            _count(entry.size.frames),
            "?" if entry.size.gigabytes is None else f"{entry.size.gigabytes:g}",
            "\n".join(name.removeprefix("LicenseRef-") for name in entry.licences),
            _answer(entry.terms.commercial),
            "yes" if entry.fetchable else "by hand",
        )
    return table


def _summary(entry: DatasetEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "title": entry.title,
        "tasks": entry.tasks,
        "sensors": [f"{sensor.count} {sensor.kind}" for sensor in entry.sensors],
        "num_categories": len(entry.categories) or None,
        "size": entry.size.to_json_dict(),
        "licences": entry.licences,
        "permissions": _permissions(entry.terms),
        "registration": entry.registration,
        "fetchable": entry.fetchable,
        "format": entry.format,
        "home": entry.home,
    }


def _permissions(terms: MixedTerms) -> dict[str, object]:
    return {
        "commercial": terms.commercial,
        "redistribution": terms.redistribution,
        "derivatives": not terms.no_derivatives,
        "carry": terms.carry,
        "attribution": terms.attribution,
        "conflicts": terms.conflicts,
    }


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _answer(permitted: bool | None) -> str:
    return {True: "yes", False: "no", None: "not known"}[permitted]
