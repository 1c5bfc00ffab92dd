"""The list of a release's files with their checksums, as `files.json` holds it.

It comes from a bucket, so nothing in it is trusted: a name that could lead out of the release's
folder makes the whole release unusable.
"""

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from admlops.errors import DataError
from admlops.files import digest_file

FILES_FILE = "files.json"
RELEASE_FILE = "release.json"
MODELS_FOLDER = "models"
CONFIGURATION_FILE = "config.pbtxt"

_NUM_DIGITS = 64
_NUM_NAMED = 5
_MAX_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Inventory:
    """Every file of a release but `files.json` itself.

    Attributes:
        digests: SHA-256 in hexadecimal by the file's path below the release, with "/".
    """

    digests: dict[str, str]

    @classmethod
    def parse(cls, content: bytes, where: str) -> Self:
        """Return the inventory that the bytes of a `files.json` hold.

        Raises:
            DataError: it is damaged, names a path outside of the release, or is no model
                repository.
        """
        try:
            values = json.loads(content)
        except ValueError as error:
            raise DataError(f"{where}: is not JSON ({error}); publish the release again") from error
        if not isinstance(values, dict) or not 0 < len(values) <= _MAX_FILES:
            raise DataError(f"{where}: expected the checksums of 1 to {_MAX_FILES} files by name")
        for name, digest in values.items():
            _require_inside(name, where)
            if not _is_digest(digest):
                raise DataError(f"{where}: {name} has no SHA-256 but {digest!r:.80}")
        _require_whole(values, where)
        return cls(values)

    def in_order(self) -> tuple[list[str], list[str]]:
        """Return the names of all other files, and those of the models' configurations.

        A model becomes loadable by its configuration, so these are written last.
        """
        last = [n for n in self.digests if PurePosixPath(n).name == CONFIGURATION_FILE]
        return sorted(self.digests.keys() - set(last)), sorted(last)

    def differences(self, folder: Path) -> list[str]:
        """Return what is changed, missing or strange in a folder, in name order."""
        found = {
            path.relative_to(folder).as_posix(): path
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        found.pop(FILES_FILE, None)
        wrong = [f"{name} is missing" for name in self.digests.keys() - found.keys()]
        wrong += [f"{name} does not belong to it" for name in found.keys() - self.digests.keys()]
        wrong += [
            f"{name} changed"
            for name, digest in self.digests.items()
            if name in found and digest_file(found[name]) != digest
        ]
        return sorted(wrong)


def _require_inside(name: str, where: str) -> None:
    """Refuse a name that is not a plain relative path.

    Raises:
        DataError: the name is absolute, climbs, or is written in an unusual way.
    """
    parts = name.split("/")
    plain = all(part not in ("", ".", "..") for part in parts)
    if not plain or "\\" in name or not name.isprintable() or name == FILES_FILE:
        raise DataError(
            f"{where}: the file name {name!r} leads out of the release's folder or is no plain "
            "relative path; nothing was loaded. Somebody changed the release: publish it again "
            "and find out who writes to the bucket"
        )


def _require_whole(digests: dict[str, str], where: str) -> None:
    configured = any(
        PurePosixPath(name).match(f"{MODELS_FOLDER}/*/{CONFIGURATION_FILE}") for name in digests
    )
    if RELEASE_FILE not in digests or not configured:
        raise DataError(
            f"{where}: names no {RELEASE_FILE} or no {MODELS_FOLDER}/*/{CONFIGURATION_FILE}; it is "
            "no release"
        )
    folders = {str(parent) for name in digests for parent in PurePosixPath(name).parents}
    both = sorted(folders & digests.keys())
    if both:
        raise DataError(f"{where}: {', '.join(both[:_NUM_NAMED])} is a file and a folder at once")


def _is_digest(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) == _NUM_DIGITS
        and all(letter in "0123456789abcdef" for letter in value)
    )
