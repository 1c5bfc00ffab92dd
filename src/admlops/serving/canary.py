"""Send the same clouds to the served release and to its canary, and say whether to promote it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.errors import ServiceError
from admlops.structures.boxes import Boxes

Ask = Callable[[NDArray[np.float32]], Boxes]
"""From a cloud (N, 4) in the lidar frame to the boxes that a server answers."""
_MAX_REASONS = 3


class CanaryLimits(Config):
    """What a canary must reach to be promoted."""

    min_agreement: float
    """Smallest share of boxes, of both tracks, with a partner on the other side."""
    max_slowdown: float
    """Largest ratio of the 99th percentiles of latency, canary by stable."""


class TrackFigures(Config):
    """What one track answered."""

    num_requests: int
    """Clouds that were sent."""
    num_failed: int
    """Requests without an answer."""
    num_boxes: int
    """Boxes in all answers."""
    p50_ms: float
    """Median latency of the answered requests, at the client."""
    p99_ms: float
    """99th percentile of it."""
    failures: tuple[str, ...]
    """The first reasons."""


class CanaryReport(Config):
    """How the canary did beside the stable track."""

    stable: TrackFigures
    """The release that serves."""
    canary: TrackFigures
    """The release on trial."""
    agreement: float
    """Share of boxes with a partner on the other side, over clouds that both answered."""
    promote: bool
    """Whether the canary reached every limit."""
    reasons: tuple[str, ...]
    """Each limit that it missed."""


@dataclass(slots=True)
class Track:
    """One server and what it answered.

    Attributes:
        ask: sends a cloud.
        answers: per cloud the boxes, or None for a failure.
        times_ms: of the answered requests.
        failures: reasons of the others.
    """

    ask: Ask
    answers: list[Boxes | None] = field(default_factory=list)
    times_ms: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def send(self, points: NDArray[np.float32]) -> None:
        """Send one cloud and keep the answer; a failure is kept, not raised."""
        start = time.perf_counter()
        try:
            boxes = self.ask(points)
        except ServiceError as error:
            self.answers.append(None)
            self.failures.append(str(error))
        else:
            self.times_ms.append((time.perf_counter() - start) * 1e3)
            self.answers.append(boxes)

    def figures(self) -> TrackFigures:
        """Return counts and latencies; infinite latencies where nothing was answered."""
        times = np.array(self.times_ms or [np.inf])
        return TrackFigures(
            num_requests=len(self.answers),
            num_failed=len(self.failures),
            num_boxes=sum(len(boxes) for boxes in self.answers if boxes is not None),
            p50_ms=float(np.percentile(times, 50, method="lower")),
            p99_ms=float(np.percentile(times, 99, method="higher")),
            failures=tuple(self.failures[:_MAX_REASONS]),
        )


def mirror(stable: Ask, canary: Ask, clouds: Iterable[NDArray[np.float32]]) -> tuple[Track, Track]:
    """Send every cloud to both; which of them is first alternates. Return what each answered.

    The first cloud is sent once more beforehand and not counted: servers warm up with it.
    """
    tracks = Track(stable), Track(canary)
    for number, points in enumerate(clouds):
        if number == 0:
            for track in tracks:
                Track(track.ask).send(points)
        for track in tracks if number % 2 == 0 else tracks[::-1]:
            track.send(points)
    return tracks


def judge(stable: Track, canary: Track, agreement: float, limits: CanaryLimits) -> CanaryReport:
    """Return the figures of both tracks and whether the canary reached the limits.

    Args:
        stable: answers of the release that serves.
        canary: answers of the release on trial, to the same clouds.
        agreement: share of boxes with a partner on the other side.
        limits: what must be reached.
    """
    old, new = stable.figures(), canary.figures()
    reasons = []
    if not new.num_requests:
        reasons.append("no cloud was sent")
    if new.num_failed:
        reasons.append(f"{new.num_failed} of {new.num_requests} requests failed: {new.failures[0]}")
    if old.num_failed:
        reasons.append(
            f"the stable track failed {old.num_failed} requests; nothing to compare with"
        )
    if agreement < limits.min_agreement:
        reasons.append(f"agreement {agreement:.3f} is below {limits.min_agreement:g}")
    if not new.p99_ms <= limits.max_slowdown * old.p99_ms:
        reasons.append(
            f"p99 latency {new.p99_ms:.1f} ms is above {limits.max_slowdown:g} times "
            f"{old.p99_ms:.1f} ms"
        )
    return CanaryReport(
        stable=old,
        canary=new,
        agreement=agreement,
        promote=not reasons,
        reasons=tuple(reasons),
    )
