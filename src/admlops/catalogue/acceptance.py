"""Who accepted the terms of a dataset, and when; a record beside the data."""

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path

from admlops.catalogue.entry import DatasetEntry
from admlops.catalogue.licences import read_terms
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import OWN_FOLDER, write_atomically

ACCEPTANCE_FILE = "licence_acceptance.json"


class Acceptance(Config):
    """One person's yes to the terms of one dataset."""

    dataset: str
    """Name in the catalogue."""
    accepted_by: str
    """Who accepted."""
    accepted_at: datetime
    """When, in UTC."""
    terms_url: str
    """The publisher's statement of the terms."""
    terms_digests: dict[str, str]
    """SHA-256 of each licence's terms as the catalogue had them, by name."""


def require_acceptance(
    entry: DatasetEntry, destination: Path, accepted_by: str, *, accept: bool
) -> None:
    """Insist that the terms are accepted; record it where `accept` says so now.

    A record beside the data holds as long as the catalogue's terms stay what they were.

    Raises:
        ConfigError: nobody accepted these terms; the message names them.
        DataError: the record cannot be read.
    """
    file = destination / OWN_FOLDER / ACCEPTANCE_FILE
    records = _read(file)
    digests = entry.terms_digests()
    if any(r.dataset == entry.name and r.terms_digests == digests for r in records):
        return
    if not accept:
        raise ConfigError(_ask(entry))
    records.append(
        Acceptance(
            dataset=entry.name,
            accepted_by=accepted_by or _current_user(),
            accepted_at=datetime.now(UTC).replace(microsecond=0),
            terms_url=entry.terms_url,
            terms_digests=digests,
        )
    )
    content = [record.to_json_dict() for record in records]
    write_atomically(file, json.dumps(content, indent=2) + "\n")


def _read(file: Path) -> list[Acceptance]:
    try:
        values = json.loads(file.read_bytes())
        return [Acceptance.parse(value, where=str(file)) for value in values]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, ConfigError) as error:
        raise DataError(f"{file}: cannot be read ({error}); move it away to accept anew") from error


def _ask(entry: DatasetEntry) -> str:
    lines = [f"{entry.name}: its terms must be accepted first ({entry.terms_url}):"]
    for name in entry.licences:
        terms = read_terms(name)
        lines.append(f"  {terms.title}, {terms.url}: commercial use {_answer(terms.commercial)}")
        lines += [f"    {terms.notes}"] if terms.notes else []
    lines += [f"  {entry.terms_note}"] if entry.terms_note else []
    lines += [f"  {entry.instructions}"] if entry.registration else []
    return "\n".join([*lines, "Read them, then give --accept-licence (accept_licence: true)"])


def _answer(permitted: bool | None) -> str:
    return {True: "permitted", False: "forbidden", None: "not settled"}[permitted]


def _current_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise ConfigError("accepted_by: say who accepts the terms; no user is known") from error
