"""A canary is judged by its answers and its latency beside the stable track's."""

import numpy as np
import pytest

from admlops.errors import ServiceError
from admlops.serving.canary import CanaryLimits, Track, judge, mirror
from admlops.structures.boxes import Boxes

BOXES = Boxes.make([[10.0, 0, 0]], [[4, 2, 1.5]], [0.0], ["car"], score=[0.9])
LIMITS = CanaryLimits(min_agreement=0.9, max_slowdown=1.5)


def track(times_ms, failures=()) -> Track:
    answers = [BOXES for _ in times_ms] + [None for _ in failures]
    return Track(lambda _: BOXES, answers, list(times_ms), list(failures))


def test_every_cloud_goes_to_both_and_the_first_alternates():
    order = []

    def ask(name):
        return lambda points: order.append((name, float(points[0, 0]))) or BOXES

    clouds = [np.full((1, 4), value, np.float32) for value in (1.0, 2.0, 3.0)]
    stable, canary = mirror(ask("s"), ask("c"), clouds)
    warm_up = [("s", 1.0), ("c", 1.0)]
    assert order == [*warm_up, ("s", 1), ("c", 1), ("c", 2), ("s", 2), ("s", 3), ("c", 3)]
    assert len(stable.times_ms) == len(canary.times_ms) == 3
    assert stable.figures().num_boxes == 3


def test_a_failed_request_is_kept_as_a_reason():
    def refuse(_):
        raise ServiceError("Triton at c:8001: unavailable")

    stable, canary = mirror(lambda _: BOXES, refuse, [np.zeros((1, 4), np.float32)])
    report = judge(stable, canary, 1.0, LIMITS)
    assert not report.promote
    assert report.reasons[0] == "1 of 1 requests failed: Triton at c:8001: unavailable"


def test_percentiles_are_those_of_requests():
    figures = track([float(n) for n in range(1, 101)]).figures()
    assert (figures.p50_ms, figures.p99_ms) == (50.0, 100.0)
    assert track([]).figures().p99_ms == float("inf")


@pytest.mark.parametrize(
    ("stable", "canary", "agreement", "reason"),
    [
        (track([10, 20]), track([10, 30]), 0.9, None),
        (track([10, 20]), track([10, 31]), 1.0, "p99 latency 31.0 ms is above 1.5 times 20.0 ms"),
        (track([10, 20]), track([10, 20]), 0.89, "agreement 0.890 is below 0.9"),
        (track([], ["x"]), track([10]), 1.0, "the stable track failed 1 requests"),
        (track([]), track([]), 1.0, "no cloud was sent"),
    ],
)
def test_each_limit_decides(stable, canary, agreement, reason):
    report = judge(stable, canary, agreement, LIMITS)
    assert report.promote is (reason is None)
    assert (reason is None and not report.reasons) or report.reasons[0].startswith(reason)
