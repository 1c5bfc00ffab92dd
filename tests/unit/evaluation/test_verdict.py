"""Thresholds, comparison with a published model, and what is written about it."""

import numpy as np
import pytest

from admlops.evaluation.result import BootstrapConfig, Evaluation, MeasureValue, Replicates
from admlops.evaluation.verdict import (
    Candidate,
    Comparison,
    Verdict,
    are_paired,
    check_thresholds,
    compare,
)

DRAWS = 200


def candidate(
    values: dict[str, float],
    *,
    noise: float = 0.02,
    shared_seed: int = 0,
    own_seed: int | None = None,
    frames_digest: str = "frames",
    num_labels: int = 100,
    keep_draws: bool = True,
) -> Candidate:
    """Return an evaluation with one measure and a slice for each value.

    The draws of two candidates rise and fall together unless one is given its own seed.
    """
    measures, rows = [], []
    for index, (part, value) in enumerate(values.items()):
        rng = np.random.default_rng([shared_seed if own_seed is None else own_seed, index])
        draws = value + noise * rng.normal(size=DRAWS)
        low, high = np.quantile(draws, [0.025, 0.975])
        measures.append(
            MeasureValue(
                name="car_bev_ap50",
                category="car",
                metric="bev",
                threshold=0.5,
                slice=part,
                value=value,
                low=float(low),
                high=float(high),
                num_labels=num_labels,
                num_predictions=120,
            )
        )
        rows.append(tuple(draws.tolist()))
    evaluation = Evaluation(
        protocol="kitti",
        labels="lake@3",
        predictions="predictions",
        num_frames=50,
        frames_digest=frames_digest,
        bootstrap=BootstrapConfig(),
        scores={"car_bev_ap50": next(iter(values.values()))},
        measures=tuple(measures),
        curves=(),
    )
    replicates = Replicates(
        frames_digest=frames_digest,
        seed=0,
        measures=("car_bev_ap50",) * len(rows),
        slices=tuple(values),
        values=tuple(rows),
    )
    return Candidate(evaluation, replicates if keep_draws else None)


class TestThresholds:
    def test_least_and_most(self) -> None:
        reasons = check_thresholds({"ap": 0.7, "error_m": 0.2}, {"ap": 0.7}, {"error_m": 0.1})
        assert [reason.passed for reason in reasons] == [True, False]
        assert reasons[0].text == "ap is 0.7, as at least 0.7 is required"
        assert reasons[1].text == "error_m is 0.2, but at most 0.1 is required"

    def test_a_score_that_was_not_measured_fails_and_lists_the_others(self) -> None:
        reason = check_thresholds({"ap": 0.7, "other": float("nan")}, {"app": 0.5}, {})[0]
        assert not reason.passed
        assert reason.value is None
        assert "Scores are ap, other" in reason.text
        assert not check_thresholds({"other": float("nan")}, {"other": 0.5}, {})[0].passed


class TestComparison:
    def test_an_equal_model_passes(self) -> None:
        same = candidate({"all": 0.8, "range_40_70m": 0.5})
        reasons = compare(same, same, Comparison(tolerance=0.0))
        assert [reason.passed for reason in reasons] == [True, True]
        assert reasons[0].low == reasons[0].high == 0.0

    def test_a_slice_that_drops_fails_and_is_named(self) -> None:
        before = candidate({"all": 0.80, "range_0_20m": 0.9, "range_40_70m": 0.6})
        after = candidate({"all": 0.82, "range_0_20m": 0.9, "range_40_70m": 0.4}, own_seed=1)
        verdict = Verdict.of(compare(after, before, Comparison()), "published")
        assert not verdict.passed
        (failed,) = verdict.failed
        assert (failed.score, failed.slice) == ("car_bev_ap50", "range_40_70m")
        assert (failed.value, failed.threshold) == (0.4, 0.6)
        assert failed.high is not None
        assert failed.high < 0
        assert "in slice range_40_70m is 0.4000, the published model's 0.6000" in failed.text
        assert verdict.reasons[0] == failed

    def test_a_drop_within_chance_passes(self) -> None:
        before = candidate({"all": 0.80}, noise=0.05)
        after = candidate({"all": 0.75}, noise=0.05, own_seed=1)
        assert compare(after, before, Comparison())[0].passed

    def test_paired_draws_find_smaller_drops(self) -> None:
        """The same frames are hard for both models: the noise they share cancels."""
        before = candidate({"all": 0.80}, noise=0.05)
        after = candidate({"all": 0.75}, noise=0.05)
        assert are_paired(after, before)
        assert not compare(after, before, Comparison())[0].passed
        elsewhere = candidate({"all": 0.75}, noise=0.05, frames_digest="others")
        assert not are_paired(elsewhere, before)
        assert compare(elsewhere, before, Comparison())[0].passed

    def test_the_tolerance_lets_small_drops_pass(self) -> None:
        before, after = candidate({"all": 0.80}), candidate({"all": 0.79})
        assert not compare(after, before, Comparison(tolerance=0.0))[0].passed
        assert compare(after, before, Comparison(tolerance=0.02))[0].passed

    def test_intervals_that_hold_together_are_wider(self) -> None:
        values = {f"slice_{index}": 0.8 for index in range(40)}
        before, after = candidate(values), candidate(values, own_seed=9)
        together = compare(after, before, Comparison())
        alone = compare(after, before, Comparison(together=False))
        assert all(
            (first.high or 0) > (second.high or 0)
            for first, second in zip(together, alone, strict=True)
        )

    def test_without_draws_the_intervals_are_taken(self) -> None:
        before = candidate({"all": 0.80}, keep_draws=False)
        assert compare(candidate({"all": 0.78}), before, Comparison())[0].passed
        assert not compare(candidate({"all": 0.60}), before, Comparison())[0].passed

    def test_few_labels_and_slices_of_one_side_are_not_compared(self) -> None:
        few = candidate({"all": 0.1}, num_labels=5)
        assert compare(few, candidate({"all": 0.9}), Comparison()) == []
        assert compare(candidate({"tag_rain": 0.1}), candidate({"all": 0.9}), Comparison()) == []


class TestPage:
    def test_failed_reasons_come_first_and_every_row_is_there(self) -> None:
        before = candidate({"all": 0.80, "range_40_70m": 0.6})
        after = candidate({"all": 0.82, "range_40_70m": 0.3}, own_seed=1)
        reasons = check_thresholds({"ap": 0.7}, {"ap": 0.5}, {})
        page = Verdict.of(reasons + compare(after, before, Comparison()), "release 7").to_markdown()
        assert page.startswith("# Verdict: NOT PASSED\n\n2 of 3 checks hold.")
        assert "Compared with release 7." in page
        assert page.count("| ok |") == 2
        assert page.count("| **FAILED** | car_bev_ap50 | range_40_70m | 0.3 | 0.6 |") == 1

    def test_no_reasons_pass(self) -> None:
        assert Verdict.of([], "nothing").passed

    @pytest.mark.parametrize("passed", [True, False])
    def test_reading_what_was_written(self, passed: bool) -> None:
        verdict = Verdict.of(check_thresholds({"ap": float(passed)}, {"ap": 0.5}, {}), "nothing")
        assert Verdict.parse(verdict.to_json_dict()) == verdict
        assert verdict.passed is passed
