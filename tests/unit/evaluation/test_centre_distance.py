"""Average precision by centre distance against the formulas of nuScenes, written plainly."""

import numpy as np
import pytest
from label_text import flat, row, spread_scores

from admlops.evaluation import spool
from admlops.evaluation.centre_distance import (
    DISTANCES_M,
    CentreDistanceResult,
    score_centre_distance,
)
from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.frame_set import FrameSet
from admlops.evaluation.measures import Matcher, Measure
from admlops.evaluation.records import CategoryRecords
from admlops.evaluation.slices import SliceConfig
from admlops.structures.boxes import Boxes

MEASURES = tuple(Measure("car", "distance", distance) for distance in DISTANCES_M)


def score(labels: FlatBoxes, predictions: FlatBoxes) -> CentreDistanceResult:
    records = CategoryRecords(MEASURES, SliceConfig())
    (matches,) = Matcher(MEASURES, {}, 0).match(labels, predictions)
    frames, tag_sets = FrameSet().add(labels.frame_names, [()] * labels.num_frames)
    records.add(matches, frames, tag_sets)
    return score_centre_distance(records)


def test_exact_predictions() -> None:
    labels = flat([[row()] for _ in range(20)])
    result = score(labels, flat([[row(score=s)] for s in spread_scores(20, 0.1, 0.9)]))
    assert result.average_precision == pytest.approx((1.0, 1.0, 1.0, 1.0))
    assert result.translation_error_m == pytest.approx(0.0)
    assert result.scale_error == pytest.approx(0.0, abs=1e-12)
    assert result.orientation_error_rad == pytest.approx(0.0)


def test_errors_by_hand() -> None:
    """3-4-5 tenths of a metre off, half the height, an eighth of a turn."""
    boxes = Boxes.make([[20, 0, 0.75]], [[4, 2, 1.5]], [0], ["car"])
    off = boxes.replace(
        center_m=[[20.3, 0.4, 0.5]], size_m=[[4, 2, 0.75]], yaw_rad=[np.pi / 4], score=[0.8]
    )
    names = [str(index) for index in range(10)]
    result = score(
        FlatBoxes.from_frames(names, [boxes] * 10), FlatBoxes.from_frames(names, [off] * 10)
    )
    assert result.average_precision[1:] == pytest.approx((1.0, 1.0, 1.0))
    assert result.average_precision[0] == 0.0
    assert result.translation_error_m == pytest.approx(0.5)
    assert result.scale_error == pytest.approx(0.5)
    assert result.orientation_error_rad == pytest.approx(np.pi / 4)


def test_recall_and_precision_are_cut_at_a_tenth() -> None:
    """A hundred wrong ones first: precision is r / (1 + r) at recall r."""
    labels = flat([[row()]] * 100)
    result = score(labels, flat([[row(x_m=10, score=0.9), row(score=0.5)]] * 100))
    recall = np.arange(11, 101) / 100
    expected = np.mean(np.maximum(recall / (1 + recall) - 0.1, 0.0)) / 0.9
    assert result.average_precision[2] == pytest.approx(expected)


def test_nothing_found_and_nothing_to_find() -> None:
    for labels, predictions in (([[row()]], [[]]), ([[]], [[row(score=0.9)]]), ([[]], [[]])):
        result = score(flat(labels), flat(predictions))
        assert result.mean_average_precision == 0.0
        assert result.translation_error_m == 1.0


@pytest.mark.parametrize("run_rows", [7, 1 << 18])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_formulas_written_plainly(
    seed: int, run_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "RUN_ROWS", run_rows)
    monkeypatch.setattr(spool, "MERGED_ROWS", 30)
    rng = np.random.default_rng(seed)
    names, labels, predictions = [str(i) for i in range(60)], [], []
    for _ in names:
        count = int(rng.integers(0, 6))
        centers = rng.uniform(-40, 40, (count, 3))
        boxes = Boxes.make(
            centers, np.full((count, 3), 2.0), rng.uniform(-3, 3, count), ["car"] * count
        )
        extra = int(rng.integers(0, 3))
        moved = np.concatenate(
            [centers + rng.normal(0, 0.8, (count, 3)), rng.uniform(-40, 40, (extra, 3))]
        )
        predicted = Boxes.make(
            moved,
            rng.uniform(1, 3, (count + extra, 3)),
            rng.uniform(-3, 3, count + extra),
            ["car"] * (count + extra),
            score=rng.random(count + extra),
        )
        labels.append(boxes)
        predictions.append(predicted)
    result = score(FlatBoxes.from_frames(names, labels), FlatBoxes.from_frames(names, predictions))
    plain = [_plain(labels, predictions, distance) for distance in DISTANCES_M]
    assert result.average_precision == pytest.approx([item[0] for item in plain])
    assert result.translation_error_m == pytest.approx(plain[2][1])
    assert result.orientation_error_rad == pytest.approx(plain[2][2])


def _plain(labels: list[Boxes], predictions: list[Boxes], distance_m: float) -> tuple[float, ...]:
    """Follow nuScenes' `accumulate`, `calc_ap` and `calc_tp` line by line."""
    ranked = sorted(
        (
            (float(boxes.score[i]), f, i)
            for f, boxes in enumerate(predictions)
            for i in range(len(boxes))
        ),
        reverse=True,
    )
    num_labels = sum(len(boxes) for boxes in labels)
    taken: set[tuple[int, int]] = set()
    hits, confidences, turns, shifts, matched_scores = [], [], [], [], []
    for score_value, frame, index in ranked:
        best, nearest = None, np.inf
        for label in range(len(labels[frame])):
            away = np.linalg.norm(
                (labels[frame].center_m[label] - predictions[frame].center_m[index])[:2]
            )
            if (frame, label) not in taken and away < nearest:
                best, nearest = label, float(away)
        hits.append(nearest < distance_m)
        confidences.append(score_value)
        if nearest < distance_m and best is not None:
            taken.add((frame, best))
            shifts.append(nearest)
            turn = labels[frame].yaw_rad[best] - predictions[frame].yaw_rad[index]
            turns.append(abs((turn + np.pi) % (2 * np.pi) - np.pi))
            matched_scores.append(score_value)
    tp, fp = np.cumsum(hits), np.cumsum(~np.array(hits))
    recall, precision = tp / num_labels, tp / (tp + fp)
    grid = np.linspace(0, 1, 101)
    sampled = np.interp(grid, recall, precision, right=0)
    confidence = np.interp(grid, recall, confidences, right=0)
    ap = np.mean(np.clip(sampled[11:] - 0.1, 0, None)) / 0.9
    last = np.flatnonzero(confidence)[-1]
    errors = []
    for values in (shifts, turns):
        running = np.cumsum(values) / np.arange(1, len(values) + 1)
        curve = np.interp(confidence[::-1], matched_scores[::-1], running[::-1])[::-1]
        errors.append(float(np.mean(curve[11 : last + 1])))
    return float(ap), errors[0], errors[1]
