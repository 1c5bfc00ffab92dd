"""What a run left behind, read for its report; whatever is absent is None."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ConfigDict, Field

from admlops.analysis.analysis import ANALYSIS_FILE, Analysis
from admlops.analysis.recording_page import QUALITY_FILE
from admlops.annotation.acceptance_report import ACCEPTANCE_FILE
from admlops.checks.rules import RULES
from admlops.config import Config, read_json_object
from admlops.evaluation.result import AP_FILE, EVALUATION_FILE, Evaluation
from admlops.evaluation.verdict import VERDICT_FILE, Verdict
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest

MANIFEST_FILE = "manifest.json"
Kind = TypeVar("Kind", bound=Config)


class Lenient(Config):
    """A part of another step's file: fields that are not shown are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class LatencyView(Lenient):
    """How long one stage takes."""

    p50_ms: float
    """Median."""
    p99_ms: float
    """99th percentile."""


class OutputView(Lenient):
    """How far one output is from torch's."""

    max_abs: float
    """Largest absolute difference."""


class RungView(Lenient):
    """One runtime against torch."""

    name: str
    """Runtime and precision."""
    outputs: dict[str, OutputView] = Field(default_factory=dict)
    """Difference by output."""
    num_boxes: int = 0
    """Boxes in all frames."""
    match_rate: float | None = None
    """Share of boxes with a partner."""
    latency: dict[str, LatencyView] = Field(default_factory=dict)
    """By stage."""

    @property
    def max_abs(self) -> float | None:
        """Largest difference of any output; None where nothing was compared."""
        return max((output.max_abs for output in self.outputs.values()), default=None)


class VerificationView(Lenient):
    """Parity and latency of every runtime."""

    frames: tuple[str, ...] = ()
    """Frames compared on."""
    num_threads: int = 0
    """Threads of each runtime; 0 was its own choice."""
    served: str = ""
    """The runtime that is served."""
    rungs: tuple[RungView, ...] = ()
    """Torch first."""
    average_precision: dict[str, dict[str, float]] = Field(default_factory=dict)
    """By runtime and category."""
    scores: dict[str, float] = Field(default_factory=dict)
    """Flat figures."""

    def mean_precision(self, rung: str) -> float | None:
        """Return the mean average precision of a rung; None where it was not scored."""
        values = self.average_precision.get(rung, {})
        return sum(values.values()) / len(values) if values else None

    @property
    def serving(self) -> RungView | None:
        """The rung that is served; None where it was not measured."""
        return next((rung for rung in self.rungs if rung.name == self.served), None)


class AuditFindingView(Lenient):
    """One node that a runtime cannot run."""

    target: str
    """Runtime."""
    operator: str
    """Operator."""
    module: str = ""
    """Torch module."""
    reason: str = ""
    """What is not supported."""
    rewrite: str = ""
    """What to do."""


class AuditView(Lenient):
    """Operators of the exported network."""

    opset: int = 0
    """Opset."""
    operators: dict[str, int] = Field(default_factory=dict)
    """Nodes by operator."""
    tables: tuple[str, ...] = ()
    """Runtimes compared with."""
    findings: tuple[AuditFindingView, ...] = ()
    """Nodes that are not supported."""


class FindingView(Lenient):
    """One finding of the check."""

    rule_id: str
    """Rule."""
    severity: str
    """error, warning or info."""
    where: str
    """Place."""
    what: str
    """What was found."""
    mend: str
    """What to do."""


class FindingsView(Lenient):
    """What the check found."""

    num_places: dict[str, int] = Field(default_factory=dict)
    """Places by severity."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Numbers worth reading."""
    findings: tuple[FindingView, ...] = ()
    """Worst first."""


class SensorView(Lenient):
    """One sensor of a recording."""

    sensor: str
    """Its name."""
    num_messages: int
    """Messages."""
    rate_hz: float | None = None
    """Messages per second."""
    num_dropped: int = 0
    """Messages missing between others."""
    longest_gap_s: float | None = None
    """Longest time without a message."""


class RecordingView(Lenient):
    """What was measured of one recording."""

    name: str
    """Its log."""
    is_accepted: bool
    """Whether no rule of severity "error" is broken."""
    duration_s: float
    """From the first message to the last."""
    num_frames: int
    """Frames that were made of it."""
    sensors: tuple[SensorView, ...] = ()
    """Every sensor with messages."""
    findings: tuple[FindingView, ...] = ()
    """What is wrong with it."""


class RecordingsView(Lenient):
    """What was measured of all recordings."""

    recordings: tuple[RecordingView, ...] = ()
    """Those that could be read."""
    unreadable: tuple[FindingView, ...] = ()
    """Why others could not."""


class DeliveryView(Lenient):
    """The judgement of delivered labels."""

    accepted: bool
    """Whether they became part of the dataset."""
    sentence: str
    """The judgement in words."""
    num_boxes: int = 0
    """Boxes that were delivered."""
    counts: dict[str, int] = Field(default_factory=dict)
    """How often each rule is broken."""

    @property
    def worst(self) -> list[tuple[str, str, int]]:
        """Rules that are broken, with what must hold, most often first."""
        broken = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [(rule_id, RULES[rule_id].statement, count) for rule_id, count in broken]


class ReleaseView(Lenient):
    """A release's own record."""

    release_id: str
    """Number and digest."""
    created_at: str = ""
    """When."""
    runtime: str = ""
    """What runs the network."""
    categories: tuple[str, ...] = ()
    """What it finds."""
    licences: tuple[str, ...] = ()
    """Terms."""
    use: str = ""
    """What the terms were checked for."""


@dataclass(frozen=True, slots=True)
class RoundPaths:
    """Where the artifacts of one round are; each may be None or lead nowhere.

    `release` is the manifest; `release_folder` is needed where that leads into a bucket.
    """

    dataset: Path | None = None
    model: Path | None = None
    analysis: Path | None = None
    predictions: Path | None = None
    evaluation: Path | None = None
    verification: Path | None = None
    verdict: Path | None = None
    release: Path | None = None
    release_folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """One round of training to publishing.

    Attributes:
        name: "round 1", "before" where only the data went on, or "this run" where there is one.
        golden_boxes: number of boxes that each golden request must get.
    """

    name: str
    dataset: Manifest | None = None
    model: Manifest | None = None
    analysis: Analysis | None = None
    predictions: Manifest | None = None
    evaluation: Evaluation | None = None
    average_precision: dict[str, Any] | None = None
    verification: VerificationView | None = None
    verdict: Verdict | None = None
    release: Manifest | None = None
    release_record: ReleaseView | None = None
    golden_boxes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """Everything a report can show.

    Attributes:
        rounds: one or two, the latest last.
        findings: of the check.
        audit: of the exported network.
        request: which frames were to be labelled between the rounds.
        recordings: how good the recordings are that the data comes from.
        deliveries: of labels, in the order in which they came.
        prelabels: figures of automatic labels.
    """

    rounds: tuple[Round, ...]
    findings: FindingsView | None = None
    audit: AuditView | None = None
    request: LabelRequest | None = None
    recordings: RecordingsView | None = None
    deliveries: tuple[DeliveryView, ...] = ()
    prelabels: Manifest | None = None

    @property
    def last(self) -> Round:
        """The latest round."""
        return self.rounds[-1]

    @property
    def first(self) -> Round | None:
        """The earlier round, where there are two."""
        return self.rounds[0] if len(self.rounds) > 1 else None

    @property
    def is_iteration(self) -> bool:
        """Whether only the data went on: there is no second model."""
        last = self.last
        results = (last.model, last.evaluation, last.verdict, last.release)
        return self.first is not None and all(result is None for result in results)


def read_round(name: str, paths: RoundPaths) -> Round:
    """Read the artifacts of one round.

    Raises:
        DataError: a file is there but damaged.
    """
    release = _manifest(paths.release)
    folder = paths.release_folder or _folder_of(release)
    return Round(
        name=name,
        dataset=_manifest(paths.dataset),
        model=_manifest(paths.model),
        analysis=_read(paths.analysis, ANALYSIS_FILE, Analysis),
        predictions=_manifest(paths.predictions),
        evaluation=_read(paths.evaluation, EVALUATION_FILE, Evaluation),
        average_precision=_read_json(paths.evaluation, AP_FILE),
        verification=_read(paths.verification, "verification.json", VerificationView),
        verdict=_read(paths.verdict, VERDICT_FILE, Verdict),
        release=release,
        release_record=_read(folder, "release.json", ReleaseView),
        golden_boxes=_golden_boxes(folder),
    )


def read_findings(path: Path | None) -> FindingsView | None:
    """Read a findings folder."""
    return _read(path, "findings.json", FindingsView)


def read_audit(path: Path | None) -> AuditView | None:
    """Read the audit in an exported folder."""
    return _read(path, "audit.json", AuditView)


def read_recordings(path: Path | None) -> RecordingsView | None:
    """Read what was measured of recordings, from the findings of `ingest`."""
    return _read(path, QUALITY_FILE, RecordingsView)


def read_deliveries(*paths: Path | None) -> tuple[DeliveryView, ...]:
    """Read the judgements of deliveries; those of absent ones are left out."""
    found = (_read(path, ACCEPTANCE_FILE, DeliveryView) for path in paths)
    return tuple(item for item in found if item is not None)


def read_manifest(path: Path | None) -> Manifest | None:
    """Read a manifest, or that in a folder."""
    return _manifest(path)


def read_request(path: Path | None) -> LabelRequest | None:
    """Read a label request."""
    return LabelRequest.read(path) if path is not None and path.exists() else None


def _manifest(path: Path | None) -> Manifest | None:
    if path is None:
        return None
    file = path / MANIFEST_FILE if path.is_dir() else path
    return Manifest.read_any(file) if file.is_file() and file.stat().st_size else None


def _folder_of(release: Manifest | None) -> Path | None:
    if release is None or "://" in release.uri:
        return None
    return Path(release.uri)


def _golden_boxes(folder: Path | None) -> tuple[tuple[str, int], ...]:
    if folder is None or not (folder / "golden").is_dir():
        return ()
    found = []
    for place in sorted((folder / "golden").iterdir()):
        answer = _read_json(place, "boxes.json")
        if answer is not None:
            found.append((place.name, len(answer.get("boxes", []))))
    return tuple(found)


def _read(folder: Path | None, name: str, kind: type[Kind]) -> Kind | None:
    values = _read_json(folder, name)
    return None if values is None else kind.parse(values, where=f"{folder}/{name}")


def _read_json(folder: Path | None, name: str) -> dict[str, Any] | None:
    if folder is None or not (folder / name).is_file():
        return None
    return read_json_object(folder / name, "run its step again")
