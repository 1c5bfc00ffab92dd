"""The verdict on a model: thresholds, and no slice worse than the published model's."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.evaluation.result import Evaluation, MeasureValue, Replicates
from admlops.evaluation.slices import WHOLE
from admlops.files import write_atomically

VERDICT_FILE = "verdict.json"
READABLE_FILE = "verdict.md"
_NORMAL_95 = 1.96
"""Half widths of 95 % intervals are read as this many standard deviations."""


class Reason(Config):
    """One thing that was checked, and how it came out."""

    kind: Literal["threshold", "comparison"]
    """A fixed limit, or the published model."""
    passed: bool
    """Whether it holds."""
    score: str
    """Name of the score."""
    slice: str = WHOLE
    """Slice that was scored; "all" is the whole."""
    value: float | None
    """What the model reaches; None where it was not measured."""
    threshold: float | None
    """The limit, or what the published model reaches."""
    low: float | None = None
    """Lower end of the interval of the difference to the published model."""
    high: float | None = None
    """Upper end of it: a slice fails where even this end is a drop."""
    text: str
    """The same in words."""


class Verdict(Config):
    """Whether a model may be published, and every reason."""

    passed: bool
    """Whether all reasons hold."""
    baseline: str
    """What the model was compared with, or why it was not."""
    reasons: tuple[Reason, ...]
    """Failed ones first."""

    @classmethod
    def of(cls, reasons: Iterable[Reason], baseline: str) -> Self:
        """Return the verdict that the reasons add up to."""
        listed = tuple(sorted(reasons, key=lambda reason: reason.passed))
        return cls(
            passed=all(reason.passed for reason in listed), baseline=baseline, reasons=listed
        )

    @property
    def failed(self) -> tuple[Reason, ...]:
        """The reasons that do not hold."""
        return tuple(reason for reason in self.reasons if not reason.passed)

    def write(self, folder: Path) -> None:
        """Write `verdict.json` and `verdict.md` into a folder."""
        write_atomically(folder / VERDICT_FILE, json.dumps(self.to_json_dict(), indent=1) + "\n")
        write_atomically(folder / READABLE_FILE, self.to_markdown())

    def to_markdown(self) -> str:
        """Return the verdict as a page."""
        num_held = len(self.reasons) - len(self.failed)
        lines = [f"# Verdict: {'passed' if self.passed else 'NOT PASSED'}", ""]
        lines += [f"{num_held} of {len(self.reasons)} checks hold.", ""]
        lines += [f"Compared with {self.baseline}.", ""]
        lines += [f"- **{reason.text}**" for reason in self.failed]
        lines += ["", "| | check | slice | value | limit or published | difference |"]
        lines += ["|---|---|---|---|---|---|"]
        lines += [_row(reason) for reason in self.reasons]
        return "\n".join(lines) + "\n"


def check_thresholds(
    scores: Mapping[str, float], least: Mapping[str, float], most: Mapping[str, float]
) -> list[Reason]:
    """Return one reason for each limit.

    Args:
        scores: figures by name.
        least: values that scores must reach.
        most: values that scores must not exceed.
    """
    limits = [(name, limit, True) for name, limit in least.items()]
    limits += [(name, limit, False) for name, limit in most.items()]
    reasons = []
    for name, limit, is_least in limits:
        value = scores.get(name)
        if value is None or np.isnan(value):
            known = ", ".join(sorted(scores)) or "none"
            text = f"{name} was not measured; the limit is {limit:g}. Scores are {known}"
            reasons.append(_threshold_reason(name, None, limit, False, text))
            continue
        passed = value >= limit if is_least else value <= limit
        word = "at least" if is_least else "at most"
        text = f"{name} is {value:.4g}, {'as' if passed else 'but'} {word} {limit:g} is required"
        reasons.append(_threshold_reason(name, value, limit, passed, text))
    return reasons


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two evaluations are compared.

    Attributes:
        confidence: of the interval of the difference.
        tolerance: drop that is let pass, as a share.
        min_labels: slices with fewer labels are not compared.
        together: whether the confidence is that all intervals hold at once, or each on its own.
    """

    confidence: float = 0.95
    tolerance: float = 0.01
    min_labels: int = 20
    together: bool = True


@dataclass(frozen=True, slots=True)
class Candidate:
    """An evaluation with its draws, if they were kept."""

    evaluation: Evaluation
    replicates: Replicates | None

    def draws(self) -> dict[tuple[str, str], NDArray[np.float64]]:
        """Return the draws by measure and slice."""
        kept = self.replicates
        if kept is None:
            return {}
        keys = zip(kept.measures, kept.slices, strict=True)
        return {
            key: np.array(row, dtype=np.float64)
            for key, row in zip(keys, kept.values, strict=True)
            if len(row) > 0
        }


def are_paired(first: Candidate, second: Candidate) -> bool:
    """Whether draw by draw both evaluations resampled the same frames."""
    one, other = first.replicates, second.replicates
    return (
        one is not None
        and other is not None
        and (one.frames_digest, one.seed) == (other.frames_digest, other.seed)
        and {len(row) for row in one.values} == {len(row) for row in other.values}
    )


def compare(model: Candidate, published: Candidate, rules: Comparison) -> list[Reason]:
    """Return one reason for each measure and slice that both evaluations hold.

    A slice fails where the whole confidence interval of the difference lies below the tolerance:
    the drop is then more than chance. With the same frames and seed the difference is taken draw
    by draw (paired bootstrap), otherwise between independent draws. The intervals hold together
    (Bonferroni): many slices are looked at, and one of them always looks bad.
    """
    before = {(item.name, item.slice): item for item in published.evaluation.measures}
    shared = [
        (item, before[item.name, item.slice])
        for item in model.evaluation.measures
        if (item.name, item.slice) in before
    ]
    comparable = [
        (item, other)
        for item, other in shared
        if item.value is not None
        and other.value is not None
        and min(item.num_labels, other.num_labels) >= rules.min_labels
    ]
    num_intervals = len(comparable) if rules.together else 1
    tail = (1.0 - rules.confidence) / (2.0 * max(num_intervals, 1))
    deviations = NormalDist().inv_cdf(1.0 - tail)
    draws, draws_before = model.draws(), published.draws()
    paired = are_paired(model, published)
    reasons = []
    for item, other in comparable:
        key = (item.name, item.slice)
        pair = (draws.get(key), draws_before.get(key))
        spread = _spread(pair, paired)
        if np.isnan(spread):
            spread = float(np.hypot(_half_width(item), _half_width(other))) / _NORMAL_95
        reasons.append(_comparison_reason(item, other, deviations * spread, rules.tolerance))
    return reasons


def _spread(
    draws: tuple[NDArray[np.float64] | None, NDArray[np.float64] | None], paired: bool
) -> float:
    """Return the standard deviation of the difference; NaN where draws are missing."""
    if draws[0] is None or draws[1] is None:
        return float("nan")
    parts = [draws[0] - draws[1]] if paired else list(draws)
    finite = [part[np.isfinite(part)] for part in parts if part is not None]
    if min(len(part) for part in finite) < 2:
        return float("nan")
    return float(np.sqrt(sum(part.var(ddof=1) for part in finite)))


def _half_width(item: MeasureValue) -> float:
    if item.low is None or item.high is None:
        return 0.0
    return (item.high - item.low) / 2.0


def _comparison_reason(
    item: MeasureValue, other: MeasureValue, margin: float, tolerance: float
) -> Reason:
    value, published = item.value or 0.0, other.value or 0.0
    low, high = value - published - margin, value - published + margin
    passed = high >= -tolerance
    where = "over all frames" if item.slice == WHOLE else f"in slice {item.slice}"
    text = (
        f"{item.name} {where} is {value:.4f}, the published model's {published:.4f}: "
        f"{value - published:+.4f}, interval {low:+.4f} to {high:+.4f}"
    )
    if not passed:
        text += f", a drop beyond chance and the tolerance of {tolerance:g}"
    return Reason(
        kind="comparison",
        passed=passed,
        score=item.name,
        slice=item.slice,
        value=value,
        threshold=published,
        low=low,
        high=high,
        text=text,
    )


def _threshold_reason(
    name: str, value: float | None, limit: float, passed: bool, text: str
) -> Reason:
    return Reason(
        kind="threshold", passed=passed, score=name, value=value, threshold=limit, text=text
    )


def _row(reason: Reason) -> str:
    mark = "ok" if reason.passed else "**FAILED**"
    value = "not measured" if reason.value is None else f"{reason.value:.4g}"
    limit = "" if reason.threshold is None else f"{reason.threshold:.4g}"
    interval = ""
    if reason.low is not None and reason.high is not None:
        interval = f"{reason.low:+.4f} to {reason.high:+.4f}"
    return f"| {mark} | {reason.score} | {reason.slice} | {value} | {limit} | {interval} |"
