"""Whether a folder holds what a dataset of the catalogue should hold."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from admlops.catalogue.entry import DatasetEntry
from admlops.errors import DataError


def require_layout(entry: DatasetEntry, folder: Path) -> tuple[str, ...]:
    """Insist on what a copy of the dataset must hold; return what it holds, for people.

    Raises:
        DataError: the folder does not exist, or lacks something; the message names each pattern,
            and the folder that was probably meant.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    missing = [item for item in entry.layout if item.required and not _holds(folder, item.pattern)]
    if missing:
        lines = [f"{folder}: not laid out like {entry.title}; missing are"]
        lines += [f"  {item.pattern} ({item.holds})" for item in missing]
        meant = next((near for near in _near(entry, folder) if _complete(entry, near)), None)
        lines.append(f"{meant} holds them all; give that folder" if meant else entry.instructions)
        raise DataError("\n".join(lines))
    return tuple(item.holds for item in entry.layout if _holds(folder, item.pattern))


def _complete(entry: DatasetEntry, folder: Path) -> bool:
    return all(_holds(folder, item.pattern) for item in entry.layout if item.required)


def _holds(folder: Path, pattern: str) -> bool:
    return any(True for _ in folder.glob(pattern))


def _near(entry: DatasetEntry, folder: Path) -> Iterator[Path]:
    """Yield folders that may have been meant; none where that would search a whole disk."""
    if any("**" in item.pattern for item in entry.layout if item.required):
        return
    yield folder.parent
    yield from islice((child for child in sorted(folder.iterdir()) if child.is_dir()), 20)
