"""Hidden gold frames: labelled frames of ours among those that a vendor labels."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.errors import DataError
from admlops.files import write_atomically
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

KEY_FILE = "key.json"
_MEAN_NOISE_M, _MEAN_NOISE_RAD = 0.1, 0.05
_KEPT_SHARE = 0.9


class PackedFrame(Config):
    """One frame of a package: what the vendor calls it, and what it is."""

    frame_id: str
    """Its number in the package."""
    alias: tuple[str, str, int]
    """Log, scene and time by which the package names it."""
    log: str
    """Its log in the dataset."""
    scene: str
    """Its scene in the dataset."""
    timestamp_ns: int
    """Its time in the dataset."""
    is_gold: bool = False
    """Whether its labels are known."""

    @property
    def key(self) -> FrameKey:
        """Its key in the dataset."""
        return FrameKey(self.log, self.scene, self.timestamp_ns)

    @property
    def alias_key(self) -> FrameKey:
        """Its key in the package."""
        return FrameKey(*self.alias)


class PackageKey(Config):
    """What a package's frames are; kept here and never sent."""

    package_id: str
    """Digest of all that decides the package."""
    request_id: str
    """The label request that it is made for."""
    dataset: str
    """The dataset version that it is made of; known labels are those of this version."""
    definition: str
    """Name and version of the definition that the labels must meet."""
    frames: tuple[PackedFrame, ...]
    """Its frames, in its order."""

    @property
    def requested(self) -> list[PackedFrame]:
        """The frames whose labels are asked for."""
        return [frame for frame in self.frames if not frame.is_gold]

    def write(self, folder: Path) -> None:
        """Write the key into its folder."""
        write_atomically(folder / KEY_FILE, json.dumps(self.to_json_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the key of a package.

        Raises:
            DataError: there is none, or it is damaged.
        """
        return cls.read_record(folder / KEY_FILE, "package's key")


def number_of_gold_frames(num_requested: int, share: float) -> int:
    """Return how many gold frames make up a share of the package; at least one where any."""
    if share <= 0 or num_requested == 0:
        return 0
    return max(1, math.ceil(num_requested * share / max(1.0 - share, 0.01) - 1e-9))


def choose_gold(candidates: Sequence[FrameKey], count: int, seed: str) -> list[FrameKey]:
    """Return `count` of the candidates, drawn by a seed that the vendor does not know.

    Raises:
        DataError: there are too few.
    """
    if len(candidates) < count:
        raise DataError(
            f"{len(candidates)} labelled frames can be hidden in the package, {count} are needed; "
            "label some first, or set gold_share to 0"
        )
    random = np.random.default_rng(_number(seed))
    drawn = random.choice(len(candidates), size=count, replace=False)
    return [candidates[index] for index in sorted(drawn.tolist())]


def pack_frames(
    requested: Sequence[FrameKey], gold: Sequence[FrameKey], package_id: str
) -> list[PackedFrame]:
    """Return the frames of a package under names that do not tell which are gold.

    Scenes are called by digests and stand in their order; times count from a scene's first frame.
    """
    known = set(gold)
    keys = sorted({*requested, *gold})
    starts: dict[tuple[str, str], int] = {}
    for key in keys:
        starts.setdefault((key.log, key.scene), key.timestamp_ns)
    names = {scene: _digest(f"{package_id} {scene}")[:8] for scene in starts}
    keys.sort(key=lambda key: (names[key.log, key.scene], key.timestamp_ns))
    packed = []
    for number, key in enumerate(keys):
        scene = key.log, key.scene
        alias = (package_id, names[scene], key.timestamp_ns - starts[scene])
        packed.append(
            PackedFrame(
                frame_id=f"{number:06d}",
                alias=alias,
                log=key.log,
                scene=key.scene,
                timestamp_ns=key.timestamp_ns,
                is_gold=key in known,
            )
        )
    return packed


def disguise(known: Boxes, seed: str) -> Boxes:
    """Return known labels as a model might have found them: gold frames must not stand out."""
    random = np.random.default_rng(_number(seed))
    kept = known.select(random.random(len(known)) < _KEPT_SHARE)
    count = len(kept)
    score: NDArray[np.float64] = random.uniform(0.4, 0.95, count).round(3)
    return Boxes.make(
        kept.center_m + random.normal(0, _MEAN_NOISE_M, (count, 3)),
        kept.size_m * random.normal(1, 0.04, (count, 3)).clip(0.8, 1.2),
        np.clip(kept.yaw_rad + random.normal(0, _MEAN_NOISE_RAD, count), -np.pi, np.pi - 1e-6),
        kept.category,
        score=score,
    )


def prelabels_of(
    frame: PackedFrame, predictions: Mapping[FrameKey, Boxes], known: Boxes | None
) -> Boxes | None:
    """Return the boxes that a frame's annotator starts from; None where no frame has any."""
    if not predictions:
        return None
    found = predictions.get(frame.key)
    if found is not None:
        # attributes of automatic boxes are our notes, and no attributes of the definition
        return found.replace(attributes=np.full(len(found), "", dtype=object))
    return disguise(known, str(frame.key)) if frame.is_gold and known is not None else Boxes.empty()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _number(seed: str) -> int:
    return int(_digest(seed)[:16], 16)
