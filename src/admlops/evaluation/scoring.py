"""From matches to figures: measures by slice with intervals, curves, failures, scores."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from admlops.evaluation.average_precision import (
    Ranking,
    average_precision,
    confidence_interval,
    draw_frames,
    precision_recall,
    resampled_average_precision,
)
from admlops.evaluation.failures import (
    describe_false_positives,
    describe_missed,
    false_positives,
    missed_labels,
)
from admlops.evaluation.measures import CategoryMatches, Measure
from admlops.evaluation.result import (
    BootstrapConfig,
    Failure,
    MeasureValue,
    PrecisionRecall,
    Replicates,
)
from admlops.evaluation.slices import WHOLE, SliceConfig, make_slices, rank
from admlops.structures.frame import FrameKey

CURVE_POINTS = 200


@dataclass(frozen=True, slots=True)
class Scored:
    """Average precision by measure and slice, with the draws behind the intervals."""

    measures: tuple[MeasureValue, ...]
    curves: tuple[PrecisionRecall, ...]
    replicates: Replicates


def digest_of_frames(frames: Iterable[FrameKey | str]) -> str:
    """Return a SHA-256 over the names of frames, whatever their order."""
    return hashlib.sha256("\n".join(sorted(map(str, frames))).encode()).hexdigest()


def score_slices(
    categories: Sequence[CategoryMatches],
    frames: Sequence[FrameKey | str],
    tags: Sequence[tuple[str, ...]],
    metrics: Sequence[str],
    settings: tuple[SliceConfig, BootstrapConfig],
) -> Scored:
    """Score every measure of the metrics in every slice; slices without labels are left out.

    Args:
        categories: matches by category.
        frames: (F) names of the frames.
        tags: (F) tags of the frames.
        metrics: which measures.
        settings: which slices, and how intervals are made.
    """
    slices, bootstrap = settings
    names = [str(frame) for frame in frames]
    place_in_name_order = np.argsort(np.argsort(names, kind="stable"))
    draws = draw_frames(len(names), bootstrap.num_draws, bootstrap.seed)
    draws = replace(draws, group=draws.group[place_in_name_order])
    measures, curves, replicated = [], [], []
    for matches in categories:
        for part in make_slices(matches, tags, slices):
            for row, measure in enumerate(matches.measures):
                if measure.metric not in metrics:
                    continue
                ranking = rank(matches, row, part)
                if ranking.num_labels == 0 and part.name != WHOLE:
                    continue
                drawn = resampled_average_precision(ranking, draws)
                interval = confidence_interval(drawn, bootstrap.confidence)
                measures.append(_value(measure, part.name, ranking, interval))
                replicated.append(tuple(_rounded(float(value)) for value in drawn))
                if part.name == WHOLE:
                    curves.append(_thinned(measure, ranking))
    replicates = Replicates(
        frames_digest=digest_of_frames(frames),
        seed=bootstrap.seed,
        measures=tuple(item.name for item in measures),
        slices=tuple(item.slice for item in measures),
        values=tuple(replicated),
    )
    return Scored(tuple(measures), tuple(curves), replicates)


def flat_scores(measures: Iterable[MeasureValue]) -> dict[str, float]:
    """Return the values over all frames by the measure's name, where there are labels."""
    return {
        item.name: item.value for item in measures if item.slice == WHOLE and item.value is not None
    }


def list_failures(
    categories: Sequence[CategoryMatches],
    frames: Sequence[FrameKey | str],
    metric: str,
    min_score: float,
    max_failures: int,
) -> tuple[tuple[Failure, ...], int, int]:
    """Return the worst failures, and how many labels were missed and predictions wrong.

    The first measure of each category with the given metric tells what failed. The list is shared
    out evenly between categories and kinds.
    """
    share = max_failures // max(2 * len(categories), 1)
    listed: list[Failure] = []
    num_missed = num_wrong = 0
    for matches in categories:
        row = next((i for i, item in enumerate(matches.measures) if item.metric == metric), None)
        if row is None:
            continue
        missed = missed_labels(matches, row, min_score)
        wrong = false_positives(matches, row, min_score)
        num_missed += len(missed)
        num_wrong += len(wrong)
        listed += describe_missed(matches, missed[:share], frames)
        listed += describe_false_positives(matches, wrong[:share], frames)
    return tuple(listed), num_missed, num_wrong


def _value(
    measure: Measure, part: str, ranking: Ranking, interval: tuple[float, float]
) -> MeasureValue:
    return MeasureValue(
        name=measure.name,
        category=measure.category,
        metric=measure.metric,
        threshold=measure.threshold,
        slice=part,
        value=_rounded(average_precision(ranking)),
        low=_rounded(interval[0]),
        high=_rounded(interval[1]),
        num_labels=ranking.num_labels,
        num_predictions=len(ranking.score),
    )


def _thinned(measure: Measure, ranking: Ranking) -> PrecisionRecall:
    curve = precision_recall(ranking)
    size = len(curve.recall)
    picked = np.unique(np.linspace(0, size - 1, min(size, CURVE_POINTS)).astype(int))
    return PrecisionRecall(
        name=measure.name,
        recall=tuple(np.round(curve.recall[picked], 5).tolist()),
        precision=tuple(np.round(curve.precision[picked], 5).tolist()),
        score=tuple(np.round(curve.score[picked], 5).tolist()),
    )


def _rounded(value: float) -> float | None:
    return None if np.isnan(value) else round(value, 6)
