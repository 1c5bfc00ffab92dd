"""Which frames are to be labelled next, and why."""

import json
from pathlib import Path
from typing import Self

from pydantic import Field

from admlops.config import Config
from admlops.errors import ConfigError, DataError
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

    @property
    def key(self) -> FrameKey:
        """The frame's key."""
        return FrameKey(self.log, self.scene, self.timestamp_ns)


class LabelRequest(Config):
    """Frames to label, best first; written as ``request.json`` in the request's folder."""

    dataset: str
    """Reference of the dataset version that holds the frames."""
    frames: tuple[RequestedFrame, ...]
    """The frames, each once."""
    budget: dict[str, float] = Field(default_factory=dict)
    """Ledger of the label budget, figures by name."""

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
        file = path / REQUEST_FILE if path.is_dir() else path
        try:
            return cls.parse(json.loads(file.read_bytes()), where=str(file))
        except OSError as error:
            raise DataError(f"{file}: label request cannot be read ({error.strerror})") from error
        except (ValueError, ConfigError) as error:
            raise DataError(f"{file}: not a label request: {error}") from error
