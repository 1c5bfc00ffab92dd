"""What the KITTI object format has no place for: log, scene, time, pose, tags, tracks.

One JSON object per line in ``admlops_frames.jsonl`` beside ``ImageSets``; other tools pass it over.
"""

import json
from pathlib import Path
from sys import intern
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, ValidationError, field_validator

from admlops.config import Config
from admlops.geometry.pose import is_rotation
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey

FILE_NAME = "admlops_frames.jsonl"


class FrameNote(Config):
    """One line of the file; fields that a later version adds are passed over."""

    model_config = ConfigDict(extra="ignore")

    name: str
    """Folder and frame, for example "training/000042"."""
    log: str
    """The frame's log."""
    scene: str
    """The frame's scene."""
    timestamp_ns: int = Field(ge=-(2**63), lt=2**63)
    """The frame's time."""
    split: str = ""
    """The frame's split; of training frames, ImageSets is stronger."""
    tags: tuple[str, ...] = ()
    """Conditions."""
    global_from_ego: tuple[float, ...] = Field(min_length=12, max_length=12)
    """The first three rows of the pose."""
    track_ids: tuple[str, ...] = ()
    """Track of each box, in the label file's order."""
    velocities_mps: tuple[tuple[float | None, float | None], ...] = ()
    """Velocity of each box, in the label file's order."""

    @field_validator("global_from_ego")
    @classmethod
    def _is_rigid(cls, rows: tuple[float, ...]) -> tuple[float, ...]:
        pose = np.array(rows).reshape(-1, 4)
        if not np.isfinite(pose).all() or not is_rotation(pose[:, :3]):
            raise ValueError("the pose does more than turn and shift")
        return rows

    @classmethod
    def from_frame(cls, frame: Frame, name: str) -> "FrameNote":
        """Return the note of a frame that is written under this name."""
        boxes = frame.boxes or Boxes.empty()
        velocities = [
            (float(vx) if np.isfinite(vx) else None, float(vy) if np.isfinite(vy) else None)
            for vx, vy in boxes.velocity_mps
        ]
        return cls(
            name=name,
            log=frame.key.log,
            scene=frame.key.scene,
            timestamp_ns=frame.key.timestamp_ns,
            split=frame.split,
            tags=frame.tags,
            global_from_ego=tuple(frame.global_from_ego[:3].ravel().tolist()),
            track_ids=tuple(str(track) for track in boxes.track_id),
            velocities_mps=tuple(velocities),
        )

    @property
    def pose(self) -> NDArray[np.float64]:
        """The (4, 4) pose of the vehicle."""
        return np.array([*self.global_from_ego, 0.0, 0.0, 0.0, 1.0]).reshape(4, 4)

    def complete(self, boxes: Boxes, kept: NDArray[np.bool_]) -> Boxes:
        """Return boxes of the label file with tracks and velocities, where they belong to them.

        Args:
            boxes: those that were kept.
            kept: (N,) which boxes of the label file these are.
        """
        if len(self.track_ids) != len(kept) or len(self.velocities_mps) != len(kept):
            return boxes
        velocities = np.array(self.velocities_mps, dtype=np.float64).reshape(-1, 2)
        return boxes.replace(
            track_id=np.array(self.track_ids, dtype=object)[kept], velocity_mps=velocities[kept]
        )

    def to_line(self) -> str:
        """Return the note as one line of JSON."""
        return json.dumps(self.to_json_dict(), separators=(",", ":")) + "\n"


class NoteEntry(NamedTuple):
    """Where a frame's line is in the file, and the key that it gives to the frame."""

    key: FrameKey
    start: int
    length: int


def index_notes(path: Path) -> tuple[dict[str, NoteEntry], list[str]]:
    """Return where each frame's line is, by name, and a description of each line that is bad.

    The notes themselves are not kept, so that memory stays small however many frames there are.
    """
    entries: dict[str, NoteEntry] = {}
    problems = []
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    note = FrameNote.model_validate_json(line)
                except ValidationError as error:
                    reason = error.errors(include_url=False)[0]
                    where = ".".join(map(str, reason["loc"]))
                    problems.append(f"line {number}: {where} {reason['msg']}")
                else:
                    key = FrameKey(intern(note.log), intern(note.scene), note.timestamp_ns)
                    entries[note.name] = NoteEntry(key, start, len(line))
            start += len(line)
    return entries, problems


def read_note(path: Path, entry: NoteEntry) -> FrameNote:
    """Return one line of the file."""
    with path.open("rb") as file:
        file.seek(entry.start)
        return FrameNote.model_validate_json(file.read(entry.length))
