"""The analysis of a dataset version: distributions, coverage and request, as JSON and HTML."""

from collections.abc import Sequence
from pathlib import Path

from admlops.analysis.charts import draw_coverage, draw_distributions, draw_drives
from admlops.analysis.comparison import Comparison, compare_versions
from admlops.analysis.coverage import (
    CollectionRequest,
    Coverage,
    measure_coverage,
    request_collection,
)
from admlops.analysis.distributions import Distributions, count_distributions
from admlops.analysis.drives import Drives, describe_drives
from admlops.analysis.duplicates import KINDS, Duplicates, describe_duplicates
from admlops.analysis.pages import render_page
from admlops.analysis.requirement import Requirement
from admlops.config import Config
from admlops.lake.store import Dataset
from admlops.likeness.duplicates import DuplicateRule

ANALYSIS_FILE = "analysis.json"
ANALYSIS_PAGE = "analysis.html"
REQUEST_FILE = "request.json"


class Analysis(Config):
    """What a dataset version holds, and what it lacks."""

    dataset: str
    """Reference of the dataset version."""
    digest: str
    """Its content digest."""
    distributions: Distributions
    """Counts of frames and boxes."""
    drives: Drives
    """What is known of drives, sources and tracks."""
    duplicates: Duplicates
    """Frames that repeat others."""
    coverage: Coverage
    """The requirement, cell by cell."""
    request: CollectionRequest
    """What to record to close the gaps."""
    comparison: Comparison | None = None
    """What has changed since an earlier version, where one was given."""

    @classmethod
    def read(cls, folder: Path) -> "Analysis":
        """Read `analysis.json` of an analysis folder.

        Raises:
            ConfigError: the file is absent or holds something else.
        """
        return cls.load(folder / ANALYSIS_FILE)

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        cells, gaps = len(self.coverage.cells), len(self.coverage.gaps)
        name = self.coverage.requirement.name
        if gaps == 0:
            return f"All {cells} cells of the requirement {name!r} hold what they must."
        return (
            f"{cells - gaps} of {cells} cells of the requirement {name!r} hold what they must; "
            f"{gaps} fall short."
        )


def analyze_dataset(
    dataset: Dataset,
    requirement: Requirement,
    rule: DuplicateRule | None = None,
    earlier: Dataset | None = None,
) -> Analysis:
    """Count a dataset version and hold it against a requirement.

    Args:
        dataset: a version.
        requirement: what it must hold.
        rule: when frames repeat each other; None finds exact copies alone.
        earlier: the version to compare with.

    Raises:
        DataError: the dataset cannot be read.
    """
    coverage = measure_coverage(dataset, requirement)
    return Analysis(
        dataset=dataset.reference,
        digest=dataset.digest,
        distributions=count_distributions(dataset),
        drives=describe_drives(dataset),
        duplicates=describe_duplicates(dataset, rule),
        coverage=coverage,
        request=request_collection(coverage, dataset.reference),
        comparison=compare_versions(earlier, dataset) if earlier is not None else None,
    )


def render_analysis(analysis: Analysis, pictures: Sequence[tuple[str, str]] = ()) -> str:
    """Return the analysis as one HTML page.

    Args:
        analysis: what is shown.
        pictures: data URIs of both frames of the first examples of duplicates.
    """
    counts = analysis.distributions
    repeats = analysis.duplicates
    cards = [
        ("frames", f"{counts.num_frames:,}", ""),
        ("labelled frames", f"{counts.num_labelled_frames:,}", ""),
        ("scenes", f"{counts.num_scenes:,}", ""),
        ("boxes", f"{counts.num_boxes:,}", ""),
        *([("boxes in images", f"{counts.num_boxes_2d:,}", "")] if counts.num_boxes_2d else []),
        (
            f"repeated ({repeats.num_leaks:,} leaks)" if repeats.leaks else "repeated frames",
            f"{repeats.total.num_repeats:,}",
            "bad" if repeats.leaks else "",
        ),
        ("requirement met", f"{analysis.coverage.share_met:.0%}", ""),
    ]
    return render_page(
        "analysis.html",
        analysis=analysis,
        cards=cards,
        figures=[*draw_distributions(counts), *draw_drives(analysis.drives)],
        kinds=KINDS,
        pictures=pictures,
        coverage_figure=draw_coverage(analysis.coverage),
    )
