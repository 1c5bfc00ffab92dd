"""Reads metadata.yaml of rosbag2: which files belong to a recording, and what they should hold.

Source: rosbag2_storage/metadata_io, versions 1 to 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from admlops.errors import DataError

METADATA_FILE = "metadata.yaml"
MAX_VERSION = 9

_MAX_BYTES = 16 * 2**20
_ROOT = "rosbag2_bagfile_information"
_COMPRESSION_MODES = ("", "none", "file", "message")


@dataclass(frozen=True, slots=True)
class BagMetadata:
    """What metadata.yaml says.

    Attributes:
        files: the files in the order in which they were written.
        num_messages: by topic.
        encodings: how the messages of each topic are serialised.
        compression_mode: "", "file" or "message".
    """

    files: tuple[Path, ...]
    num_messages: Mapping[str, int]
    encodings: Mapping[str, str]
    compression_mode: str


def read_metadata(folder: Path) -> BagMetadata:
    """Read metadata.yaml of a folder.

    Raises:
        DataError: it is damaged, of a newer version, or leads out of the folder.
    """
    path = folder / METADATA_FILE
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise DataError(f"{path}: larger than {_MAX_BYTES} bytes")
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise DataError(f"{path}: not valid YAML; remove it to read the files alone") from error
    try:
        return _parse(values[_ROOT], folder)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{path}: not written by rosbag2 ({error!r}); remove it to read the files alone"
        ) from error


def _parse(values: Mapping[str, Any], folder: Path) -> BagMetadata:
    version = int(values["version"])
    if not 1 <= version <= MAX_VERSION:
        raise DataError(
            f"{folder}: version {version} of {METADATA_FILE}; 1 to {MAX_VERSION} is read"
        )
    mode = _text(values.get("compression_mode") or "").lower()
    compression = _text(values.get("compression_format") or "").lower()
    if mode not in _COMPRESSION_MODES or (mode in ("file", "message") and compression != "zstd"):
        raise DataError(
            f"{folder}: compression {compression!r} by {mode!r}; zstd by file or message"
        )
    topics = [
        (topic["topic_metadata"], int(topic["message_count"]))
        for topic in values["topics_with_message_count"]
    ]
    return BagMetadata(
        files=tuple(_inside(folder, _text(name)) for name in values["relative_file_paths"]),
        num_messages={_text(topic["name"]): count for topic, count in topics},
        encodings={
            _text(topic["name"]): _text(topic["serialization_format"]) for topic, _ in topics
        },
        compression_mode="" if mode == "none" else mode,
    )


def _text(value: object) -> str:
    """Return a text; nothing else is written out, since nested aliases may grow without bound."""
    if not isinstance(value, str):
        raise TypeError(f"a {type(value).__name__} in place of a text")
    return value


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the folder; old versions write its name behind the folder's."""
    path = folder / name
    if not path.is_file():
        path = folder / Path(name).name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"{folder}: {METADATA_FILE} names {name!r}, which lies elsewhere")
    if not path.is_file():
        raise DataError(f"{folder}: {name!r} is named in {METADATA_FILE} and absent")
    return path
