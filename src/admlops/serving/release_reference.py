"""The name of one release in a bucket, as a pod template carries it."""

import re
from dataclasses import dataclass
from typing import Self

from admlops.errors import ConfigError

_FORM = re.compile(r"(?P<id>\d{4,}-[0-9a-f]{12})(@sha256:(?P<digest>[0-9a-f]{64}))?")
UNSET = "unset"
"""What an overlay holds before the first publication."""


@dataclass(frozen=True, slots=True)
class ReleaseReference:
    """A release's id, and the digest of its `files.json`, through which every file is pinned.

    Attributes:
        release_id: number and beginning of the content's digest.
        files_digest: SHA-256 of `files.json`; empty where it is not pinned.
    """

    release_id: str
    files_digest: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `id` or `id@sha256:<digest>` stands for.

        Raises:
            ConfigError: the text is neither.
        """
        if text in ("", UNSET):
            raise ConfigError(
                "release: none is set; publish one with `admlops publish --target kustomize`, or "
                "write its id into the overlay's release.yaml, and apply the overlay"
            )
        found = _FORM.fullmatch(text)
        if found is None:
            raise ConfigError(
                f"release {text!r}: expected an id like 0003-0123456789ab, optionally followed by "
                "@sha256: and the 64 hexadecimal digits of the digest of its files.json"
            )
        return cls(found["id"], found["digest"] or "")

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return self.release_id + (f"@sha256:{self.files_digest}" if self.files_digest else "")
