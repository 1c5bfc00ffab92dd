"""One recorded drive on its way into the lake: quality, triggers, screening, blurring."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from admlops.analysis.requirement import RequirementCell
from admlops.checks.findings import FindingLog
from admlops.collection.calibration_check import CalibrationCheck, CalibrationConfig
from admlops.collection.clip_blur import MessageBlur
from admlops.collection.clip_store import ClipStore
from admlops.collection.clips import ClipRecorder
from admlops.collection.detector import Detect
from admlops.collection.following import Look, Surroundings, TriggerFollower, find_windows
from admlops.collection.privacy import FrameBlur
from admlops.collection.screening import FrameScreen, ScreeningConfig
from admlops.collection.triggers import TriggerConfig, Window
from admlops.errors import DataError
from admlops.formats.source import ReadOptions
from admlops.geometry.pose import transform_cloud
from admlops.recordings.events import LidarEvent
from admlops.recordings.frames import FrameBuilder
from admlops.recordings.recording import Recording, open_recording
from admlops.recordings.source import examine, load_mapping
from admlops.recordings.stream import EventStream
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame


@dataclass(frozen=True)
class Gates:
    """What a drive goes through; what is None is left out.

    Attributes:
        options: whose images are read.
        calibration: how far it may be off.
        triggers: what is wanted.
        clips: where clips of it go.
        clip_types: message types that clips keep although images are blurred.
        screening: what frames must show.
        blur: what is blurred.
        gaps: cells of the requirement that the dataset does not fill.
        detect: the detector that triggers ask.
    """

    options: ReadOptions = field(default_factory=ReadOptions)
    calibration: CalibrationConfig | None = None
    triggers: TriggerConfig | None = None
    clips: ClipStore | None = None
    clip_types: tuple[str, ...] = ()
    screening: ScreeningConfig | None = None
    blur: FrameBlur | None = None
    gaps: Sequence[RequirementCell] = ()
    detect: Detect | None = None


class Drive:
    """A recording whose frames are read once, in order, through all gates.

    Attributes:
        recording: the recording.
        is_accepted: whether its quality and calibration suffice.
        num_frames: frames that can be made of it.
        num_outside: frames that no trigger asked for.
        num_dropped: frames that screening dropped.
        num_refused: frames that could not be read or blurred.
        num_kept: frames that went through.
        clips: files of its clips.
        log: all findings.
    """

    def __init__(self, path: Path, name: str, gates: Gates) -> None:
        """Examine a recording.

        Raises:
            DataError: it cannot be opened, or holds no message that can be read.
            ConfigError: the mapping beside it is wrong.
        """
        self._gates = gates
        self.num_outside = self.num_dropped = self.num_refused = self.num_kept = 0
        self.clips: tuple[str, ...] = ()
        self.log = FindingLog()
        mapping = load_mapping(path)
        self.recording: Recording = open_recording(path)
        self.recording.name = name
        self._builder: FrameBuilder
        self._builder, quality = examine(self.recording, mapping, gates.options)
        for finding in quality.findings:
            self._note(finding)
        self.num_frames = len(self._builder.plan)
        self.is_accepted = quality.is_accepted or mapping.accept_poor
        if self.is_accepted and gates.calibration is not None:
            self.is_accepted = self._is_calibrated(gates.calibration)

    def _is_calibrated(self, config: CalibrationConfig) -> bool:
        """Return whether frames from all over the drive fit its calibration."""
        check = CalibrationCheck(config)
        count = min(config.num_frames, self.num_frames)
        for number in np.linspace(0, self.num_frames - 1, count).round().astype(int).tolist():
            frame = self._builder.build(number).frame
            if frame is not None:
                check.add(frame)
        findings = check.judge(self.recording.name)
        for finding in findings:
            self._note(finding)
        return all(finding.rule.severity != "error" for finding in findings)

    def frames(self, check: Callable[[], None]) -> Iterator[Frame]:
        """Yield the frames that go through all gates; may be called once.

        Args:
            check: is called before every frame and at the end; what it raises ends the drive.
        """
        screen = None
        if self._gates.screening is not None:
            screen = FrameScreen(self._gates.screening)
        for frame in self._wanted(check):
            findings = () if screen is None else screen.judge(frame)
            for finding in findings:
                self._note(finding)
            if findings:
                self.num_dropped += 1
                continue
            blurred = frame if self._gates.blur is None else self._gates.blur.apply(frame)
            if isinstance(blurred, Finding):
                self._note(blurred)
                self.num_refused += 1
                continue
            self.num_kept += 1
            yield blurred
        check()

    def _wanted(self, check: Callable[[], None]) -> Iterator[Frame]:
        """Yield the frames in windows of triggers, with tags that name these; all without any."""
        windows = self._windows(check)
        for number, time_ns in enumerate(self._builder.plan.times_ns.tolist()):
            check()
            reasons = [window.fired for window in windows or () if window.holds(time_ns)]
            if windows is not None and not reasons:
                self.num_outside += 1
                continue
            result = self._builder.build(number)
            for finding in result.findings:
                self._note(finding)
            if result.frame is None:
                self.num_refused += 1
                continue
            names = {f"trigger:{name}" for fired in reasons for name in fired}
            tags = tuple(sorted({*result.frame.tags, *names}))
            yield dataclasses.replace(result.frame, tags=tags)

    def _windows(self, check: Callable[[], None]) -> list[Window] | None:
        gates, config = self._gates, self._builder.index.config
        if gates.triggers is None:
            return None
        surroundings = Surroundings(self._builder.tags, gates.gaps, self._look(gates.triggers))
        main_lidar = config.lidars[0].sensor if config.lidars else ""
        follower = TriggerFollower(gates.triggers, main_lidar, surroundings)
        events = EventStream(self.recording, config)
        if gates.clips is None:
            return find_windows(events, follower, check)
        blur = None if gates.blur is None else MessageBlur(gates.blur, config, gates.clip_types)
        recorder = ClipRecorder(events, follower, gates.clips, blur, self._clock_shift_ns())
        self.clips = tuple(clip.file for clip in recorder.run(check))
        self.log.merge(gates.clips.log)
        self.log.merge(recorder.log)
        return recorder.windows

    def _clock_shift_ns(self) -> int:
        """Return by how much the recorder's clock is ahead of the sensors' where it is another."""
        index = self._builder.index
        if not self.num_frames:
            return 0
        main = index.sensors[index.config.lidars[0].sensor]
        ahead_ns = int(np.median(main.log_time_ns - main.stamp_ns))
        return ahead_ns if abs(ahead_ns) > index.config.limits.max_latency_s * 1e9 else 0

    def _look(self, triggers: TriggerConfig) -> Look | None:
        """Return what asks the detector about the sweeps that become frames, as these hold them."""
        detect = self._gates.detect
        if detect is None or not triggers.need_detections:
            return None
        numbers = self._builder.numbers_by_place()

        def look(event: LidarEvent) -> Boxes | None:
            number = numbers.get(event.place)
            if number is None:
                return None
            try:
                sweep = self._builder.sweep(number)
                return detect(transform_cloud(sweep.sensor.ego_from_sensor, sweep.points))
            except DataError as error:
                self.log.add("TRIG003", f"{self.recording.name} at {event.stamp_ns} ns", str(error))
                return None

        return look

    def _note(self, finding: Finding) -> None:
        self.log.add(finding.rule.rule_id, finding.where, finding.what)
