"""The step `ingest`: read a dataset format into the lake; quarantine bad frames."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.checks.findings import FindingLog
from admlops.checks.rules import RULES, find
from admlops.config import Config
from admlops.errors import DataError
from admlops.files import write_atomically, write_folder_atomically
from admlops.formats.source import FrameSource, Mapped, ReadOptions
from admlops.lake.store import Dataset
from admlops.lake.versions import AppendReport
from admlops.recordings.source import RecordingSource
from admlops.steps.sources import is_data, open_source
from admlops.steps.step import Scores
from admlops.structures.finding import Finding
from admlops.structures.frame import Frame
from admlops.structures.manifest import Manifest

FINDINGS_FILE = "findings.json"
QUARANTINE_FILE = "quarantine.jsonl"


@dataclass(frozen=True, slots=True)
class IngestInputs:
    """What is read.

    Attributes:
        source: a folder or file in a format that can be read, with or without a manifest in it,
            or the manifest of one.
    """

    source: Path


@dataclass(frozen=True, slots=True)
class IngestOutputs:
    """What is written.

    Attributes:
        dataset: manifest of the dataset version that holds the source's good frames.
        findings: folder of `findings.json`, what is wrong with the others by rule and what became
            of the source's categories, and of `quarantine.jsonl`, one line for every reason to
            leave a frame out; of recordings also `quality.json` and `quality.html`.
    """

    dataset: Path
    findings: Path


class IngestConfig(Config):
    """Where frames go, and how many may be bad."""

    lake_uri: str = "data/lake"
    """Folder or s3:// URI of the dataset; it is made, or added to."""
    max_quarantine_share: float = Field(default=0.05, ge=0, le=1)
    """The step fails when a larger share of the frames is quarantined."""
    format: str = "auto"
    """The source's format; "auto" tells it by its files."""
    categories: dict[str, str] = Field(default_factory=dict)
    """Our category of names in the source, beside the format's own table; "" leaves boxes out."""
    cameras: Literal["all", "front", "none"] = "all"
    """Whose images are read, where the source has several."""
    keyframes_only: bool = False
    """Whether frames between the annotated ones are passed over."""

    def options(self) -> ReadOptions:
        """Return what of the source is read."""
        return ReadOptions(
            categories=self.categories, cameras=self.cameras, keyframes_only=self.keyframes_only
        )


@dataclass
class _Intake:
    """Feeds good frames to the lake and keeps account of the rest."""

    source: FrameSource
    quarantine: TextIO
    log: FindingLog = field(default_factory=FindingLog)
    mapped: Mapped = field(default_factory=Counter)
    num_quarantined: int = 0

    def __post_init__(self) -> None:
        self.note(self.source.findings)
        self.num_quarantined = self.source.num_refused

    def note(self, findings: tuple[Finding, ...]) -> None:
        for finding in findings:
            self.log.add(finding.rule.rule_id, finding.where, finding.what)
            if finding.rule.severity == "error":
                self.quarantine.write(json.dumps(finding.to_json_dict()) + "\n")

    @property
    def num_listed(self) -> int:
        return len(self.source) + self.source.num_refused

    def frames(self) -> Iterator[Frame]:
        console = Console(stderr=True)
        numbers = range(len(self.source))
        for number in track(numbers, description="ingest", console=console):
            result = self.source.read(number)
            self.note(result.findings)
            self.mapped.update(result.mapped)
            if result.frame is None:
                self.num_quarantined += 1
            else:
                yield result.frame

    def refuse_conflicts(self, report: AppendReport) -> None:
        for key in report.conflicts:
            what = "the dataset holds other sensor data under this key"
            self.note((find("READ015", str(key), what),))
        self.num_quarantined += len(report.conflicts)


def ingest(inputs: IngestInputs, outputs: IngestOutputs, config: IngestConfig) -> Scores:
    """Read a folder into the lake; bad frames are left out, each with a rule's ID and a reason.

    Frames that the lake holds already are not added again, so a killed run is resumed by running
    it again; a source that was ingested before leads to the version that it led to then.

    Raises:
        DataError: the source is no dataset, or more than `max_quarantine_share` is bad.
        ServiceError: the object store failed.
    """
    root, licences, source_digest = _open_source(inputs.source)
    source = open_source(root, config.format, config.options())
    if len(source) + source.num_refused == 0:
        raise DataError(f"{root}: no frames; the folder is empty, or not whole")
    dataset = Dataset.create(config.lake_uri, licences=licences)
    with write_folder_atomically(outputs.findings) as draft:
        with (draft / QUARANTINE_FILE).open("w") as quarantine:
            intake = _Intake(source, quarantine)
            report = dataset.append(intake.frames())
            intake.refuse_conflicts(report)
        _write_findings(draft, intake, root)
        if isinstance(source, RecordingSource):
            from admlops.analysis.recording_page import write_quality

            write_quality(draft, source.qualities)
    share = intake.num_quarantined / intake.num_listed
    if share > config.max_quarantine_share:
        raise DataError(_explain(intake, root, share, config, outputs.findings))
    scores = {
        "num_frames": float(intake.num_listed),
        "num_added": float(report.num_added),
        "num_present": float(report.num_present),
        "num_quarantined": float(intake.num_quarantined),
        "quarantine_share": share,
    }
    dataset = _settle(dataset, report, source_digest, config)
    provenance = {"step": "ingest", "source": str(root), "source_digest": source_digest}
    dataset.manifest(provenance, scores).write(outputs.dataset)
    return scores


def _open_source(source: Path) -> tuple[Path, tuple[str, ...], str]:
    """Return the folder, its licences and its digest ("" where it is not known)."""
    if source.is_dir():
        own = source / "manifest.json"
        if not own.is_file():
            return source.resolve(), (), ""
        manifest = Manifest.read(own, "source")  # written elsewhere: its uri leads nowhere here
        return source.resolve(), manifest.licences, manifest.digest
    if is_data(source):
        return source.resolve(), (), ""
    manifest = Manifest.read(source, "source")
    folder = Path(manifest.uri)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, though {source} names it; collect it again")
    return folder, manifest.licences, manifest.digest


def _settle(
    dataset: Dataset, report: AppendReport, source_digest: str, config: IngestConfig
) -> Dataset:
    """Tag the version that holds the source; return the one tagged before if nothing is new.

    So a repeated run leads to the same version, whatever was labelled in the meantime.
    """
    if not source_digest:
        return dataset
    options = json.dumps(config.options().to_json_dict(), sort_keys=True)
    digest = hashlib.sha256(f"{source_digest} {options}".encode()).hexdigest()
    tag = f"source-{digest[:16]}"
    if tag not in dataset.tags():
        dataset.tag(tag)
    elif report.num_added == 0:
        return Dataset.open(f"{dataset.uri}@{tag}")
    return dataset


def _write_findings(folder: Path, intake: _Intake, root: Path) -> None:
    log = intake.log
    values = {
        "subject": str(root),
        "num_frames": intake.num_listed,
        "num_quarantined": intake.num_quarantined,
        "num_places": {name: log.count(name) for name in ("error", "warning", "info")},
        "rules": dict(sorted(log.counts.items())),
        "categories": [
            {"source": name, "ours": ours, "num_boxes": count}
            for (name, ours), count in sorted(intake.mapped.items())
        ],
        "findings": [finding.to_json_dict() for finding in log.ordered()],
    }
    write_atomically(folder / FINDINGS_FILE, json.dumps(values, indent=2) + "\n")


def _explain(
    intake: _Intake, root: Path, share: float, config: IngestConfig, findings: Path
) -> str:
    errors = {
        rule_id: count
        for rule_id, count in intake.log.counts.most_common()
        if RULES[rule_id].severity == "error"
    }
    counts = ", ".join(f"{rule_id} {count} times" for rule_id, count in errors.items())
    first = intake.log.ordered()[0]
    return (
        f"{root}: {intake.num_quarantined} of {intake.num_listed} frames ({share:.1%}) are bad, "
        f"more than max_quarantine_share {config.max_quarantine_share:.1%}: {counts}; see "
        f"{findings / FINDINGS_FILE}. The first: {first}"
    )
