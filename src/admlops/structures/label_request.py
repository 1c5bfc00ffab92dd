"""Which frames are to be labelled next, and why."""

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import Field

from admlops.config import Config
from admlops.files import write_atomically
from admlops.structures.frame import FrameKey

REQUEST_FILE = "request.json"


class RequestedFrame(Config):
    """One frame to label."""

    log: str
    """The frame's log."""
    scene: str
    """The frame's scene."""
    timestamp_ns: int
    """The frame's time."""
    reason: str = ""
    """Why it was chosen, for the annotator and the report."""
    score: float = 0.0
    """How much it is worth, by the measure that chose it."""
    frame_id: str = ""
    """The name in the source format."""
    signals: dict[str, float] = Field(default_factory=dict)
    """What the score is made of: each signal from 0 to 1, before weighting."""
    expected_boxes: float = 0.0
    """Boxes that an annotator will probably draw."""

    @property
    def key(self) -> FrameKey:
        """The frame's key."""
        return FrameKey(self.log, self.scene, self.timestamp_ns)


class LabelCost(Config):
    """What labelling costs, in both units."""

    frames: float = Field(default=0.0, ge=0)
    """Frames to look at."""
    boxes: float = Field(default=0.0, ge=0)
    """Boxes to draw."""


class LabelRequest(Config):
    """Frames to label, best first; written as ``request.json`` in the request's folder."""

    dataset: str
    """Reference of the dataset version that holds the frames."""
    frames: tuple[RequestedFrame, ...]
    """The frames, each once."""
    budget: dict[str, float] = Field(default_factory=dict)
    """Ledger of the label budget, figures by name."""
    cost: LabelCost = LabelCost()
    """What labelling is expected to cost."""
    round_name: str = ""
    """The round of the loop that asks."""
    num_candidates: int = 0
    """Unlabelled frames among which these were picked."""

    @property
    def request_id(self) -> str:
        """A digest of the round and the frames: to ask twice for the same is one request."""
        names = [self.round_name, *(str(frame.key) for frame in self.frames)]
        return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]

    @property
    def keys(self) -> list[FrameKey]:
        """The keys of the frames, best first."""
        return [frame.key for frame in self.frames]

    def write(self, folder: Path) -> None:
        """Write the request into its folder."""
        content = json.dumps(self.to_json_dict(), indent=2) + "\n"
        write_atomically(folder / REQUEST_FILE, content)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a request from its folder, or from the JSON file itself.

        Raises:
            DataError: there is no request, or it is damaged.
        """
        return cls.read_record(path / REQUEST_FILE if path.is_dir() else path, "label request")
