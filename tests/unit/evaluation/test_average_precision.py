"""Average precision by hand, ties, and resampling frames."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from admlops.evaluation.average_precision import (
    Curve,
    ResampledPrecision,
    ThinnedCurve,
    confidence_interval,
)
from admlops.evaluation.frame_set import draw_groups


@dataclass(frozen=True)
class Ranking:
    """Judged predictions, best score first, and the labels of each frame."""

    frame: NDArray[np.int64]
    is_hit: NDArray[np.bool_]
    score: NDArray[np.float64]
    labels_per_frame: NDArray[np.int64]


def average_precision(given: Ranking, cuts: tuple[int, ...] = ()) -> float:
    every = np.ones((1, len(given.labels_per_frame)), dtype=np.uint8)
    return float(resampled_average_precision(given, every, cuts)[0])


def resampled_average_precision(
    given: Ranking, weights: NDArray[np.uint8], cuts: tuple[int, ...] = ()
) -> NDArray[np.float64]:
    precision = ResampledPrecision(given.labels_per_frame, weights)
    columns = [np.split(column, cuts) for column in (given.frame, given.is_hit, given.score)]
    for block in zip(*columns, strict=True):
        precision.add(*block)
    return precision.values()


def precision_recall(given: Ranking, cuts: tuple[int, ...] = (), num_points: int = 200) -> Curve:
    curve = ThinnedCurve(int(given.labels_per_frame.sum()), len(given.score), num_points)
    pieces = zip(np.split(given.is_hit, cuts), np.split(given.score, cuts), strict=True)
    for is_hit, score in pieces:
        curve.add(is_hit, score)
    return curve.curve()


def ranking(
    hits: list[int],
    scores: list[float] | None = None,
    *,
    frames: list[int] | None = None,
    labels: list[int] | None = None,
) -> Ranking:
    count = len(hits)
    return Ranking(
        frame=np.array(frames if frames is not None else [0] * count, dtype=np.int64),
        is_hit=np.array(hits, dtype=np.bool_),
        score=np.array(scores if scores is not None else np.linspace(0.9, 0.1, count)),
        labels_per_frame=np.array(labels if labels is not None else [sum(hits)], dtype=np.int64),
    )


def draws_of(weights: list[list[int]]) -> NDArray[np.uint8]:
    return np.array(weights, dtype=np.uint8)


class TestAveragePrecision:
    def test_one_label_and_two_predictions(self) -> None:
        assert average_precision(ranking([1, 0])) == pytest.approx(1.0)
        assert average_precision(ranking([0, 1])) == pytest.approx(0.5)

    def test_ties_count_at_once_in_any_order(self) -> None:
        assert average_precision(ranking([1, 0], [0.5, 0.5])) == pytest.approx(0.5)
        assert average_precision(ranking([0, 1], [0.5, 0.5])) == pytest.approx(0.5)

    def test_precision_falls_with_recall(self) -> None:
        """Hit, miss, hit of two labels: precision 1 up to recall 1/2, then 2/3."""
        assert average_precision(ranking([1, 0, 1])) == pytest.approx((20 * 1 + 20 * 2 / 3) / 40)

    def test_labels_that_are_missed_cost_their_share(self) -> None:
        assert average_precision(ranking([1, 1], labels=[4])) == pytest.approx(0.5)

    def test_no_predictions_and_no_labels(self) -> None:
        assert average_precision(ranking([], labels=[3])) == 0.0
        assert np.isnan(average_precision(ranking([0, 0], labels=[0])))
        assert np.isnan(average_precision(ranking([], labels=[])))

    def test_the_curve(self) -> None:
        curve = precision_recall(ranking([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1], labels=[4]))
        assert curve.score.tolist() == [0.9, 0.8, 0.1]
        assert curve.recall.tolist() == [0.25, 0.5, 0.5]
        assert curve.precision.tolist() == pytest.approx([1.0, 2 / 3, 0.5])

    def test_a_thinned_curve_keeps_its_ends(self) -> None:
        hits = [1, 0] * 500
        curve = precision_recall(ranking(hits), (1, 7, 400), num_points=10)
        assert len(curve.score) == 10
        assert curve.precision[0] == 1.0
        assert curve.recall[-1] == 1.0
        assert curve.precision[-1] == 0.5
        assert len(precision_recall(ranking([], labels=[3])).score) == 0

    @given(
        st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=40),
        st.sets(st.integers(0, 40), max_size=5),
    )
    def test_it_does_not_matter_where_blocks_are_cut(
        self, rows: list[tuple[bool, int]], places: set[int]
    ) -> None:
        rows = sorted(rows, key=lambda row: -row[1])
        whole = ranking([int(hit) for hit, _ in rows], [score / 10 for _, score in rows])
        cuts = tuple(sorted(place for place in places if place <= len(rows)))
        assert average_precision(whole, cuts) == pytest.approx(
            average_precision(whole), nan_ok=True
        )
        one, other = precision_recall(whole), precision_recall(whole, cuts)
        assert one.score.tolist() == other.score.tolist()
        assert one.precision.tolist() == other.precision.tolist()
        assert one.recall.tolist() == other.recall.tolist()

    @given(st.lists(st.booleans(), max_size=60), st.integers(0, 10))
    def test_bounded_and_never_worse_for_a_hit_put_first(self, hits: list[bool], more: int) -> None:
        labels = sum(hits) + more + 1
        before = average_precision(ranking([int(hit) for hit in hits], labels=[labels]))
        after = average_precision(ranking([1, *(int(hit) for hit in hits)], labels=[labels]))
        assert 0.0 <= before <= after <= 1.0


class TestResampling:
    def test_drawing_every_frame_once_changes_nothing(self) -> None:
        whole = ranking([1, 0, 1, 1], frames=[0, 1, 1, 2], labels=[1, 2, 1])
        drawn = resampled_average_precision(whole, draws_of([[1, 1, 1]]))
        assert drawn[0] == pytest.approx(average_precision(whole))

    def test_a_frame_drawn_twice_counts_twice(self) -> None:
        whole = ranking([1, 0, 1], [0.9, 0.8, 0.7], frames=[0, 1, 2], labels=[1, 1, 1])
        doubled = ranking(
            [1, 1, 0, 0], [0.9, 0.9, 0.8, 0.8], frames=[0, 1, 2, 3], labels=[1, 1, 1, 1]
        )
        drawn = resampled_average_precision(whole, draws_of([[2, 2, 0]]))
        assert drawn[0] == pytest.approx(average_precision(doubled))

    def test_a_draw_without_labels_says_nothing(self) -> None:
        whole = ranking([1], frames=[0], labels=[1, 0])
        drawn = resampled_average_precision(whole, draws_of([[0, 2], [1, 1]]))
        assert np.isnan(drawn[0])
        assert drawn[1] == 1.0

    def test_draws_are_the_same_for_the_same_seed(self) -> None:
        first, second = draw_groups(50, 20, 3), draw_groups(50, 20, 3)
        assert (first == second).all()
        assert (first != draw_groups(50, 20, 4)).any()
        assert (first.sum(axis=1) == 50).all()
        assert draw_groups(0, 5, 0).shape == (5, 0)
        assert draw_groups(5, 0, 0).shape == (0, 5)

    def test_the_interval_shrinks_with_the_root_of_the_frames(self) -> None:
        widths = []
        for num_frames in (100, 1600):
            rng = np.random.default_rng(0)
            whole = ranking(
                (rng.random(num_frames) < 0.6).astype(int).tolist(),
                frames=rng.permutation(num_frames).tolist(),
                labels=[1] * num_frames,
            )
            drawn = resampled_average_precision(whole, draw_groups(num_frames, 400, 0))
            low, high = confidence_interval(drawn, 0.95)
            assert low < average_precision(whole) < high
            widths.append(high - low)
        assert widths[0] / widths[1] == pytest.approx(4.0, rel=0.35)

    def test_the_interval_of_nothing(self) -> None:
        assert np.isnan(confidence_interval(np.empty(0), 0.9)).all()
        assert np.isnan(confidence_interval(np.array([np.nan]), 0.9)).all()
        assert confidence_interval(np.arange(101.0), 0.9) == pytest.approx((5.0, 95.0))
