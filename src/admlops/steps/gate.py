"""The step `gate`: decide whether a model may be published."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from admlops.config import Config
from admlops.errors import GateError
from admlops.evaluation.result import REPLICATES_FILE, Evaluation, Replicates
from admlops.evaluation.verdict import Candidate, Comparison, Verdict, check_thresholds, compare
from admlops.export.verification import read_verification_scores
from admlops.files import write_folder_atomically
from admlops.serving.bucket_store import open_store
from admlops.serving.release import EVALUATION_FOLDER
from admlops.steps.step import Scores


@dataclass(frozen=True, slots=True)
class GateInputs:
    """What is read.

    Attributes:
        evaluation: the model's evaluation.
        verification: parity and latency of its runtimes.
        baseline: the published model's evaluation.
    """

    evaluation: Path
    verification: Path | None = None
    baseline: Path | None = None


@dataclass(frozen=True, slots=True)
class GateOutputs:
    """What is written.

    Attributes:
        verdict: folder of `verdict.json` and `verdict.md`.
    """

    verdict: Path


class GateConfig(Config):
    """What a model must reach."""

    min_scores: dict[str, float] = Field(default_factory=dict)
    """Least value by score, of the evaluation or the verification."""
    max_scores: dict[str, float] = Field(default_factory=dict)
    """Greatest value by score, for errors and latencies."""
    confidence: float = Field(default=0.95, gt=0.0, lt=1.0)
    """Of the intervals of the difference to the published model."""
    tolerance: float = Field(default=0.01, ge=0.0)
    """Drop of average precision in a slice that is let pass, as a share."""
    min_labels: int = Field(default=20, ge=1)
    """Slices with fewer labels are not compared."""
    together: bool = True
    """Whether the confidence is that all intervals hold at once, or each on its own."""
    published_uri: str = ""
    """Store of releases: where no baseline is given, the current release's evaluation is it."""
    enforce: bool = False
    """Raise where the verdict is no; otherwise the answer is only returned and written."""


def gate(inputs: GateInputs, outputs: GateOutputs, config: GateConfig) -> Scores:
    """Check scores against limits and, slice by slice, against the published model.

    Raises:
        DataError: an input cannot be read.
        GateError: the verdict is no, and `enforce` is set; the verdict is written before.
    """
    model = _read(inputs.evaluation)
    scores = model.evaluation.scores | _verification_scores(inputs.verification)
    reasons = check_thresholds(scores, config.min_scores, config.max_scores)
    compared_with = "nothing, as there is no published model to compare with"
    num_compared = 0
    baseline = inputs.baseline or _published_evaluation(config.published_uri)
    if baseline is not None:
        published = _read(baseline)
        rules = Comparison(config.confidence, config.tolerance, config.min_labels, config.together)
        compared = compare(model, published, rules)
        num_compared = len(compared)
        reasons += compared
        compared_with = f"{published.evaluation.predictions} on {published.evaluation.labels}"
    verdict = Verdict.of(reasons, compared_with)
    with write_folder_atomically(outputs.verdict) as draft:
        verdict.write(draft)
    if config.enforce and not verdict.passed:
        raise GateError("; ".join(reason.text for reason in verdict.failed))
    return {
        "passed": float(verdict.passed),
        "num_checks": float(len(reasons)),
        "num_failed": float(len(verdict.failed)),
        "num_compared": float(num_compared),
    }


def _published_evaluation(releases_uri: str) -> Path | None:
    """Return the evaluation that the current release carries, or None before the first."""
    if not releases_uri:
        return None
    store = open_store(releases_uri)
    pointer = store.current()
    return store.path(pointer.release_id) / EVALUATION_FOLDER if pointer else None


def _read(folder: Path) -> Candidate:
    has_draws = (folder / REPLICATES_FILE).is_file()
    return Candidate(Evaluation.read(folder), Replicates.read(folder) if has_draws else None)


def _verification_scores(folder: Path | None) -> Scores:
    """Return the flat figures of a verification, where there is one."""
    if folder is None or not folder.exists():
        return {}
    return read_verification_scores(folder)
