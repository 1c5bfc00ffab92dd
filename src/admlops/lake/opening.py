"""Opening and creating the table behind a dataset, at a version or a tag."""

import json
from collections.abc import Mapping, Sequence

import lance

from admlops.errors import DataError
from admlops.lake.schema import COLUMNS, LICENCES_KEY, SCHEMA_VERSION, SCHEMA_VERSION_KEY
from admlops.lake.storage import explain_errors, is_remote


def create_table(
    uri: str, options: Mapping[str, str], licences: Sequence[str]
) -> lance.LanceDataset:
    """Make an empty dataset, or open the one that another process made in the meantime.

    Raises:
        DataError: the folder cannot be written.
        ServiceError: the object store failed.
    """
    schema = COLUMNS.with_metadata(
        {
            SCHEMA_VERSION_KEY: str(SCHEMA_VERSION),
            LICENCES_KEY: json.dumps(sorted(set(licences))),
        }
    )
    with explain_errors(uri, "creating the dataset"):
        try:
            return lance.write_dataset(
                schema.empty_table(),
                uri,
                schema=schema,
                storage_options=dict(options) or None,
                data_storage_version="2.1",
            )
        except OSError:
            existing = open_latest(uri, options)
            if existing is None:
                raise
            return existing


def open_latest(uri: str, options: Mapping[str, str]) -> lance.LanceDataset | None:
    """Return the latest version, or None where there is no dataset.

    Raises:
        DataError: what is there cannot be read.
        ServiceError: the object store cannot be reached.
    """
    with explain_errors(uri, "opening the dataset"):
        try:
            return lance.dataset(uri, storage_options=dict(options) or None)
        except ValueError as error:
            if "was not found" in str(error) and (is_remote(uri) or "_versions," in str(error)):
                return None
            raise


def check_out(table: lance.LanceDataset, uri: str, version: str) -> lance.LanceDataset:
    """Return the version of that number or tag.

    Raises:
        DataError: there is none; the message lists those that are.
    """
    tags = list_tags(table, uri)
    number = int(version) if version.isdigit() else tags.get(version)
    with explain_errors(uri, f"opening version {version}"):
        versions = list_versions(table)
        if number in versions:
            return table.checkout_version(number)
    named = ", ".join(f"{tag} (version {at})" for tag, at in sorted(tags.items())) or "none"
    raise DataError(
        f"{uri}@{version}: no such version or tag. Versions: {versions[0]} to {versions[-1]}; "
        f"tags: {named}"
    )


def list_tags(table: lance.LanceDataset, uri: str) -> dict[str, int]:
    """Return the version that each tag names."""
    with explain_errors(uri, "listing tags"):
        return {name: int(tag["version"]) for name, tag in table.tags.list().items()}


def list_versions(table: lance.LanceDataset) -> list[int]:
    """Return the numbers of all versions, oldest first."""
    return sorted(int(item["version"]) for item in table.versions())


def check_schema(table: lance.LanceDataset, uri: str) -> None:
    """Insist on a dataset of frames that this program can read.

    Raises:
        DataError: the table holds something else, or is of another schema version.
    """
    found = (table.schema.metadata or {}).get(SCHEMA_VERSION_KEY)
    if found is None:
        raise DataError(f"{uri}: a Lance table, but not a dataset of frames; choose another URI")
    if int(found) != SCHEMA_VERSION:
        raise DataError(
            f"{uri}: written with schema version {int(found)}, this program reads "
            f"{SCHEMA_VERSION}; ingest the source again or use the program that wrote it"
        )
