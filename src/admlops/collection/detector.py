"""What triggers ask what a sweep shows: a published release in this process, or a server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.files import digest_file
from admlops.serving.bucket_store import find_release
from admlops.serving.client import ServedDetector
from admlops.serving.in_process import load_release_predictor
from admlops.serving.inventory import FILES_FILE
from admlops.serving.release import read_record
from admlops.serving.release_reference import ReleaseReference
from admlops.structures.boxes import Boxes

Detect = Callable[[NDArray[np.float32]], Boxes]
"""From (N, 4) points x y z intensity to what they show, both in the ego frame."""


class ReleaseDetectorConfig(Config):
    """A published release, run in this process on the CPU."""

    kind: Literal["release"]
    """Tells it from a server."""
    releases_uri: str = Field(min_length=1)
    """Where releases are published: a folder, or s3://bucket/folder."""
    release: str = ""
    """Its id, pinned by @sha256: and the digest of its files.json if wanted; the one that is
    current when the watch begins where it is empty."""


class ServerDetectorConfig(Config):
    """A running Triton server that serves a release."""

    kind: Literal["server"]
    """Tells it from a release."""
    url: str = Field(min_length=1)
    """Host and port of its gRPC endpoint."""


DetectorConfig = Annotated[
    ReleaseDetectorConfig | ServerDetectorConfig, Field(discriminator="kind")
]


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector that triggers ask.

    Attributes:
        detect: says what a cloud shows.
        categories: what it can find; empty where that is not known.
        provenance: which release it is, and what runs it.
    """

    detect: Detect
    categories: tuple[str, ...] = ()
    provenance: str = ""


def load_detector(config: DetectorConfig) -> Detector:
    """Return the detector that a config names, ready to be asked.

    Raises:
        ConfigError: the place or the id of a release has a wrong form.
        DataError: there is no such release, or it is damaged.
        ServiceError: the server or the bucket cannot be reached, or a runtime is not installed.
    """
    if isinstance(config, ServerDetectorConfig):
        served = ServedDetector(config.url)
        release = served.release
        where = f"release {release.release_id} served at {config.url}"
        return Detector(served, release.categories, where)
    folder = _find(config)
    record = read_record(folder)
    where = f"release {record.release_id} in this process"
    return Detector(load_release_predictor(folder), record.categories, where)


def _find(config: ReleaseDetectorConfig) -> Path:
    """Return the folder of the release, verified and as pinned."""
    if not config.release:
        return find_release(config.releases_uri)
    reference = ReleaseReference.parse(config.release)
    folder = find_release(config.releases_uri, reference.release_id)
    if reference.files_digest not in ("", digest_file(folder / FILES_FILE)):
        raise DataError(
            f"{config.releases_uri}: release {reference.release_id} is not the one that "
            f"{config.release} names; its {FILES_FILE} has another digest"
        )
    return folder
