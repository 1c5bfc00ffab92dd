"""The small file by which steps hand each other data that they do not copy."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.files import write_atomically

MANIFEST_FILE = "manifest.json"
"""Name of the manifest in a folder that holds the data, too."""
PREDICTIONS_FILE = "predictions.parquet"
"""Name of the boxes in a folder of predictions; here, so that it is known without the lake."""

Kind = Literal["source", "dataset", "model", "predictions", "exported", "built", "release"]


class Manifest(Config):
    """A reference to data, with what a reader must know before it opens the data."""

    kind: Kind
    """What the reference leads to."""
    schema_version: int = 1
    """Version of this file's layout."""
    uri: str
    """Where the data is, without a version."""
    version: str = ""
    """Version inside the store; empty where the URI is immutable."""
    digest: str
    """SHA-256 of the content."""
    licences: tuple[str, ...] = ()
    """Names of the licence terms that the content carries."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """How it came to be: step, source, parents, code version."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Figures worth reading without opening the data."""

    @property
    def reference(self) -> str:
        """Return `uri@version`."""
        return f"{self.uri}@{self.version}" if self.version else self.uri

    def write(self, path: Path) -> None:
        """Write the manifest as JSON, whole or not at all."""
        write_atomically(path, json.dumps(self.to_json_dict(), indent=2) + "\n")

    @classmethod
    def read(cls, path: Path, kind: Kind) -> Self:
        """Read a manifest and insist on its kind.

        Raises:
            DataError: the file is absent, is no manifest, or leads to something else.
        """
        manifest = cls.read_any(path)
        if manifest.kind != kind:
            message = f"{path}: expected a manifest of kind {kind!r}, found {manifest.kind!r}"
            raise DataError(message)
        return manifest

    @classmethod
    def read_any(cls, path: Path) -> Self:
        """Read a manifest of whatever kind.

        Raises:
            DataError: the file is absent or is no manifest.
        """
        return cls.read_record(path, "manifest")
