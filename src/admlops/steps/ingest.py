"""The step `ingest`: read a dataset format into the lake; quarantine bad frames."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from admlops.checks.rules import RULES
from admlops.collection.privacy import FrameBlur, PrivacyConfig, PrivateSource
from admlops.collection.screening import FrameScreen, ScreeningConfig
from admlops.config import Config
from admlops.errors import DataError
from admlops.files import write_folder_atomically
from admlops.formats.source import FrameSource, ReadOptions
from admlops.lake.known_labels import KnownLabels
from admlops.lake.staging import Merge, remove_orphans
from admlops.lake.store import Dataset
from admlops.lake.versions import AppendReport
from admlops.recordings.source import RecordingSource
from admlops.steps.intake import FINDINGS_FILE, QUARANTINE_FILE, Intake, read_parts
from admlops.steps.sources import is_data, open_source
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest


@dataclass(frozen=True, slots=True)
class IngestInputs:
    """What is read.

    Attributes:
        source: a folder or file in a format that can be read, with or without a manifest in it,
            or the manifest of one.
        parts: what `read` made of the source's shards, every one of them; where there are none,
            the source is read here.
    """

    source: Path
    parts: tuple[Path, ...] = ()


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
    lidar_returns: Literal["all", "first"] = "all"
    """Which returns of a lidar pulse become points, where the source tells them apart (Waymo)."""
    privacy: PrivacyConfig | None = None
    """What is blurred in all images before they are written, and by which detector."""
    screening: ScreeningConfig | None = None
    """Which frames of drives are not worth keeping; it needs the frames in order, so one shard."""

    def screen(self) -> FrameScreen | None:
        """Return what judges frames, if anything does."""
        return None if self.screening is None else FrameScreen(self.screening)

    def options(self) -> ReadOptions:
        """Return what of the source is read."""
        return ReadOptions(
            categories=self.categories,
            cameras=self.cameras,
            keyframes_only=self.keyframes_only,
            lidar_returns=self.lidar_returns,
        )


@dataclass(frozen=True, slots=True)
class OpenedSource:
    """A source, listed and not yet read.

    Attributes:
        frames: its frames by number.
        licences: its terms.
        digest: of its content; "" where it is not known.
        identity: tells it, and what is read of it, from others.
        privacy: what was blurred in its images, and by which detector; "" for nothing.
    """

    frames: FrameSource
    licences: tuple[str, ...]
    digest: str
    identity: str
    privacy: str = ""

    @property
    def recordings(self) -> RecordingSource | None:
        """The recordings that the frames come from, if they do."""
        listed = self.frames.source if isinstance(self.frames, PrivateSource) else self.frames
        return listed if isinstance(listed, RecordingSource) else None


def ingest(inputs: IngestInputs, outputs: IngestOutputs, config: IngestConfig) -> Scores:
    """Read a folder into the lake; bad frames are left out, each with a rule's ID and a reason.

    Frames that the lake holds already are not added again, so a killed run is resumed by running
    it again; a source that was ingested before leads to the version that it led to then. Shards
    that were read before become one version at once, which holds what reading the source here
    would give.

    Raises:
        DataError: the source is no dataset, parts are missing or of another source, or more than
            `max_quarantine_share` is bad.
        ServiceError: the object store failed.
    """
    opened = open_for_reading(inputs.source, config)
    dataset = Dataset.create(config.lake_uri, licences=opened.licences)
    known = KnownLabels.open(config.lake_uri)
    with write_folder_atomically(outputs.findings) as draft:
        with (draft / QUARANTINE_FILE).open("w") as quarantine:
            intake = Intake(opened.frames, known, quarantine, screen=config.screen())
            intake.add_source()
            if inputs.parts:
                report = _merge(dataset, intake, inputs.parts, opened.identity)
                dataset = Dataset.open(dataset.uri)
            else:
                report = dataset.append(intake.frames(range(len(opened.frames))))
            intake.add_conflicts(report.conflicts)
            intake.add_unused(config.categories)
        intake.write_findings(draft / FINDINGS_FILE)
        if opened.recordings is not None:
            from admlops.analysis.recording_page import write_quality

            write_quality(draft, opened.recordings.qualities, opened.recordings.unreadable)
    share = intake.num_quarantined / intake.num_listed
    if share > config.max_quarantine_share:
        raise DataError(_explain(intake, share, config, outputs.findings))
    scores = {
        "num_frames": float(intake.num_listed),
        "num_added": float(report.num_added),
        "num_present": float(report.num_present),
        "num_quarantined": float(intake.num_quarantined),
        "num_dropped": float(intake.num_dropped),
        "num_labels_ignored": float(intake.num_labels_ignored),
        "quarantine_share": share,
    }
    dataset = _settle(dataset, report, opened)
    dataset.manifest(_provenance(opened), scores).write(outputs.dataset)
    return scores


def _provenance(opened: OpenedSource) -> dict[str, str]:
    root = str(opened.frames.root)
    provenance = {"step": "ingest", "source": root, "source_digest": opened.digest}
    if opened.privacy:
        provenance["privacy"] = opened.privacy
    if opened.recordings is not None and opened.recordings.pose_sources:
        provenance["poses"] = "; ".join(opened.recordings.pose_sources)
    return provenance


def open_for_reading(source: Path, config: IngestConfig) -> OpenedSource:
    """List the frames of a source.

    Raises:
        ConfigError: there is no such format, or the detector of what is blurred cannot be loaded.
        DataError: it is no dataset, or has no frames.
    """
    root, licences, digest = _find_source(source)
    frames = open_source(root, config.format, config.options())
    privacy = ""
    if config.privacy is not None:
        blur = FrameBlur(config.privacy)
        frames, privacy = PrivateSource(frames, blur), blur.provenance
    if len(frames) + frames.num_refused == 0:
        raise DataError(f"{root}: no frames; the folder is empty, or not whole")
    options = json.dumps(config.options().to_json_dict(), sort_keys=True)
    screening = "" if config.screening is None else config.screening.model_dump_json()
    identity = hashlib.sha256(f"{digest} {options}{privacy}{screening}".encode()).hexdigest()
    return OpenedSource(frames, licences, digest, identity, privacy)


def _find_source(source: Path) -> tuple[Path, tuple[str, ...], str]:
    """Return the folder, its licences and its digest ("" where it is not known)."""
    if source.is_dir():
        own = source / "manifest.json"
        if not own.is_file():
            return source.resolve(), (), ""
        manifest = Manifest.read(own, "source")  # written elsewhere: its uri leads nowhere here
        return source.resolve(), manifest.licences, manifest.digest
    if not source.exists():
        raise DataError(f"{source}: no such file or folder")
    if is_data(source):
        return source.resolve(), (), ""
    manifest = Manifest.read(source, "source")
    folder = Path(manifest.uri)
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, though {source} names it; collect it again")
    return folder, manifest.licences, manifest.digest


def _merge(
    dataset: Dataset, intake: Intake, folders: Sequence[Path], identity: str
) -> AppendReport:
    """Make one version of shards; what cannot be taken as it is, is read again."""
    parts = read_parts(folders, identity, len(intake.source))
    merge = Merge.begin(dataset.uri)
    for part, folder in parts:
        if merge.take(part.staged):
            intake.add_part(part, folder)
        else:
            merge.add(intake.frames(part.numbers))
    report = merge.commit()
    remove_orphans(dataset.uri)
    return report


def _settle(dataset: Dataset, report: AppendReport, opened: OpenedSource) -> Dataset:
    """Tag the version that holds the source; return the one tagged before if nothing is new.

    So a repeated run leads to the same version, whatever was labelled in the meantime.
    """
    if not opened.digest:
        return dataset
    tag = f"source-{opened.identity[:16]}"
    if tag not in dataset.tags():
        dataset.tag(tag)
    elif report.num_added == 0:
        return Dataset.open(f"{dataset.uri}@{tag}")
    return dataset


def _explain(intake: Intake, share: float, config: IngestConfig, findings: Path) -> str:
    errors = {
        rule_id: count
        for rule_id, count in intake.log.counts.most_common()
        if RULES[rule_id].severity == "error"
    }
    counts = ", ".join(f"{rule_id} {count} times" for rule_id, count in errors.items())
    first = intake.log.ordered()[0]
    return (
        f"{intake.source.root}: {intake.num_quarantined} of {intake.num_listed} frames "
        f"({share:.1%}) are bad, more than max_quarantine_share "
        f"{config.max_quarantine_share:.1%}: {counts}; see {findings / FINDINGS_FILE}. "
        f"The first: {first}"
    )
