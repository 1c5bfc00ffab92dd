"""Watches a folder: ingests recordings as they are completed, each content exactly once.

A recording's frames become one version of the lake, or nothing of them is seen; then an entry of
the journal is written. A kill between the two is made good by the next run: the lake takes no
frame twice.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from admlops.analysis.coverage import measure_coverage
from admlops.analysis.requirement import Requirement
from admlops.collection.arrivals import Arrival, Arrivals
from admlops.collection.calibration_check import CalibrationConfig
from admlops.collection.clip_store import ClipStore
from admlops.collection.detector import Detect, Detector, DetectorConfig, load_detector
from admlops.collection.drive import Drive, Gates
from admlops.collection.journal import Entry, Journal
from admlops.collection.privacy import FrameBlur, PrivacyConfig
from admlops.collection.screening import ScreeningConfig
from admlops.collection.triggers import TriggerConfig
from admlops.config import Config
from admlops.errors import ConfigError, DataError, ServiceError
from admlops.files import OWN_FOLDER
from admlops.formats.source import ReadOptions
from admlops.lake.store import Dataset
from admlops.recordings.recording import name_below
from admlops.structures.finding import Finding

JOURNAL_FOLDER = "watch"


class WatchConfig(Config):
    """What becomes of recordings that appear in a folder."""

    lake_uri: str = "data/lake"
    """Folder or s3:// URI of the dataset; it is made, or added to."""
    licences: tuple[str, ...] = ()
    """Terms of the recordings."""
    journal: Path | None = None
    """Folder of the journal; .admlops/watch in the watched folder if it is not given."""
    settle_s: float = Field(default=30.0, gt=0)
    """A recording that does not say that it is complete is when nothing changed for so long."""
    poll_s: float = Field(default=5.0, gt=0)
    """Time between looks at the folder."""
    cameras: Literal["all", "front", "none"] = "all"
    """Whose images are read."""
    calibration: CalibrationConfig | None = None
    """How far the calibration of a drive may be off; it is not looked at without."""
    screening: ScreeningConfig | None = ScreeningConfig()
    """What frames must show; null keeps all."""
    triggers: TriggerConfig | None = None
    """Frames of these stretches are ingested; of the whole drives if there are none."""
    detector: DetectorConfig | None = None
    """What triggers ask what a sweep shows: {kind: release, releases_uri} for a published release,
    run in this process, or {kind: server, url} for a Triton server."""
    clips_folder: Path | None = None
    """Folder for clips of these stretches, outside the watched one; none are made without."""
    clip_types: tuple[str, ...] = ()
    """Message types without images, for example can_msgs/msg/Frame, that clips keep although
    images are blurred; those that are read need not be named, and all others are left out."""
    requirement: Requirement | None = None
    """What the dataset must hold, for triggers that ask what is below it."""
    privacy: PrivacyConfig | None = None
    """What is blurred in all images, of frames and clips, before they are written."""
    dataset_file: Path | None = None
    """Where the manifest of the latest version goes, for the steps behind."""


class _StoppedError(Exception):
    """The watch was asked to end."""


class _ChangedError(Exception):
    """A recording changed while it was read."""


class Watch:
    """Watches one folder.

    Attributes:
        root: the folder.
        config: what becomes of recordings.
        stop: set it to end the watch; nothing is left half done.
        journal: what became of recordings.
    """

    def __init__(
        self,
        root: Path,
        config: WatchConfig,
        detect: Detect | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Check all settings before the first recording is opened.

        Args:
            root: the folder.
            config: what becomes of recordings.
            detect: the detector that triggers ask, instead of the one that the config names.
            stop: is set to end the watch.

        Raises:
            ConfigError: a setting is wrong, or asks for what is not given.
            DataError: the journal or the ledger of clips is damaged, or there is no such release.
            ServiceError: the server or the bucket of the detector cannot be reached.
        """
        _check(root, config, detect)
        self.root = root
        self.config = config
        self.stop = stop or threading.Event()
        self.journal = Journal(config.journal or root / OWN_FOLDER / JOURNAL_FOLDER)
        self._open_clips()  # a wrong folder is told now
        self._blur: FrameBlur | None = None
        if config.privacy is not None:
            self._blur = FrameBlur(config.privacy, remembers=config.clips_folder is not None)
        self._detector = None if detect is None else Detector(detect, provenance="given in Python")
        if config.detector is not None:
            self._detector = load_detector(config.detector)
            _require_known(config, self._detector)

    def run(self, *, once: bool, report: Callable[[str], None] = print) -> None:
        """Ingest what is complete, again and again until `stop` is set.

        Args:
            once: look once, and end when all that is complete is dealt with.
            report: is told one line per recording.

        Raises:
            ConfigError: another process watches with the same journal.
            ServiceError: the object store, the detector's server or the file system failed, with
                `once`, when all else is dealt with; otherwise it is tried again.
        """
        arrivals = Arrivals(self.root, self.config.settle_s, looks_once=once)
        with self.journal.locked():
            while not self.stop.is_set():
                try:
                    failures = list(self._look(arrivals, report))
                except _StoppedError:
                    break
                if once and failures:
                    raise failures[0]
                if once:
                    return
                for failure in failures:
                    report(f"tried again in {self.config.poll_s:g} s: {failure}")
                self.stop.wait(self.config.poll_s)
        report("stopped; what was not finished is done by the next watch")

    def _look(self, arrivals: Arrivals, report: Callable[[str], None]) -> Iterator[ServiceError]:
        """Deal with all recordings that are complete, and yield what kept from doing so."""
        for arrival in arrivals.complete():
            self._check_stop()
            path = str(arrival.path.relative_to(self.root))
            if self.journal.knows(path, arrival.signature):
                continue
            try:
                entry = self._deal_with(arrival, path)
            except _ChangedError:
                continue
            except ServiceError as error:
                yield error
                continue
            except OSError as error:
                if arrival.is_unchanged():
                    yield ServiceError(f"{arrival.path}: {error}")
                continue
            self.journal.write(entry)
            report(describe(entry))

    def _deal_with(self, arrival: Arrival, path: str) -> Entry:
        digest = arrival.digest()
        facts = {"digest": digest, "path": path, "signature": arrival.signature}
        known = self.journal.find(digest)
        if known is not None and self._is_settled(known, path):
            return Entry.parse({**facts, "outcome": "repeated", "log": known.log})
        return self._ingest(arrival, facts)

    def _is_settled(self, known: Entry, path: str) -> bool:
        """Return whether a content need not be read again: it is ingested, or refused elsewhere."""
        elsewhere = known.path != path and (self.root / known.path).exists()
        return known.outcome == "ingested" or elsewhere

    def _ingest(self, arrival: Arrival, facts: Mapping[str, object]) -> Entry:
        def check() -> None:
            self._check_stop()

        def check_whole() -> None:
            if not arrival.is_unchanged():
                raise _ChangedError

        name = name_below(arrival.path, self.root)
        dataset = Dataset.create(self.config.lake_uri, licences=self.config.licences)
        gates = self._gates(dataset)
        try:
            drive = Drive(arrival.path, name, gates)
        except (DataError, ConfigError) as error:  # of the recording, or of the mapping beside it
            check_whole()
            found = {"rules": {"REC001": 1}, "findings": (str(error),)}
            return Entry.parse({**facts, **found, "outcome": "refused", "log": name})
        with drive.recording:
            if drive.is_accepted:

                def frames() -> Iterator[object]:
                    yield from drive.frames(check)
                    check_whole()

                added = dataset.append(frames(), whole=True)  # type: ignore[arg-type]
                for key in added.conflicts:
                    what = "the dataset holds other sensor data under this key"
                    drive.log.add("READ015", str(key), what)
                drive.num_refused += len(added.conflicts)
                drive.num_kept -= len(added.conflicts)
        entry = _entry(drive, {**facts, **self._origins()}, dataset.version)
        if self.config.dataset_file is not None and drive.is_accepted:
            provenance = {"step": "collect watch", "source": str(self.root), **self._origins()}
            scores = {"num_added": float(added.num_added), "num_kept": float(entry.num_kept)}
            dataset.manifest(provenance, scores).write(self.config.dataset_file)
        return entry

    def _origins(self) -> dict[str, str]:
        """Return what blurs images and what triggers ask, where there is such."""
        blurred = {} if self._blur is None else {"privacy": self._blur.provenance}
        asked = {} if self._detector is None else {"detector": self._detector.provenance}
        return blurred | asked

    def _open_clips(self) -> ClipStore | None:
        folder, triggers = self.config.clips_folder, self.config.triggers
        if folder is None or triggers is None:
            return None
        return ClipStore(folder, triggers.budget_bytes)

    def _gates(self, dataset: Dataset) -> Gates:
        config = self.config
        gaps = []
        if config.triggers is not None and config.triggers.need_gaps and config.requirement:
            coverage = measure_coverage(dataset, config.requirement)
            gaps = [gap.cell for gap in coverage.gaps]
        return Gates(
            options=ReadOptions(cameras=config.cameras),
            calibration=config.calibration,
            triggers=config.triggers,
            clips=self._open_clips(),
            clip_types=config.clip_types,
            screening=config.screening,
            blur=self._blur,
            gaps=gaps,
            detect=None if self._detector is None else self._detector.detect,
        )

    def _check_stop(self) -> None:
        if self.stop.is_set():
            raise _StoppedError


def describe(entry: Entry) -> str:
    """Return one line about what became of a recording."""
    if entry.outcome == "repeated":
        return f"{entry.path}: the same content as {entry.log}, not ingested again"
    rules = ", ".join(f"{rule_id} {count}" for rule_id, count in sorted(entry.rules.items()))
    because = f" ({rules})" if rules else ""
    if entry.outcome == "refused":
        first = entry.findings[0] if entry.findings else ""
        return f"{entry.path}: refused{because}: {first}"
    return (
        f"{entry.path}: {entry.num_kept} of {entry.num_frames} frames in version {entry.version}, "
        f"{entry.num_outside} outside triggers, {entry.num_dropped} dropped, "
        f"{entry.num_refused} refused{because}"
    )


def _entry(drive: Drive, facts: Mapping[str, object], version: int) -> Entry:
    ordered: list[Finding] = drive.log.ordered()
    return Entry.parse(
        {
            **facts,
            "outcome": "ingested" if drive.is_accepted else "refused",
            "log": drive.recording.name,
            "num_frames": drive.num_frames,
            "num_outside": drive.num_outside,
            "num_dropped": drive.num_dropped,
            "num_refused": drive.num_refused if drive.is_accepted else drive.num_frames,
            "num_kept": drive.num_kept,
            "version": version,
            "clips": drive.clips,
            "rules": dict(sorted(drive.log.counts.items())),
            "findings": tuple(str(finding) for finding in ordered),
        }
    )


def _check(root: Path, config: WatchConfig, detect: Detect | None) -> None:
    if not root.is_dir():
        raise ConfigError(f"{root}: no such folder")
    triggers = config.triggers
    _check_detector(config, detect)
    if triggers is not None and triggers.need_gaps and config.requirement is None:
        raise ConfigError("triggers ask what is below the requirement; give `requirement`")
    if config.clips_folder is not None:
        if triggers is None:
            raise ConfigError("clips_folder: clips are of stretches; give `triggers`")
        if config.clips_folder.resolve().is_relative_to(root.resolve()):
            raise ConfigError(f"clips_folder: must lie outside {root}, or clips would be ingested")


def _check_detector(config: WatchConfig, detect: Detect | None) -> None:
    """Insist on one detector where triggers ask for it, and on none where they do not."""
    is_needed = config.triggers is not None and config.triggers.need_detections
    if config.detector is not None and detect is not None:
        raise ConfigError("detector: another one was passed to Watch as `detect`; give one of them")
    if is_needed and config.detector is None and detect is None:
        raise ConfigError(
            "triggers ask what a detector sees, and none is named; give `detector`, for example "
            "{kind: release, releases_uri: releases} or {kind: server, url: localhost:8001}"
        )
    if config.detector is not None and not is_needed:
        raise ConfigError("detector: no trigger asks what it sees; leave it out")


def _require_known(config: WatchConfig, detector: Detector) -> None:
    """Insist that the detector finds what triggers ask for."""
    asked = frozenset() if config.triggers is None else config.triggers.categories
    unknown = sorted(asked.difference(detector.categories))
    if unknown:
        raise ConfigError(
            f"triggers ask for {', '.join(unknown)}, which {detector.provenance} never finds; "
            f"it finds {', '.join(detector.categories)}"
        )
