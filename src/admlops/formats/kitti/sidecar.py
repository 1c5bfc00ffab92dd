"""What the KITTI object format has no place for: log, scene, time, pose, tags, tracks.

One JSON object per line in ``admlops_frames.jsonl`` beside ``ImageSets``; other tools pass it over.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from admlops.config import Config
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

FILE_NAME = "admlops_frames.jsonl"


class FrameNote(Config):
    """One line of the file."""

    name: str
    """Folder and frame, for example "training/000042"."""
    log: str
    """The frame's log."""
    scene: str
    """The frame's scene."""
    timestamp_ns: int
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
    num_points: tuple[int, ...] = ()
    """Lidar points in each box, for frames whose sweep is left out."""

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
            num_points=tuple(boxes.num_points.tolist()),
        )

    @property
    def pose(self) -> NDArray[np.float64]:
        """The (4, 4) pose of the vehicle."""
        return np.array([*self.global_from_ego, 0.0, 0.0, 0.0, 1.0]).reshape(4, 4)

    def complete(self, boxes: Boxes) -> Boxes:
        """Return boxes of the label file with tracks and velocities, where they belong to them."""
        if len(self.track_ids) != len(boxes) or len(self.velocities_mps) != len(boxes):
            return boxes
        velocities = np.array(self.velocities_mps, dtype=np.float64).reshape(-1, 2)
        return boxes.replace(
            track_id=np.array(self.track_ids, dtype=object), velocity_mps=velocities
        )

    def to_line(self) -> str:
        """Return the note as one line of JSON."""
        return json.dumps(self.to_json_dict(), separators=(",", ":")) + "\n"


def read_notes(path: Path) -> tuple[dict[str, FrameNote], list[str]]:
    """Return the notes by name, and a description of each line that is not one."""
    notes: dict[str, FrameNote] = {}
    problems = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            values: Any = json.loads(line)
            note = FrameNote.model_validate(values)
        except (ValueError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            problems.append(f"line {number}: {reason}")
            continue
        notes[note.name] = note
    return notes, problems
