"""The step `analyze`: show distributions, coverage of a requirement, and gaps."""

import json
from dataclasses import dataclass
from pathlib import Path

from admlops.analysis.analysis import (
    ANALYSIS_FILE,
    ANALYSIS_PAGE,
    REQUEST_FILE,
    Analysis,
    analyze_dataset,
    render_analysis,
)
from admlops.analysis.duplicate_pictures import picture_pairs
from admlops.analysis.requirement import Requirement
from admlops.annotation.definition import load_requirement
from admlops.config import Config
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.store import Dataset
from admlops.likeness.duplicates import DuplicateRule
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest


@dataclass(frozen=True, slots=True)
class AnalyzeInputs:
    """What is read.

    Attributes:
        dataset: manifest of a dataset version.
        earlier: manifest of the version to compare with.
    """

    dataset: Path
    earlier: Path | None = None


@dataclass(frozen=True, slots=True)
class AnalyzeOutputs:
    """What is written.

    Attributes:
        analysis: folder of `analysis.json`, `analysis.html` and `request.json`.
    """

    analysis: Path


class AnalyzeConfig(Config):
    """What the dataset is held against, and what repeats itself."""

    requirement_file: str = ""
    """YAML file with a requirement, or a definition (a shipped one's name, or its YAML file), whose
    counts are needed; replaces the field `requirement`."""
    requirement: Requirement = Requirement()
    """What the dataset must hold."""
    duplicates: DuplicateRule | None = DuplicateRule()
    """When frames repeat each other: every front image and cloud is read to find out. None finds
    exact copies alone, and reads labels only."""


def analyze(inputs: AnalyzeInputs, outputs: AnalyzeOutputs, config: AnalyzeConfig) -> Scores:
    """Count a dataset version, find repetitions, compare, and say what to record next.

    Raises:
        DataError: the dataset cannot be read.
        ConfigError: the requirement file is wrong.
    """
    requirement = config.requirement
    if config.requirement_file:
        requirement = load_requirement(config.requirement_file)
    dataset = _open(inputs.dataset)
    earlier = _open(inputs.earlier) if inputs.earlier is not None else None
    analysis = analyze_dataset(dataset, requirement, config.duplicates, earlier)
    pictures = picture_pairs(dataset, analysis.duplicates.examples)
    with write_folder_atomically(outputs.analysis) as folder:
        for name, part in ((ANALYSIS_FILE, analysis), (REQUEST_FILE, analysis.request)):
            write_atomically(folder / name, json.dumps(part.to_json_dict(), indent=2) + "\n")
        write_atomically(folder / ANALYSIS_PAGE, render_analysis(analysis, pictures))
    return _scores(analysis)


def _open(manifest: Path) -> Dataset:
    return Dataset.open(Manifest.read(manifest, "dataset").reference)


def _scores(analysis: Analysis) -> Scores:
    counts = analysis.distributions
    changes = analysis.comparison.scores if analysis.comparison is not None else {}
    return changes | {
        "num_frames": float(counts.num_frames),
        "num_labelled_frames": float(counts.num_labelled_frames),
        "num_scenes": float(counts.num_scenes),
        "num_boxes": float(counts.num_boxes),
        "num_boxes_2d": float(counts.num_boxes_2d),
        "num_sources": float(len(analysis.drives.sources)),
        "num_duplicates": float(analysis.duplicates.total.num_repeats),
        "num_split_leaks": float(analysis.duplicates.num_leaks),
        "num_gaps": float(len(analysis.coverage.gaps)),
        "share_of_requirement_met": analysis.coverage.share_met,
    }
