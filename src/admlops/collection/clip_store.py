"""A folder of clips within a storage budget, and its ledger."""

import json
import re
from pathlib import Path

from pydantic import Field

from admlops.checks.findings import FindingLog
from admlops.collection.triggers import Rank, choose_within
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import write_atomically

LEDGER_FILE = "clips.json"

_CLIP_NAME = re.compile(r"\.?.+-\d+\.mcap")
"""A clip, or one that was being written."""


class Clip(Config):
    """One stretch that was kept."""

    file: str
    """Name of its file."""
    digest: str
    """SHA-256 of it."""
    log: str
    """The recording that it is from."""
    start_ns: int
    """Its begin, as asked for."""
    end_ns: int
    """Its end."""
    value: float
    """The greatest value of its triggers."""
    fired: dict[str, int]
    """At how many observations each trigger held."""
    num_bytes: int = Field(ge=0)
    """Size of the file."""
    is_cut: bool = False
    """Whether the buffer was too small for its begin."""
    privacy: str = ""
    """What was blurred in its images, and by which detector; empty where they are as recorded."""


class Ledger(Config):
    """What a folder of clips holds, and what went."""

    clips: tuple[Clip, ...] = ()
    """The clips, by log and start."""
    dropped: tuple[Clip, ...] = ()
    """Clips for which there was no room."""


class ClipStore:
    """A folder of clips within a budget; it is whole after a kill at any moment.

    The ledger names what counts. A file appears before it is in the ledger and goes after it was
    taken out, so that files that it does not name are left-overs; they go when it is opened.

    Attributes:
        folder: where the clips are.
        ledger: what it holds.
        log: which clips went, and which were cut (TRIG001, TRIG002).
    """

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        """Open a folder, or make it.

        Raises:
            ConfigError: it holds recordings and no ledger, so that they are no clips.
            DataError: its ledger cannot be read.
        """
        self.folder = folder
        self.log = FindingLog()
        self._budget_bytes = budget_bytes
        path = folder / LEDGER_FILE
        folder.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self._start(path)
        try:
            self.ledger = Ledger.parse(json.loads(path.read_bytes()))
        except (ValueError, ConfigError) as error:
            raise DataError(f"{path}: is damaged ({error})") from error
        self._remove_unknown()

    def _start(self, path: Path) -> None:
        """Write an empty ledger, for what it does not name is removed from then on."""
        others = sorted(file.name for file in self.folder.glob("*.mcap"))
        if others:
            raise ConfigError(
                f"clips_folder: {self.folder} holds {others[0]} and no {LEDGER_FILE}; name a "
                "folder for clips alone"
            )
        write_atomically(path, json.dumps(Ledger().to_json_dict(), indent=2) + "\n")

    def add(self, clip: Clip) -> None:
        """Take in a clip whose file is in the folder; the least valuable go if there is no room.

        A clip that was taken in, or went, before is decided about anew.
        """
        if clip.is_cut:
            what = "the buffer was too small for its begin"
            self.log.add("TRIG002", f"{clip.log} at {clip.start_ns} ns", what)
        dropped = [item for item in self.ledger.dropped if item.file != clip.file]
        others = [item for item in self.ledger.clips if item.file != clip.file]
        clips = sorted((*others, clip), key=lambda item: (item.log, item.start_ns))
        ranked = [(Rank(c.value, -c.start_ns, c.log), c.num_bytes) for c in clips]
        keep = choose_within(ranked, self._budget_bytes)
        gone = [c for c, is_kept in zip(clips, keep, strict=True) if not is_kept]
        for item in gone:
            what = f"{item.num_bytes} bytes of value {item.value:g} found no room"
            self.log.add("TRIG001", f"{item.log} at {item.start_ns} ns", what)
        kept = [c for c, is_kept in zip(clips, keep, strict=True) if is_kept]
        self.ledger = Ledger(clips=tuple(kept), dropped=(*dropped, *gone))
        text = json.dumps(self.ledger.to_json_dict(), indent=2)
        write_atomically(self.folder / LEDGER_FILE, text + "\n")
        for item in gone:
            (self.folder / item.file).unlink(missing_ok=True)

    def _remove_unknown(self) -> None:
        known = {clip.file for clip in self.ledger.clips}
        for file in self.folder.iterdir():
            if _CLIP_NAME.fullmatch(file.name) and file.name not in known:
                file.unlink(missing_ok=True)
