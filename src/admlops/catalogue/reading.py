"""Reading the catalogue: one YAML file per dataset, part of the package."""

from collections.abc import Iterable
from functools import cache
from importlib.resources import files

import yaml

from admlops.catalogue.entry import DatasetEntry, Task
from admlops.catalogue.licences import licence_table
from admlops.errors import ConfigError

FOLDER = "datasets"


@cache
def load_catalogue() -> dict[str, DatasetEntry]:
    """Return every dataset of the catalogue by its name, in that order.

    Raises:
        ConfigError: a file is no valid entry.
    """
    entries: dict[str, DatasetEntry] = {}
    folder = files("admlops.catalogue").joinpath(FOLDER)
    for file in sorted(folder.iterdir(), key=lambda item: item.name.removesuffix(".yaml")):
        if file.name.endswith(".yaml"):
            entry = parse_entry(file.read_text(), file.name)
            entries[entry.name] = entry
    return entries


def parse_entry(text: str, where: str) -> DatasetEntry:
    """Return the dataset that a YAML text describes.

    Raises:
        ConfigError: the text is no valid entry, is not named like its file, or its licences are
            not in the table.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: not valid YAML ({error})") from error
    entry = DatasetEntry.parse(values if isinstance(values, dict) else {}, where=where)
    if where != f"{entry.name}.yaml":
        raise ConfigError(f"{where}: it describes {entry.name!r}; name the file after it")
    for name in entry.licences:
        if name not in licence_table():
            raise ConfigError(f"{where}: licence {name!r} is not in the table of licence terms")
    return entry


def find_entry(name: str) -> DatasetEntry:
    """Return a dataset of the catalogue.

    Raises:
        ConfigError: there is none of that name.
    """
    catalogue = load_catalogue()
    if name not in catalogue:
        raise ConfigError(
            f"no dataset of the catalogue is called {name!r}; there are {', '.join(catalogue)}"
        )
    return catalogue[name]


def select_entries(
    task: Task | None = None, *, commercial: bool = False, fetchable: bool = False
) -> list[DatasetEntry]:
    """Return the datasets that have labels for a task and permit what is asked, by name.

    With `commercial` only those whose terms are known to permit commercial use are returned.
    """
    chosen: Iterable[DatasetEntry] = load_catalogue().values()
    if task is not None:
        chosen = (entry for entry in chosen if task in entry.tasks)
    if commercial:
        chosen = (entry for entry in chosen if entry.terms.commercial is True)
    if fetchable:
        chosen = (entry for entry in chosen if entry.fetchable)
    return list(chosen)
