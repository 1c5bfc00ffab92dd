"""Measures how good a recording is, sensor by sensor, and whether it is accepted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.recordings.config import CameraTopic, LidarTopic, QualityLimits
from admlops.recordings.decoding import COMPRESSED_IMAGE, IMAGE, POINT_CLOUD
from admlops.recordings.frames import FramePlan
from admlops.recordings.index import RecordingIndex, SensorIndex
from admlops.recordings.rig import Rig
from admlops.recordings.stream import sensors_by_topic
from admlops.recordings.synchronization import NO_PARTNER, match_nearest
from admlops.structures.finding import Finding

NUM_PIECES = 120
_MISSING_FROM = 1.5
"""A period so many times the usual one has messages missing in it."""


@dataclass(frozen=True, slots=True)
class SensorQuality:
    """What was measured of one sensor.

    Attributes:
        sensor: our name.
        topic: where its messages are.
        num_messages: how many there are.
        rate_hz: messages per second over the recording; it may begin and end `max_gap_s` in all
            later and earlier than others.
        expected_hz: the rate that is meant, or one over the median period.
        num_dropped: messages missing between others.
        drop_share: of all that should be there.
        jitter_s: 99 % of the periods without drops deviate less from the median one.
        longest_gap_s: longest time without a message.
        gap_at_s: when it began, after the recording's start.
        num_backward: stamps that lie before that of the message before.
        num_forward: stamps that ran ahead of the log time.
        worst_jump_s: the largest of these jumps, with its sign; 0 without.
        latency_s: median of log time less stamp.
        latency_spread_s: 99 % of the latencies lie nearer to it.
        num_out_of_order: messages written behind later ones.
        num_empty: messages without payload, or fixes without a place.
        sync_share: share of the main lidar's sweeps with a partner; NaN for that lidar.
        sync_residual_s: median distance of partners.
        sync_worst_s: 99 % of the partners are nearer.
        activity: share of time covered by messages in each of `NUM_PIECES` pieces of the log.
    """

    sensor: str
    topic: str
    num_messages: int
    rate_hz: float
    expected_hz: float
    num_dropped: int
    drop_share: float
    jitter_s: float
    longest_gap_s: float
    gap_at_s: float
    num_backward: int
    num_forward: int
    worst_jump_s: float
    latency_s: float
    latency_spread_s: float
    num_out_of_order: int
    num_empty: int
    sync_share: float
    sync_residual_s: float
    sync_worst_s: float
    activity: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RecordingQuality:
    """What was measured of a recording.

    Attributes:
        name: of its log.
        start_ns: earliest log time.
        duration_s: to the latest.
        num_messages: of all topics, mapped or not.
        num_frames: frames that can be made of it.
        num_trimmed: sweeps at its ends for which there is no pose.
        sensors: every mapped one with messages.
        unmapped: number of messages by "topic type" that no sensor takes.
        findings: of files, messages, sensors, calibration and pose.
        pose_source: what the vehicle's pose is from, see `vehicle.VehicleWay`.
        num_unposed: frames in a gap of the poses, which are refused.
    """

    name: str
    start_ns: int
    duration_s: float
    num_messages: int
    num_frames: int
    num_trimmed: int
    sensors: tuple[SensorQuality, ...]
    unmapped: dict[str, int]
    findings: tuple[Finding, ...]
    pose_source: str = ""
    num_unposed: int = 0

    @property
    def is_accepted(self) -> bool:
        """Whether no rule of severity "error" is broken."""
        return not any(finding.rule.severity == "error" for finding in self.findings)

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain JSON types; what was not measured is null."""
        sensors = [
            {name: _plain(value) for name, value in asdict(item).items()} for item in self.sensors
        ]
        return {
            "name": self.name,
            "is_accepted": self.is_accepted,
            "start_ns": self.start_ns,
            "duration_s": round(self.duration_s, 9),
            "num_messages": self.num_messages,
            "num_frames": self.num_frames,
            "num_trimmed": self.num_trimmed,
            "num_unposed": self.num_unposed,
            "pose_source": self.pose_source,
            "sensors": sensors,
            "unmapped": self.unmapped,
            "findings": [finding.to_json_dict() for finding in self.findings],
        }


def measure_quality(
    index: RecordingIndex, name: str, rig: Rig, plan: FramePlan
) -> RecordingQuality:
    """Return the measurements and what they break.

    Args:
        index: of the recording.
        name: of its log.
        rig: its sensors on the vehicle.
        plan: its frames.
    """
    logs = [item.log_time_ns for item in index.sensors.values() if len(item)]
    start_ns = min((int(times.min()) for times in logs), default=0)
    end_ns = max((int(times.max()) for times in logs), default=0)
    duration_s = (end_ns - start_ns) * 1e-9
    meant = {item.sensor: item.rate_hz for item in index.config.sensors}
    sensors = tuple(
        _measure(index, sensor, (start_ns, duration_s), meant.get(sensor, 0.0))
        for sensor in index.sensors
    )
    mapped = sensors_by_topic(index.config)
    unmapped = {
        f"{topic.name} {topic.type_name}": count
        for topic, count in index.contents.counts.items()
        if topic.name not in mapped
    }
    findings = [*index.findings, *_absent(index, name)]
    for quality in sensors:
        findings += _judge(quality, index, name)
    return RecordingQuality(
        name=name,
        start_ns=start_ns,
        duration_s=duration_s,
        num_messages=index.contents.num_messages,
        num_frames=len(plan),
        num_trimmed=plan.num_trimmed,
        sensors=sensors,
        unmapped=unmapped,
        findings=(*findings, *rig.findings),
        pose_source=rig.pose_source,
        num_unposed=plan.num_unposed,
    )


def _measure(
    index: RecordingIndex, name: str, span: tuple[int, float], meant_hz: float
) -> SensorQuality:
    sensor = index.sensors[name]
    start_ns, duration_s = span
    steps = _Steps.of(sensor, meant_hz, index.config.limits)
    latency_s = (sensor.log_time_ns - sensor.stamp_ns) * 1e-9
    middle_s = float(np.median(latency_s))
    period_s = steps.period_s
    own_s = float(steps.gap_s.sum()) + float(np.nan_to_num(period_s))
    whole_s = max(duration_s - index.config.limits.max_gap_s, own_s)
    gap = int(np.argmax(steps.gap_s)) if len(steps.gap_s) else -1
    share, residual_s, worst_s = _synchrony(index, name)
    return SensorQuality(
        sensor=name,
        topic=sensor.topic.name,
        num_messages=len(sensor),
        rate_hz=len(sensor) / whole_s if whole_s > 0 else 0.0,
        expected_hz=1.0 / period_s if np.isfinite(period_s) else meant_hz,
        num_dropped=steps.num_dropped,
        drop_share=steps.num_dropped / (steps.num_dropped + len(sensor)),
        jitter_s=steps.jitter_s,
        longest_gap_s=float(steps.gap_s[gap]) if gap >= 0 else 0.0,
        gap_at_s=float((sensor.log_time_ns[gap] - start_ns) * 1e-9) if gap >= 0 else 0.0,
        num_backward=int(steps.is_backward.sum()),
        num_forward=int(steps.is_forward.sum()),
        worst_jump_s=steps.worst_jump_s,
        latency_s=middle_s,
        latency_spread_s=float(np.quantile(np.abs(latency_s - middle_s), 0.99)),
        num_out_of_order=index.out_of_order.get(sensor.topic.name, 0),
        num_empty=int(sensor.is_empty.sum()),
        sync_share=share,
        sync_residual_s=residual_s,
        sync_worst_s=worst_s,
        activity=_activity(sensor, span, period_s),
    )


def _activity(sensor: SensorIndex, span: tuple[int, float], period_s: float) -> tuple[float, ...]:
    """Return by pieces of the log the share of time that is covered by messages."""
    start_ns, duration_s = span
    if duration_s <= 0 or not np.isfinite(period_s):
        return ()
    begin_s = np.sort(sensor.log_time_ns - start_ns) * 1e-9
    to_next_s = np.append(np.diff(begin_s), period_s)
    active_s = np.where(to_next_s > _MISSING_FROM * period_s, period_s, to_next_s)
    times_s = np.column_stack([begin_s, begin_s + active_s]).reshape(-1)
    total_s = np.column_stack([np.cumsum(active_s) - active_s, np.cumsum(active_s)]).reshape(-1)
    edges_s = np.linspace(0.0, duration_s, NUM_PIECES + 1)
    share = np.diff(np.interp(edges_s, times_s, total_s)) / (duration_s / NUM_PIECES)
    return tuple(round(float(value), 3) for value in np.clip(share, 0.0, 1.0))


@dataclass(frozen=True, slots=True)
class _Steps:
    """What happens from one message of a sensor to the next.

    Attributes:
        period_s: the meant one, or the median; NaN where nothing tells it.
        gap_s: (N - 1,) time from each message to the next, by the log where the clock jumps.
        is_backward: (N - 1,) whether the stamp goes back.
        is_forward: (N - 1,) whether the stamp runs ahead of the log time.
        worst_jump_s: the largest of both.
    """

    period_s: float
    gap_s: NDArray[np.float64]
    is_backward: NDArray[np.bool_]
    is_forward: NDArray[np.bool_]
    worst_jump_s: float

    @classmethod
    def of(cls, sensor: SensorIndex, meant_hz: float, limits: QualityLimits) -> "_Steps":
        stamp_s = np.diff(sensor.stamp_ns) * 1e-9
        log_s = np.diff(sensor.log_time_ns) * 1e-9
        usual_s = float(np.median(stamp_s)) if len(stamp_s) else np.nan
        period_s = 1.0 / meant_hz if meant_hz else usual_s if usual_s > 0 else np.nan
        ahead_s = stamp_s - log_s
        threshold_s = max(limits.max_clock_jump_s, _MISSING_FROM * np.nan_to_num(period_s))
        is_backward, is_forward = stamp_s < 0, ahead_s > threshold_s
        jumps_s = np.where(is_backward, stamp_s, np.where(is_forward, ahead_s, 0.0))
        worst_s = float(jumps_s[np.argmax(np.abs(jumps_s))]) if len(jumps_s) else 0.0
        gap_s = np.where(is_backward | is_forward, np.maximum(log_s, 0.0), stamp_s)
        return cls(period_s, gap_s, is_backward, is_forward, worst_s)

    @property
    def num_dropped(self) -> int:
        if not np.isfinite(self.period_s):
            return 0
        missing = np.rint(self.gap_s / self.period_s) - 1
        return int(missing[self.gap_s > _MISSING_FROM * self.period_s].sum())

    @property
    def jitter_s(self) -> float:
        if not np.isfinite(self.period_s):
            return 0.0
        usual = self.gap_s[self.gap_s <= _MISSING_FROM * self.period_s]
        return float(np.quantile(np.abs(usual - np.median(usual)), 0.99)) if len(usual) else 0.0


def _synchrony(index: RecordingIndex, name: str) -> tuple[float, float, float]:
    """Return the share of main sweeps with a partner, and median and 99 % of the distances."""
    config = index.config
    main = config.lidars[0].sensor if config.lidars else ""
    if name == main or main not in index.sensors or name not in _frame_sensors(index):
        return np.nan, np.nan, np.nan
    anchor_ns, other_ns = index.sensors[main].stamp_ns, index.sensors[name].stamp_ns
    partner = match_nearest(anchor_ns, other_ns, round(config.sync_tolerance_s * 1e9))
    is_matched = partner != NO_PARTNER
    if not is_matched.any():
        return 0.0, np.nan, np.nan
    distance_s = np.abs(other_ns[partner[is_matched]] - anchor_ns[is_matched]) * 1e-9
    median_s, worst_s = np.quantile(distance_s, [0.5, 0.99])
    return float(is_matched.mean()), float(median_s), float(worst_s)


def _frame_sensors(index: RecordingIndex) -> set[str]:
    return {item.sensor for item in index.config.sensors}


def _absent(index: RecordingIndex, name: str) -> Iterator[Finding]:
    """Yield what is mapped and not there, or of another type."""
    if not index.config.lidars:
        yield find("REC005", name, "no topic of sensor_msgs/PointCloud2: frames need a lidar")
    types = {topic.name: topic.type_name for topic in index.contents.counts}
    wanted: list[tuple[LidarTopic | CameraTopic, tuple[str, ...]]] = [
        *((lidar, (POINT_CLOUD,)) for lidar in index.config.lidars),
        *((camera, (IMAGE, COMPRESSED_IMAGE)) for camera in index.config.cameras),
    ]
    for item, kinds in wanted:
        found = types.get(item.topic)
        if found is None:
            what = f"no message on {item.topic!r}; there are {', '.join(sorted(types))}"
            yield find("REC005", f"{name} {item.sensor}", what)
        elif found not in kinds:
            yield find("REC005", f"{name} {item.sensor}", f"{item.topic!r} is of type {found}")
        elif item.sensor not in index.sensors:
            yield find("REC005", f"{name} {item.sensor}", f"no message on {item.topic!r} is whole")


def _judge(quality: SensorQuality, index: RecordingIndex, name: str) -> Iterator[Finding]:
    """Yield the rules that a sensor's measurements break."""
    where = f"{name} {quality.sensor}"
    limits = index.config.limits
    yield from _judge_clock(quality, limits, where)
    if quality.num_out_of_order:
        what = f"{quality.num_out_of_order} of {quality.num_messages} messages"
        yield find("REC012", where, what)
    if quality.sensor in _frame_sensors(index):
        if quality.num_empty > limits.max_empty_share * quality.num_messages:
            yield find("REC014", where, f"{quality.num_empty} of {quality.num_messages} are empty")
        yield from _judge_rate(quality, limits, where)
        layout = index.layouts.get(quality.sensor)
        if layout is not None and index.config.motion_compensation and not layout.has_times:
            yield find("REC018", where, "the first sweep has no field with the points' times")
    if quality.sync_share < limits.min_sync_share:
        what = (
            f"{quality.sync_share:.1%} of the sweeps have a partner within "
            f"{index.config.sync_tolerance_s * 1e3:g} ms; wanted {limits.min_sync_share:.1%}"
        )
        yield find("REC015", where, what)


def _judge_rate(quality: SensorQuality, limits: QualityLimits, where: str) -> Iterator[Finding]:
    if quality.rate_hz < limits.min_rate_share * quality.expected_hz or quality.num_messages < 2:
        what = (
            f"{quality.num_messages} messages, {quality.rate_hz:.2f} per second over the "
            f"recording; {quality.expected_hz:.2f} are meant"
        )
        yield find("REC006", where, what)
    if quality.drop_share > limits.max_drop_share:
        what = f"{quality.num_dropped} missing, {quality.drop_share:.1%}"
        yield find("REC007", where, f"{what}; at most {limits.max_drop_share:.1%} may be")
    if quality.jitter_s * quality.expected_hz > limits.max_jitter_share:
        what = (
            f"periods deviate by {quality.jitter_s * 1e3:.1f} ms from {quality.expected_hz:.2f} Hz"
        )
        yield find("REC008", where, what)
    if quality.longest_gap_s > limits.max_gap_s:
        what = f"{quality.longest_gap_s:.2f} s without a message, {quality.gap_at_s:.2f} s in"
        yield find("REC009", where, what)


def _judge_clock(quality: SensorQuality, limits: QualityLimits, where: str) -> Iterator[Finding]:
    if quality.num_backward:
        what = f"{quality.num_backward} stamps go back, the worst jump is "
        yield find("REC010", where, f"{what}{quality.worst_jump_s:.3f} s")
    if quality.num_forward:
        what = f"{quality.num_forward} stamps run ahead of the log time, the worst jump is "
        yield find("REC011", where, f"{what}{quality.worst_jump_s:.3f} s")
    if abs(quality.latency_s) > limits.max_latency_s:
        yield find(
            "REC013", where, f"log times less stamps are {quality.latency_s:.3f} s in the middle"
        )


def _plain(value: object) -> object:
    if isinstance(value, float):
        return round(value, 9) if np.isfinite(value) else None
    return value
