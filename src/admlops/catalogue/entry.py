"""What the catalogue says of one open dataset."""

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

from admlops.catalogue.licences import MixedTerms, mix_terms, read_terms
from admlops.config import Config

Task = Literal[
    "lidar-3d-detection",
    "camera-3d-detection",
    "camera-2d-detection",
    "tracking-3d",
    "tracking-2d",
    "lidar-segmentation",
    "camera-segmentation",
    "lane-detection",
    "motion-forecasting",
    "odometry",
    "depth",
]
Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$")]
_DIGEST_LENGTH = {"sha256": 64, "md5": 32}


class Sensor(Config):
    """Sensors of one kind on the vehicle."""

    kind: Literal["lidar", "camera", "radar", "gnss-imu"]
    """What it is."""
    count: int = Field(ge=1)
    """How many there are."""
    model: str = ""
    """Which, and where it looks."""


class Size(Config):
    """How much there is; null where no source says."""

    frames: int | None = None
    """Frames with labels, or images where the dataset has no lidar."""
    scenes: int | None = None
    """Scenes, sequences or logs."""
    hours: float | None = None
    """Driving time."""
    gigabytes: float | None = None
    """Of all files, packed."""
    note: str = ""
    """What is counted, where that is not plain."""


class Split(Config):
    """A part of the dataset as its publisher cut it."""

    name: str
    """As the publisher calls it."""
    frames: int | None = None
    """Frames or images in it."""
    scenes: int | None = None
    """Scenes in it."""
    labelled: bool = True
    """Whether its labels are public."""


class Checksum(Config):
    """A published digest of a file."""

    algorithm: Literal["sha256", "md5"]
    """How it is computed."""
    value: str
    """Hexadecimal, lower case."""
    source: str
    """Where it is published."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        length = _DIGEST_LENGTH[self.algorithm]
        if not re.fullmatch(rf"[0-9a-f]{{{length}}}", self.value):
            raise ValueError(f"{self.algorithm} has {length} hexadecimal digits")
        return self


class RemoteFile(Config):
    """A file that can be downloaded."""

    name: FileName
    """Name under which it is kept."""
    url: str
    """Where it is."""
    part: Word
    """Which part of the dataset it holds, as "lidar" or "labels"."""
    num_bytes: int | None = Field(default=None, ge=1)
    """Exact size, where a source states it."""
    checksum: Checksum | None = None
    """Published digest; null where there is no public checksum."""
    unpack: bool = True
    """Whether it is an archive."""
    into: str = ""
    """Folder below the dataset's own into which it is unpacked."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError(f"{self.name}: only http and https can be fetched")
        into = PurePosixPath(self.into)
        if into.is_absolute() or ".." in into.parts:
            raise ValueError(f"{self.name}: `into` leads out of the dataset's folder")
        return self


class LayoutItem(Config):
    """Something that a complete copy holds."""

    pattern: str
    """Glob below the dataset's folder."""
    holds: str
    """What it is, for people."""
    required: bool = True
    """Whether a copy without it is useless."""


class DatasetEntry(Config):
    """An open dataset: what it holds, under which terms, and how one gets it."""

    name: Word
    """As it is called on the command line."""
    title: str
    """As its publisher calls it."""
    publisher: str
    """Who publishes it."""
    home: str
    """Its page."""
    tasks: tuple[Task, ...]
    """What its labels are for."""
    sensors: tuple[Sensor, ...]
    """What recorded it."""
    categories: tuple[str, ...]
    """Names of the labelled categories."""
    size: Size
    """How much there is."""
    splits: tuple[Split, ...]
    """How it is cut."""
    licences: tuple[str, ...]
    """Names in the table of licence terms that bear on it."""
    terms_url: str
    """The publisher's own statement of the terms."""
    terms_note: str = ""
    """What that statement adds to the licences."""
    registration: bool | None = None
    """Whether the publisher wants to know who downloads."""
    instructions: str
    """How a person gets the data."""
    files: tuple[RemoteFile, ...] = ()
    """What can be fetched; empty where a person must download."""
    files_note: str = ""
    """What `files` leaves out."""
    format: str | None = None
    """Format by which it is ingested; null where no reader is there."""
    layout: tuple[LayoutItem, ...]
    """What a copy of it holds."""
    unknown: dict[str, str] = Field(default_factory=dict)
    """Why a fact is null or empty, by its path."""
    sources: tuple[str, ...]
    """Where the facts come from."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        missing = set(self.unanswered()) ^ set(self.unknown)
        if missing:
            raise ValueError(f"null facts and `unknown` differ: {', '.join(sorted(missing))}")
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("two files have one name")
        return self

    def unanswered(self) -> list[str]:
        """Return the paths of facts that are null or empty."""
        found = [f"size.{name}" for name in ("frames", "scenes", "hours", "gigabytes")]
        found = [path for path in found if getattr(self.size, path[5:]) is None]
        found += ["categories"] if not self.categories else []
        return found + [name for name in ("format", "registration") if getattr(self, name) is None]

    @property
    def terms(self) -> MixedTerms:
        """Return what its licences permit together."""
        return mix_terms(self.licences)

    @property
    def fetchable(self) -> bool:
        """Return whether files can be fetched without a person."""
        return bool(self.files)

    def terms_digests(self) -> dict[str, str]:
        """Return the digest of each licence's terms, by its name."""
        return {name: read_terms(name).digest for name in self.licences}
