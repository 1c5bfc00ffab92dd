"""Distributions of a dataset's frames and boxes, counted by DuckDB where the data lies."""

import pyarrow as pa

from admlops.analysis.histogram import Histogram, bin_sql, make_histogram, span_labels
from admlops.config import Config
from admlops.lake.store import Dataset

RANGE_STEP_M = 10
YAW_STEP_DEG = 30
POINT_EDGES = (1, 5, 10, 20, 50, 100, 200, 500)
OCCLUSION_NAMES = {0: "visible", 1: "partly", 2: "largely", 3: "not judged"}


class SizeQuantiles(Config):
    """Length, width and height of one category."""

    category: str
    """Category."""
    num_boxes: int
    """Boxes of it."""
    length_m: tuple[float, float, float]
    """10, 50 and 90 % of the lengths are below."""
    width_m: tuple[float, float, float]
    """10, 50 and 90 % of the widths are below."""
    height_m: tuple[float, float, float]
    """10, 50 and 90 % of the heights are below."""


class Distributions(Config):
    """What a dataset version holds, counted."""

    num_frames: int
    """Frames."""
    num_labelled_frames: int
    """Frames with labels, empty ones included."""
    num_scenes: int
    """Scenes."""
    num_boxes: int
    """Boxes in space."""
    num_boxes_2d: int = 0
    """Boxes in images."""
    histograms: tuple[Histogram, ...]
    """One per property."""
    sizes: tuple[SizeQuantiles, ...]
    """One per category."""

    def histogram(self, name: str) -> Histogram:
        """Return the histogram of a name."""
        return next(item for item in self.histograms if item.name == name)


def count_distributions(dataset: Dataset) -> Distributions:
    """Count everything in a few passes over the labels; memory does not grow with the frames."""
    total = dataset.query(
        "SELECT count(*) AS frames, count(*) FILTER (is_keyframe) AS labelled, "
        "count(DISTINCT (log, scene)) AS scenes, coalesce(sum(num_boxes), 0) AS boxes, "
        "coalesce(sum(num_boxes_2d), 0) AS boxes_2d FROM frames"
    ).to_pylist()[0]
    return Distributions(
        num_frames=total["frames"],
        num_labelled_frames=total["labelled"],
        num_scenes=total["scenes"],
        num_boxes=int(total["boxes"]),
        num_boxes_2d=int(total["boxes_2d"]),
        histograms=(
            _splits(dataset),
            _conditions(dataset),
            _boxes_per_frame(dataset),
            *_box_histograms(dataset),
        ),
        sizes=_sizes(dataset),
    )


def _splits(dataset: Dataset) -> Histogram:
    table = dataset.query(
        "SELECT coalesce(nullif(split, ''), 'none') AS bin, "
        "CASE WHEN is_keyframe THEN 'labelled' ELSE 'unlabelled' END AS series, "
        "count(*) AS n FROM frames GROUP BY ALL ORDER BY bin"
    )
    labels = list(dict.fromkeys(table["bin"].to_pylist()))
    return make_histogram("splits", "Frames by split", "split", labels, table)


def _conditions(dataset: Dataset) -> Histogram:
    table = dataset.query(
        "SELECT bin, series, count(*) AS n FROM (SELECT "
        "unnest(CASE WHEN len(tags) > 0 THEN tags ELSE ['untagged'] END) AS bin, "
        "coalesce(nullif(split, ''), 'none') AS series FROM frames) GROUP BY ALL ORDER BY bin"
    )
    labels = list(dict.fromkeys(table["bin"].to_pylist()))
    return make_histogram("conditions", "Frames by condition", "condition", labels, table)


def _boxes_per_frame(dataset: Dataset) -> Histogram:
    edges = (0, 1, 2, 5, 10, 20, 50)
    table = dataset.query(
        f"SELECT {bin_sql('num_boxes', edges)} AS bin, 'frames' AS series, count(*) AS n "
        "FROM frames WHERE num_boxes IS NOT NULL GROUP BY ALL"
    )
    labels = span_labels(edges)
    return make_histogram("boxes_per_frame", "Boxes per frame", "boxes in the frame", labels, table)


def _box_histograms(dataset: Dataset) -> list[Histogram]:
    """Return the histograms of boxes, from one pass that groups by every property at once."""
    range_bin = f"least(floor(sqrt(x_m * x_m + y_m * y_m) / {RANGE_STEP_M}), 9)::INT"
    yaw_bin = f"(floor((degrees(yaw_rad) + 180) / {YAW_STEP_DEG})::INT % {360 // YAW_STEP_DEG})"
    points = bin_sql("num_points", (0, *POINT_EDGES))
    table = dataset.query(
        "SELECT category AS series, GROUPING(range_bin, yaw_bin, points, occlusion) AS missing, "
        "range_bin, yaw_bin, points, occlusion, count(*) AS n FROM ("
        f"SELECT category, {range_bin} AS range_bin, {yaw_bin} AS yaw_bin, {points} AS points, "
        "coalesce(occlusion, -1) AS occlusion FROM boxes) GROUP BY GROUPING SETS "
        "((category), (category, range_bin), (category, yaw_bin), (category, points), "
        "(category, occlusion))"
    )
    ranges = [f"{low}-{low + RANGE_STEP_M}" for low in range(0, 90, RANGE_STEP_M)] + ["90+"]
    yaws = [f"{low}..{low + YAW_STEP_DEG}" for low in range(-180, 180, YAW_STEP_DEG)]
    occlusions = [*OCCLUSION_NAMES.values(), "not given"]
    by_category = _pick(table, 15, None)
    names = sorted(set(by_category["series"].to_pylist()))
    every = by_category.set_column(0, "series", pa.array(["boxes"] * len(by_category)))
    every = every.append_column("bin", by_category["series"])
    return [
        make_histogram("category", "Boxes by category", "category", names, every),
        make_histogram("range", "Boxes by range", "m", ranges, _pick(table, 7, "range_bin")),
        make_histogram("yaw", "Boxes by yaw", "degrees", yaws, _pick(table, 11, "yaw_bin")),
        make_histogram(
            "points",
            "Boxes by lidar points inside",
            "points",
            [*span_labels((0, *POINT_EDGES)), "unknown"],
            _pick(table, 13, "points"),
        ),
        make_histogram(
            "occlusion", "Boxes by occlusion", "", occlusions, _pick(table, 14, "occlusion")
        ),
    ]


def _pick(table: pa.Table, missing: int, column: str | None) -> pa.Table:
    """Return the rows of one grouping set; its column is then called "bin"."""
    rows = table.filter(pa.compute.equal(table["missing"], missing))
    if column is None:
        return rows.select(["series", "n"])
    return rows.select(["series", column, "n"]).rename_columns(["series", "bin", "n"])


def _sizes(dataset: Dataset) -> tuple[SizeQuantiles, ...]:
    parts = ", ".join(
        f"approx_quantile({axis}, [0.1, 0.5, 0.9]) AS {axis}"
        for axis in ("length_m", "width_m", "height_m")
    )
    table = dataset.query(
        f"SELECT category, count(*) AS num_boxes, {parts} FROM boxes GROUP BY 1 ORDER BY 1"
    )
    return tuple(SizeQuantiles.parse(row) for row in table.to_pylist())
