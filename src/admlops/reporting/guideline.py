"""The annotation guideline: what annotators of a dataset must know, as one printable HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from admlops.analysis.charts import draw_coverage
from admlops.analysis.coverage import Coverage, measure_coverage
from admlops.analysis.distributions import SizeQuantiles
from admlops.analysis.pages import render_page
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.examples import choose_edge_cases, choose_examples, choose_overview
from admlops.annotation.image_examples import (
    ONLY_IN_IMAGES,
    choose_image_edge_cases,
    choose_image_examples,
    choose_image_overview,
)
from admlops.lake.query import quoted
from admlops.lake.store import Dataset
from admlops.reporting.image_example_pictures import camera_of
from admlops.reporting.labels import (
    draw_image_labels,
    draw_labels_from_above,
    draw_labels_in_image,
)
from admlops.reporting.schematics import draw_conventions, draw_rules
from admlops.reporting.shown_examples import (
    ImageSizes,
    ShownExample,
    measure_image_sizes,
    show_in_images,
    show_in_space,
)
from admlops.reporting.wording import describe_acceptance, describe_formats, describe_rules

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
class Evidence:
    """What a dataset adds to a guideline; all of it may be absent.

    Attributes:
        reference: name and version of the dataset, not where it is; "" where there is none.
        licences: terms that its pictures carry.
        overview: data URIs of a labelled frame, in the image and from above; "" where absent.
        examples: pictures of boxes in space by category.
        edge_cases: pictures of what annotators ask about.
        image_examples: pictures of boxes in images by category, of frames without boxes in space.
        image_edge_cases: likewise.
        sizes: sizes of the labelled boxes by category.
        image_sizes: sizes of the labelled boxes in these images by category.
        unasked: number of frames with boxes in images alone, where the definition has none.
        coverage: counts needed against counts held.
    """

    reference: str = ""
    licences: tuple[str, ...] = ()
    overview: tuple[str, str] = ("", "")
    examples: Mapping[str, Sequence[ShownExample]] = field(default_factory=dict)
    edge_cases: Sequence[ShownExample] = ()
    image_examples: Mapping[str, Sequence[ShownExample]] = field(default_factory=dict)
    image_edge_cases: Sequence[ShownExample] = ()
    sizes: Mapping[str, SizeQuantiles] = field(default_factory=dict)
    image_sizes: Mapping[str, ImageSizes] = field(default_factory=dict)
    unasked: int = 0
    coverage: Coverage | None = None

    def examples_of(self, category: str) -> list[ShownExample]:
        """Return the pictures of a category, those in space first."""
        in_images = self.image_examples.get(category, ())
        return [*self.examples.get(category, ()), *in_images]


def collect_evidence(dataset: Dataset, definition: DatasetDefinition) -> Evidence:
    """Choose and draw examples of a dataset version, and count what it holds.

    Raises:
        DataError: the dataset cannot be read.
    """
    needed = definition.requirement
    asks_images = "image_box" in definition.shapes
    return Evidence(
        reference=f"{dataset.uri.rstrip('/').rpartition('/')[2]}@{dataset.version}",
        licences=dataset.licences,
        overview=_draw_overview(dataset, definition),
        examples={
            name: [show_in_space(dataset, item) for item in found]
            for name, found in choose_examples(dataset, definition).items()
        },
        edge_cases=[
            show_in_space(dataset, item) for item in choose_edge_cases(dataset, definition)
        ],
        image_examples=_show_by_category(dataset, definition) if asks_images else {},
        image_edge_cases=(
            show_in_images(dataset, choose_image_edge_cases(dataset, definition))
            if asks_images
            else ()
        ),
        image_sizes=measure_image_sizes(dataset, definition) if asks_images else {},
        unasked=0 if asks_images else len(dataset.rows_where(ONLY_IN_IMAGES)),
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
        return _draw_image_overview(dataset, definition), ""
    (frame,) = dataset.take([row], lidar=True, camera=True)
    above = "" if frame.lidar is None else draw_labels_from_above(frame)
    return draw_labels_in_image(frame) or "", above


def _draw_image_overview(dataset: Dataset, definition: DatasetDefinition) -> str:
    asks_images = "image_box" in definition.shapes
    place = choose_image_overview(dataset, definition) if asks_images else None
    if place is None:
        return ""
    (frame,) = dataset.take([place[0]], lidar=False, camera=True, other_cameras=True)
    camera = camera_of(frame, place[1])
    return "" if camera is None else draw_image_labels(frame, camera)


def _show_by_category(
    dataset: Dataset, definition: DatasetDefinition
) -> dict[str, list[ShownExample]]:
    chosen = choose_image_examples(dataset, definition)
    return {name: show_in_images(dataset, found) for name, found in chosen.items()}


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
