"""What a dataset's versions hold, told apart by content and not by layout or time."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from admlops.structures.frame import FrameKey


class FrameDigests(NamedTuple):
    """What was seen, what else describes it, and what was labelled, as SHA-256."""

    sensor: str
    content: str
    label: str
    label_2d: str = ""

    @property
    def labels(self) -> tuple[str, str]:
        """What was labelled, in space and in images."""
        return self.label, self.label_2d


@dataclass(frozen=True, slots=True)
class DatasetDiff:
    """What it takes to get from one version to another.

    Attributes:
        added: frames that only the later version holds.
        removed: frames that only the earlier version holds.
        relabelled: frames of both whose labels or split differ.
        changed: frames of both whose sensor data, calibration, pose or tags differ.
    """

    added: list[FrameKey]
    removed: list[FrameKey]
    relabelled: list[FrameKey]
    changed: list[FrameKey]


@dataclass(frozen=True, slots=True)
class AppendReport:
    """What an append did.

    Attributes:
        num_added: frames that are new in the dataset.
        num_present: frames that were there already, with the same sensor data.
        version: the dataset's version afterwards.
        conflicts: keys that were there already with other sensor data; not added.
    """

    num_added: int
    num_present: int
    version: int
    conflicts: tuple[FrameKey, ...] = ()


def diff_digests(
    earlier: Mapping[FrameKey, FrameDigests], later: Mapping[FrameKey, FrameDigests]
) -> DatasetDiff:
    """Return the difference of two versions, keys in order."""
    both = sorted(earlier.keys() & later.keys())
    return DatasetDiff(
        added=sorted(later.keys() - earlier.keys()),
        removed=sorted(earlier.keys() - later.keys()),
        relabelled=[key for key in both if earlier[key].labels != later[key].labels],
        changed=[key for key in both if earlier[key].content != later[key].content],
    )


def digest_of(frames: Mapping[FrameKey, FrameDigests]) -> str:
    """Return one SHA-256 over all frames, whatever their order in the store."""
    whole = hashlib.sha256()
    for key in sorted(frames):
        digests = frames[key]
        name = f"{key.log}\0{key.scene}\0{key.timestamp_ns}"
        whole.update("\0".join((name, digests.content, *digests.labels)).encode() + b"\n")
    return whole.hexdigest()
