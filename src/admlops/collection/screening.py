"""Screening: which frames of a drive are worth keeping, decided while they stream."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.checks.rules import find
from admlops.collection.image_measures import clipped_shares, sharpness
from admlops.config import Config
from admlops.errors import DataError
from admlops.geometry.pose import motion_between
from admlops.likeness.duplicates import DuplicateRule
from admlops.likeness.thumbnails import (
    changed_share,
    cloud_thumbnail,
    decode_gray,
    image_thumbnail,
)
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame

_MAX_STEP_NS = 5_000_000_000
"""After a longer pause the vehicle's speed is not known."""


class ScreeningConfig(Config):
    """What a frame must show to be kept."""

    image_width_px: int = Field(default=640, ge=16)
    """Images are judged at this width at most."""
    min_sharpness: float = Field(default=30.0, ge=0)
    """Variance of the Laplacian of the brightness (0 to 255) of a sharp image; 0 asks nothing."""
    dark_level: int = Field(default=8, ge=0, le=255)
    """Brightness at which a pixel counts as black."""
    bright_level: int = Field(default=250, ge=0, le=255)
    """Brightness at which a pixel counts as white."""
    max_dark_share: float = Field(default=0.8, ge=0, le=1)
    """Share of black pixels."""
    max_bright_share: float = Field(default=0.5, ge=0, le=1)
    """Share of white pixels."""
    min_image_deviation: float = Field(default=2.0, ge=0)
    """Standard deviation of the brightness, below which an image is blank."""
    min_good_image_share: float = Field(default=1.0, gt=0, le=1)
    """Share of a frame's images that must be good; 1 drops it for a single bad one."""
    min_points: int = Field(default=100, ge=0)
    """Points of a sweep, below which it is empty."""
    drop_duplicates: bool = True
    """Whether a frame is dropped that shows what the last kept one shows."""
    duplicates: DuplicateRule = DuplicateRule()
    """What is a duplicate; a frame is held against the last kept one of its log."""
    parked_speed_mps: float = Field(default=0.3, ge=0)
    """Below it the vehicle stands."""
    parked_after_s: float = Field(default=10.0, ge=0)
    """Frames are dropped once the vehicle has been standing for longer; 0 never drops them."""


@dataclass(frozen=True, slots=True)
class _Look:
    """What is remembered of a frame.

    Attributes:
        frame_log: its log.
        timestamp_ns: its time.
        global_from_ego: (4, 4) its pose.
        thumbnails: bits by sensor.
    """

    frame_log: str
    timestamp_ns: int
    global_from_ego: NDArray[np.float64]
    thumbnails: dict[str, NDArray[np.bool_]]


@dataclass
class FrameScreen:
    """Judges the frames of drives in the order of their times.

    Attributes:
        config: what is asked.
        num_seen: frames judged.
        num_kept: frames found worth keeping.
        counts: frames dropped by each rule; a frame counts for every rule that it breaks.
    """

    config: ScreeningConfig
    num_seen: int = 0
    num_kept: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _last: _Look | None = None
    _kept: _Look | None = None
    _standing_since_ns: int = 0

    def kept(
        self, frames: Iterable[Frame], on_dropped: Callable[[Finding], None] | None = None
    ) -> Iterator[Frame]:
        """Yield the frames worth keeping; `on_dropped` is told every reason to drop one."""
        for frame in frames:
            findings = self.judge(frame)
            if not findings:
                yield frame
            elif on_dropped is not None:
                for finding in findings:
                    on_dropped(finding)

    def judge(self, frame: Frame) -> tuple[Finding, ...]:
        """Return the reasons to drop a frame; none if it is to be kept.

        Frames of one log must come in the order of their times.
        """
        findings, thumbnails = self._look_at_sensors(frame)
        look = _Look(frame.key.log, frame.key.timestamp_ns, frame.global_from_ego, thumbnails)
        where = str(frame.key)
        standing_s = self._stand(look)
        if 0 < self.config.parked_after_s < standing_s:
            findings.append(find("SCRN005", where, f"standing for {standing_s:.1f} s"))
        if self.config.drop_duplicates and self._kept is not None:
            likeness = self._likeness(self._kept, look)
            if likeness:
                findings.append(find("SCRN004", where, likeness))
        self.num_seen += 1
        self._last = look
        if not findings:
            self.num_kept += 1
            self._kept = look
        self.counts.update({finding.rule.rule_id for finding in findings})
        return tuple(findings)

    def _look_at_sensors(self, frame: Frame) -> tuple[list[Finding], dict[str, NDArray[np.bool_]]]:
        findings: list[Finding] = []
        thumbnails: dict[str, NDArray[np.bool_]] = {}
        num_bad = 0
        for image in frame.cameras:
            where = f"{frame.key} {image.sensor.name}"
            try:
                gray = decode_gray(image.encoded, self.config.image_width_px)
            except DataError as error:
                return [find("SCRN006", where, str(error))], {}
            fault = judge_image(gray, self.config, where)
            if fault is not None:
                findings.append(fault)
                num_bad += 1
            thumbnails[image.sensor.name] = image_thumbnail(gray)
        num_good = len(frame.cameras) - num_bad
        if num_good >= self.config.min_good_image_share * len(frame.cameras):
            findings = []
        if frame.lidar is not None:
            num_points = len(frame.lidar.points)
            if num_points < self.config.min_points:
                where = f"{frame.key} {frame.lidar.sensor.name}"
                findings.append(find("SCRN003", where, f"{num_points} points"))
            thumbnails[frame.lidar.sensor.name] = cloud_thumbnail(frame.points_in_ego())
        return findings, thumbnails

    def _stand(self, look: _Look) -> float:
        """Return for how many seconds the vehicle has been standing."""
        before = self._last
        span_ns = 0 if before is None else look.timestamp_ns - before.timestamp_ns
        if before is None or before.frame_log != look.frame_log or not 0 < span_ns <= _MAX_STEP_NS:
            self._standing_since_ns = look.timestamp_ns
            return 0.0
        poses = (before.global_from_ego, look.global_from_ego)
        if _are_unknown(*poses):
            self._standing_since_ns = look.timestamp_ns
            return 0.0
        move_m = float(np.linalg.norm(poses[1][:3, 3] - poses[0][:3, 3]))
        if move_m / (span_ns * 1e-9) >= self.config.parked_speed_mps:
            self._standing_since_ns = look.timestamp_ns
        return (look.timestamp_ns - self._standing_since_ns) * 1e-9

    def _likeness(self, kept: _Look, look: _Look) -> str:
        """Return how alike two looks are if one is a duplicate of the other, or ""."""
        if kept.frame_log != look.frame_log or not look.thumbnails:
            return ""
        move_m, turn_rad = motion_between(kept.global_from_ego, look.global_from_ego)
        rule = self.config.duplicates
        if move_m > rule.max_move_m or turn_rad > rule.max_turn_rad:
            return ""
        if kept.thumbnails.keys() != look.thumbnails.keys():
            return ""
        changed = max(
            changed_share(kept.thumbnails[name], bits) for name, bits in look.thumbnails.items()
        )
        has_poses = not _are_unknown(kept.global_from_ego, look.global_from_ego)
        if changed > (rule.max_changed_share_standing if has_poses else rule.max_changed_share):
            return ""
        age_s = (look.timestamp_ns - kept.timestamp_ns) * 1e-9
        return (
            f"{move_m:.2f} m and {age_s:.1f} s after the last kept frame, "
            f"{changed:.1%} of the thumbnails changed"
        )


def _are_unknown(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """Return whether two poses are the identity, which stands for none."""
    return np.array_equal(one, np.eye(4)) and np.array_equal(other, np.eye(4))


def judge_image(gray: NDArray[np.uint8], config: ScreeningConfig, where: str) -> Finding | None:
    """Return what is wrong with an image: blank, wrongly exposed or blurred, in this order.

    Args:
        gray: (H, W) brightness.
        config: what is asked.
        where: names the image in the finding.
    """
    dark, bright = clipped_shares(gray, config.dark_level, config.bright_level)
    if dark > config.max_dark_share or bright > config.max_bright_share:
        return find("SCRN002", where, f"{dark:.0%} of the pixels are black, {bright:.0%} white")
    deviation = float(gray.std())
    if deviation < config.min_image_deviation:
        return find("SCRN003", where, f"a blank image: brightness deviates by {deviation:.1f}")
    variance = sharpness(gray)
    if variance < config.min_sharpness:
        what = f"variance of the Laplacian {variance:.1f}, less than {config.min_sharpness:g}"
        return find("SCRN001", where, what)
    return None
