"""The annotation guideline: what annotators of a dataset must know, as one printable HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

import numpy as np

from admlops.analysis.charts import draw_coverage
from admlops.analysis.coverage import Coverage, measure_coverage
from admlops.analysis.distributions import SizeQuantiles
from admlops.analysis.pages import render_page
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.examples import (
    Example,
    choose_edge_cases,
    choose_examples,
    choose_overview,
)
from admlops.lake.query import quoted
from admlops.lake.store import Dataset
from admlops.reporting.example_pictures import draw_example
from admlops.reporting.labels import draw_labels_from_above, draw_labels_in_image
from admlops.reporting.schematics import draw_conventions, draw_rules
from admlops.reporting.wording import describe_acceptance, describe_formats, describe_rules
from admlops.structures.frame import Frame

OCCLUSION_WORDS = {-1: "not known", 0: "visible", 1: "partly", 2: "largely", 3: "not judged"}
CHAPTERS = (
    ("purpose", "What this is for"),
    ("boxes", "How a box is drawn"),
    ("what", "What is labelled"),
    ("categories", "Categories"),
    ("attributes", "Attributes"),
    ("edges", "Edge cases"),
    ("counts", "How much is needed"),
    ("delivery", "Delivery"),
    ("acceptance", "Acceptance"),
)


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example with its picture.

    Attributes:
        example: what it shows.
        picture: data URI.
        facts: the box in numbers.
        source: which frame it is from.
    """

    example: Example
    picture: str
    facts: str
    source: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a dataset adds to a guideline; all of it may be absent.

    Attributes:
        reference: name and version of the dataset, not where it is; "" where there is none.
        licences: terms that its pictures carry.
        overview: data URIs of a labelled frame, in the image and from above; "" where absent.
        examples: pictures by category.
        edge_cases: pictures of what annotators ask about.
        sizes: sizes of the labelled boxes by category.
        coverage: counts needed against counts held.
    """

    reference: str = ""
    licences: tuple[str, ...] = ()
    overview: tuple[str, str] = ("", "")
    examples: Mapping[str, Sequence[ShownExample]] = field(default_factory=dict)
    edge_cases: Sequence[ShownExample] = ()
    sizes: Mapping[str, SizeQuantiles] = field(default_factory=dict)
    coverage: Coverage | None = None


def collect_evidence(dataset: Dataset, definition: DatasetDefinition) -> Evidence:
    """Choose and draw examples of a dataset version, and count what it holds.

    Raises:
        DataError: the dataset cannot be read.
    """
    needed = definition.requirement
    return Evidence(
        reference=f"{dataset.uri.rstrip('/').rpartition('/')[2]}@{dataset.version}",
        licences=dataset.licences,
        overview=_draw_overview(dataset, definition),
        examples={
            name: [_show(dataset, item) for item in found]
            for name, found in choose_examples(dataset, definition).items()
        },
        edge_cases=[_show(dataset, item) for item in choose_edge_cases(dataset, definition)],
        sizes={item.category: item for item in _measure_sizes(dataset, definition)},
        coverage=None if needed is None else measure_coverage(dataset, needed),
    )


def render_guideline(definition: DatasetDefinition, evidence: Evidence) -> str:
    """Return the guideline as one HTML page; the same input gives the same bytes."""
    coverage = evidence.coverage
    return render_page(
        "guideline.html",
        package="admlops.reporting",
        definition=definition,
        evidence=evidence,
        chapters=[
            (number, anchor, name) for number, (anchor, name) in enumerate(CHAPTERS, start=1)
        ],
        rules=describe_rules(definition),
        formats=describe_formats(definition),
        acceptance=describe_acceptance(definition),
        conventions_figure=draw_conventions(),
        rules_figure=draw_rules(definition.rules),
        cells=list(definition.requirement.cells()) if definition.requirement else [],
        coverage_figure=None if coverage is None else draw_coverage(coverage),
        version=version("admlops"),
    )


def _draw_overview(dataset: Dataset, definition: DatasetDefinition) -> tuple[str, str]:
    row = choose_overview(dataset, definition)
    if row is None:
        return "", ""
    (frame,) = dataset.take([row], lidar=True, camera=True)
    above = "" if frame.lidar is None else draw_labels_from_above(frame)
    return draw_labels_in_image(frame) or "", above


def _measure_sizes(dataset: Dataset, definition: DatasetDefinition) -> list[SizeQuantiles]:
    """Return exact quantiles: those that the analysis estimates may differ in the last digit."""
    names = ", ".join(
        f"({quoted(source)}, {quoted(name)})"
        for source, name in definition.names_by_source().items()
    )
    parts = ", ".join(
        f"quantile_cont({axis}, [0.1, 0.5, 0.9]) AS {axis}"
        for axis in ("length_m", "width_m", "height_m")
    )
    sql = (
        f"SELECT ours.name AS category, count(*) AS num_boxes, {parts} FROM boxes "
        f"JOIN (VALUES {names}) AS ours(source, name) ON category = ours.source "
        "GROUP BY 1 ORDER BY 1"
    )
    return [SizeQuantiles.parse(row) for row in dataset.query(sql).to_pylist()]


def _show(dataset: Dataset, example: Example) -> ShownExample:
    (frame,) = dataset.take([example.row], lidar=True, camera=True, other_cameras=True)
    if frame.boxes is None:
        raise ValueError(f"frame {frame.key} has no labels")
    apart = np.abs(frame.boxes.center_m - np.array(example.center_m)).sum(axis=1)
    index = int(apart.argmin())
    tags = f", {', '.join(frame.tags)}" if frame.tags else ""
    return ShownExample(
        example=example,
        picture=draw_example(frame, index),
        facts=_facts(frame, index),
        source=f"{frame.key.log}/{frame.key.scene}, frame {frame.frame_id}{tags}",
    )


def _facts(frame: Frame, index: int) -> str:
    boxes = frame.boxes
    if boxes is None:
        return ""
    length_m, width_m, height_m = boxes.size_m[index]
    range_m = np.hypot(*boxes.center_m[index, :2])
    facts = [f"{range_m:.0f} m away", f"{length_m:.1f} x {width_m:.1f} x {height_m:.1f} m"]
    if boxes.num_points[index] >= 0:
        facts.insert(1, f"{boxes.num_points[index]} points")
    if boxes.occlusion[index] > 0:
        facts.append(f"{OCCLUSION_WORDS.get(int(boxes.occlusion[index]), 'not known')} occluded")
    if boxes.truncation[index] > 0:
        facts.append(f"{boxes.truncation[index]:.0%} outside the image")
    return ", ".join(facts)
