"""From matches to figures: measures by slice with intervals, curves, scores."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from admlops.evaluation.average_precision import (
    Curve,
    ResampledPrecision,
    ThinnedCurve,
    confidence_interval,
)
from admlops.evaluation.frame_set import FrameSet, draw_groups
from admlops.evaluation.measures import UNMATCHED, Measure
from admlops.evaluation.records import HIT, CategoryRecords
from admlops.evaluation.result import (
    BootstrapConfig,
    MeasureValue,
    PrecisionRecall,
    Replicates,
)
from admlops.evaluation.slices import WHOLE, Slice
from admlops.evaluation.spool import Rows

CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Scored:
    """Average precision by measure and slice, with the draws behind the intervals."""

    measures: tuple[MeasureValue, ...]
    curves: tuple[PrecisionRecall, ...]
    replicates: Replicates


def score_slices(
    categories: Sequence[CategoryRecords],
    frames: FrameSet,
    metrics: Sequence[str],
    bootstrap: BootstrapConfig,
) -> Scored:
    """Score every measure of the metrics in every slice; slices without labels are left out.

    Args:
        categories: labels and predictions by category.
        frames: all frames.
        metrics: which measures.
        bootstrap: how intervals are made.
    """
    drawn = draw_groups(frames.num_groups, bootstrap.num_draws, bootstrap.seed)
    weights = np.concatenate([np.ones((1, frames.num_groups), dtype=np.uint8), drawn])
    measures: list[MeasureValue] = []
    curves: list[PrecisionRecall] = []
    replicated: list[tuple[float | None, ...]] = []
    for records in categories:
        parts = _rank(records, frames, metrics, weights)
        for part in parts:
            values = part.precision.values()
            interval = confidence_interval(values[1:], bootstrap.confidence)
            measures.append(part.value(float(values[0]), interval))
            replicated.append(tuple(_rounded(float(value)) for value in values[1:]))
        curves += [_written(part.measure, part.curve.curve()) for part in parts if part.curve]
    replicates = Replicates(
        frames_digest=frames.digest,
        seed=bootstrap.seed,
        measures=tuple(item.name for item in measures),
        slices=tuple(item.slice for item in measures),
        values=tuple(replicated),
    )
    return Scored(tuple(measures), tuple(curves), replicates)


@dataclass(slots=True)
class _Part:
    """One measure in one slice, while predictions come by."""

    measure: Measure
    row: int
    slice: Slice
    num_labels: int
    precision: ResampledPrecision
    curve: ThinnedCurve | None
    num_predictions: int = 0

    def add(self, block: Rows, group: NDArray[np.int64]) -> None:
        """Add the next predictions: a hit outside the slice is neither right nor wrong."""
        found = block["found"][:, self.row]
        is_hit = (found == HIT) & self.slice.has_match(block, self.row)
        judged = is_hit | ((found == UNMATCHED) & self.slice.has_mistake(block))
        self.num_predictions += int(judged.sum())
        score = block["score"][judged]
        self.precision.add(group[judged], is_hit[judged], score)
        if self.curve is not None:
            self.curve.add(is_hit[judged], score)

    def value(self, value: float, interval: tuple[float, float]) -> MeasureValue:
        """Return the figure as it is written."""
        return MeasureValue(
            name=self.measure.name,
            category=self.measure.category,
            metric=self.measure.metric,
            threshold=self.measure.threshold,
            slice=self.slice.name,
            value=_rounded(value),
            low=_rounded(interval[0]),
            high=_rounded(interval[1]),
            num_labels=self.num_labels,
            num_predictions=self.num_predictions,
        )


def _rank(
    records: CategoryRecords,
    frames: FrameSet,
    metrics: Sequence[str],
    weights: NDArray[np.uint8],
) -> list[_Part]:
    """Return every measure in every slice, with all predictions added."""
    slices = records.slices(frames)
    labels_per_group = _count_labels(records, slices, frames)
    parts = []
    for part, counts in zip(slices, labels_per_group, strict=True):
        for row, measure in enumerate(records.measures):
            num_labels, is_whole = int(counts.sum()), part.name == WHOLE
            if measure.metric not in metrics or (num_labels == 0 and not is_whole):
                continue
            judged = int(records.num_judged[row])
            curve = ThinnedCurve(num_labels, judged, CURVE_POINTS) if is_whole else None
            precision = ResampledPrecision(counts, weights)
            parts.append(_Part(measure, row, part, num_labels, precision, curve))
    for block in records.predictions():
        group = frames.group_of(block["frame"])
        for item in parts:
            item.add(block, group)
    return parts


def _count_labels(
    records: CategoryRecords, slices: Sequence[Slice], frames: FrameSet
) -> NDArray[np.int64]:
    """Return (S, G) labels to be found by slice and group of frames."""
    counts = np.zeros((len(slices), frames.num_groups), dtype=np.int64)
    for labels in records.labels():
        group = frames.group_of(labels["frame"])
        for row, part in enumerate(slices):
            counts[row] += np.bincount(group[part.has_label(labels)], minlength=counts.shape[1])
    return counts


def flat_scores(measures: Iterable[MeasureValue]) -> dict[str, float]:
    """Return the values over all frames by the measure's name, where there are labels."""
    return {
        item.name: item.value for item in measures if item.slice == WHOLE and item.value is not None
    }


def _written(measure: Measure, curve: Curve) -> PrecisionRecall:
    return PrecisionRecall(
        name=measure.name,
        recall=tuple(np.round(curve.recall, 5).tolist()),
        precision=tuple(np.round(curve.precision, 5).tolist()),
        score=tuple(np.round(curve.score, 5).tolist()),
    )


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
