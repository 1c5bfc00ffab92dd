"""Recordings as a source of frames, as every format offers it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.source import ReadOptions, ReadResult
from admlops.recordings.config import MAPPING_FILE, RecordingConfig
from admlops.recordings.frames import FrameBuilder, plan_frames
from admlops.recordings.index import index_recording
from admlops.recordings.quality import RecordingQuality, measure_quality
from admlops.recordings.recording import (
    Recording,
    find_recordings,
    name_below,
    open_recording,
)
from admlops.recordings.rig import build_rig
from admlops.recordings.stream import complete, survey
from admlops.structures.finding import Finding


@dataclass(frozen=True, slots=True)
class _Log:
    """One recording that can be read."""

    builder: FrameBuilder
    quality: RecordingQuality


def load_mapping(root: Path) -> RecordingConfig:
    """Return the mapping in or beside a recording; the default where there is no file.

    Raises:
        ConfigError: the file holds a wrong field.
    """
    path = find_mapping(root)
    return RecordingConfig() if path is None else RecordingConfig.load(path)


def find_mapping(root: Path) -> Path | None:
    """Return the mapping's file in or beside a recording, if there is one."""
    paths = (folder / MAPPING_FILE for folder in (root, root.parent))
    return next((path for path in paths if path.is_file()), None)


def examine(
    recording: Recording, config: RecordingConfig, options: ReadOptions | None = None
) -> tuple[FrameBuilder, RecordingQuality]:
    """Read a recording; return what makes its frames, and how good it is.

    Args:
        recording: is read twice, once to count and once to index.
        config: the mapping; what it leaves open is filled in.
        options: whose images are read.

    Raises:
        DataError: it holds no message that can be read.
    """
    contents = survey(recording)
    config = complete(config, contents)
    if options is not None and options.cameras != "all":
        config = config.replace(cameras=config.cameras[: options.cameras == "front"])
    index = index_recording(recording, config, contents)
    rig = build_rig(index, recording.name)
    plan = plan_frames(index, rig)
    quality = measure_quality(index, recording.name, rig, plan)
    return FrameBuilder(recording, index, rig, plan), quality


class RecordingSource:
    """The frames of all recordings at or below a path; one that is refused gives none.

    Attributes:
        root: the file or folder.
        findings: what is wrong with the recordings as wholes.
        num_refused: frames of the refused ones; at least one each.
        qualities: of every recording that could be opened, in order.
        unreadable: why others could not; these findings are among `findings`.
    """

    def __init__(
        self, root: Path, config: RecordingConfig, options: ReadOptions | None = None
    ) -> None:
        """Examine the recordings; this reads them once.

        Raises:
            DataError: there is none.
        """
        self.root = root
        self.num_refused = 0
        self.qualities: list[RecordingQuality] = []
        self.unreadable: list[Finding] = []
        self._logs: list[_Log] = []
        self._last_log = 0
        findings: list[Finding] = []
        paths = find_recordings(root)
        if not paths:
            raise DataError(f"{root}: holds no recording")
        names: set[str] = set()
        for path in paths:
            findings += self._add(path, config, options, names)
        self.findings = tuple(findings)
        lengths = [len(log.builder.plan) for log in self._logs]
        self._ends = np.cumsum(lengths, dtype=np.int64)

    def _add(
        self, path: Path, config: RecordingConfig, options: ReadOptions | None, names: set[str]
    ) -> tuple[Finding, ...]:
        try:
            recording = open_recording(path)
            if recording.name in names:
                recording.name = name_below(path, self.root)
            names.add(recording.name)
            with recording:
                builder, quality = examine(recording, config, options)
        except DataError as error:
            self.num_refused += 1
            self.unreadable.append(find("REC001", str(path), _reason(error, path)))
            return (self.unreadable[-1],)
        self.qualities.append(quality)
        if quality.is_accepted or config.accept_poor:
            self._logs.append(_Log(builder, quality))
        else:
            self.num_refused += max(1, len(builder.plan))
        return quality.findings

    def __len__(self) -> int:
        """Return how many frames can be read."""
        return int(self._ends[-1]) if len(self._ends) else 0

    @property
    def pose_sources(self) -> tuple[str, ...]:
        """What the poses of the recordings that are read are from, sorted; "none" is without."""
        sources = {log.quality.pose_source or "none" for log in self._logs}
        return tuple(sorted(sources))

    def close(self) -> None:
        """Close the files that are open; reading opens them again."""
        for log in self._logs:
            log.builder.recording.close()

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        if not 0 <= index < len(self):
            raise IndexError(f"frame {index} of {len(self)}")
        log = int(np.searchsorted(self._ends, index, side="right"))
        if log != self._last_log:
            self._logs[self._last_log].builder.recording.close()
            self._last_log = log
        first = int(self._ends[log - 1]) if log else 0
        return self._logs[log].builder.build(index - first)


def _reason(error: DataError, path: Path) -> str:
    """Return what an error says without the rule and the path, which are told beside it."""
    return str(error).removeprefix("REC001 ").removeprefix(f"{path}: ")


def looks_like(root: Path) -> bool:
    """Return whether a path is a recording, or a folder with one at most two folders deep."""
    return root.exists() and bool(find_recordings(root, max_depth=2))


def open_folder(root: Path, options: ReadOptions) -> RecordingSource:
    """Return the frames of the recordings at or below a path.

    Args:
        root: a file or folder; `MAPPING_FILE` may lie in it or beside it.
        options: `cameras` is honoured; recordings have no labels.

    Raises:
        ConfigError: the mapping is wrong.
        DataError: there is no recording.
    """
    return RecordingSource(root, load_mapping(root), options)
