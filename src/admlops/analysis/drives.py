"""What is known of drives as wholes: speed, hours, tracks, sources, company."""

from itertools import pairwise
from typing import Any

import pyarrow as pa

from admlops.analysis.histogram import OTHERS, Histogram, bin_sql, make_histogram, span_labels
from admlops.analysis.visibility import count_views
from admlops.config import Config
from admlops.lake.store import Dataset

SPEED_EDGES_MPS = (0, 1, 5, 10, 15, 20, 30)
TRACK_EDGES = (1, 2, 5, 10, 20, 50, 100)
HOURS_PER_BIN = 3
MAX_STEP_S = 2.0
"""Frames farther apart say nothing about speed."""
MAX_SOURCES = 20
MAX_CATEGORIES = 16
"""Categories that are shown on their own."""
_FIRST_NS, _LAST_NS = 946_684_800_000_000_000, 4_102_444_800_000_000_000
"""From 2000 to 2100: other times are counters, not clocks."""


class SourceCounts(Config):
    """What one source gave."""

    source: str
    """Folder, file or simulation that frames came from."""
    num_frames: int
    """Frames."""
    num_labelled_frames: int
    """Frames with labels."""
    num_scenes: int
    """Scenes."""
    num_boxes: int
    """Boxes in space."""
    num_boxes_2d: int
    """Boxes in images."""
    num_categories: int
    """Categories of its boxes."""
    num_tracks: int
    """Objects that are followed, in space and in images."""
    median_speed_mps: float | None
    """Speed of the vehicle, half of the time slower; None where poses do not tell."""
    hours: tuple[int, int] | None
    """First and last hour of the day (UTC) that frames are from; None where clocks do not tell."""


class CoOccurrence(Config):
    """How many frames hold boxes of two categories."""

    categories: tuple[str, ...]
    """Names of the largest categories, in order."""
    num_frames: tuple[tuple[int, ...], ...]
    """By category and category; on the diagonal, frames that hold the category."""


class Drives(Config):
    """What a dataset version holds beside single frames and boxes."""

    histograms: tuple[Histogram, ...]
    """One per property."""
    sources: tuple[SourceCounts, ...]
    """The largest first."""
    co_occurrence: CoOccurrence
    """Categories that appear together."""


def describe_drives(dataset: Dataset) -> Drives:
    """Count what goes beyond single frames and boxes, where the data lies."""
    histograms = (
        _speeds(dataset),
        _hours(dataset),
        _tracks(dataset),
        count_views(dataset),
        _image_boxes(dataset),
        _categories_by_source(dataset),
    )
    return Drives(
        histograms=tuple(item for item in histograms if item.counts),
        sources=_sources(dataset),
        co_occurrence=_co_occurrence(dataset),
    )


_SPEEDS = (
    "moves AS (SELECT source, coalesce(nullif(split, ''), 'none') AS series, "
    "max(abs(ego_x_m) + abs(ego_y_m)) OVER drive > 0 AS has_poses, "
    "sqrt(power(ego_x_m - lag(ego_x_m) OVER steps, 2) + "
    "power(ego_y_m - lag(ego_y_m) OVER steps, 2)) AS step_m, "
    "(timestamp_ns - lag(timestamp_ns) OVER steps) * 1e-9 AS step_s FROM frames "
    "WINDOW drive AS (PARTITION BY log, scene), "
    "steps AS (PARTITION BY log, scene ORDER BY timestamp_ns)), "
    "speeds AS (SELECT source, series, step_m / step_s AS speed_mps FROM moves "
    f"WHERE has_poses AND step_s > 0 AND step_s <= {MAX_STEP_S})"
)
"""SQL for the speed since the frame before; scenes without poses are left out."""


def _speeds(dataset: Dataset) -> Histogram:
    speed = bin_sql("speed_mps", SPEED_EDGES_MPS)
    table = dataset.query(
        f"WITH {_SPEEDS} SELECT {speed} AS bin, series, count(*) AS n FROM speeds GROUP BY ALL"
    )
    edges = [f"{low}-{high}" for low, high in pairwise(SPEED_EDGES_MPS)]
    labels = [*edges, f"{SPEED_EDGES_MPS[-1]}+"]
    return make_histogram("ego_speed", "Frames by speed of the vehicle", "m/s", labels, table)


_HAS_CLOCK = f"timestamp_ns BETWEEN {_FIRST_NS} AND {_LAST_NS}"


def _hours(dataset: Dataset) -> Histogram:
    hour = f"(timestamp_ns // 3600000000000 % 24 // {HOURS_PER_BIN})::INT"
    table = dataset.query(
        f"SELECT {hour} AS bin, coalesce(nullif(split, ''), 'none') AS series, "
        f"count(*) AS n FROM frames WHERE {_HAS_CLOCK} GROUP BY ALL"
    )
    labels = [f"{hour}-{hour + HOURS_PER_BIN}" for hour in range(0, 24, HOURS_PER_BIN)]
    return make_histogram("hour", "Frames by time of day", "hour, UTC", labels, table)


def _tracks(dataset: Dataset) -> Histogram:
    table = dataset.query(
        f"SELECT {bin_sql('num_frames', TRACK_EDGES)} AS bin, series, count(*) AS n FROM ("
        "SELECT mode(category) AS series, count(*) AS num_frames FROM boxes "
        "WHERE track_id <> '' GROUP BY log, scene, track_id) GROUP BY ALL"
    )
    title, unit = "Tracks by length", "labelled frames of the track"
    return make_histogram("track_length", title, unit, span_labels(TRACK_EDGES), table)


def _image_boxes(dataset: Dataset) -> Histogram:
    table = dataset.query(
        "SELECT category AS bin, 'boxes' AS series, count(*) AS n FROM boxes_2d "
        "GROUP BY ALL ORDER BY bin"
    )
    return _by_category("category_2d", "Boxes in images by category", table)


def _categories_by_source(dataset: Dataset) -> Histogram:
    """Return boxes by category, one series per source; nothing where there is one source."""
    table = dataset.query(
        "WITH kinds AS (SELECT log, scene, timestamp_ns, category FROM boxes UNION ALL "
        "SELECT log, scene, timestamp_ns, category FROM boxes_2d) "
        "SELECT kinds.category AS bin, frames.source AS series, count(*) AS n "
        "FROM kinds JOIN frames USING (log, scene, timestamp_ns) GROUP BY ALL ORDER BY bin"
    )
    if len(set(table["series"].to_pylist())) < 2:
        table = table.slice(0, 0)
    table = table.set_column(
        1, "series", pa.array(_short(table["series"].to_pylist()), pa.string())
    )
    return _by_category("sources", "Boxes by source", table)


def _by_category(key: str, title: str, table: pa.Table) -> Histogram:
    """Return a histogram of the largest categories, the others together."""
    totals = table.group_by("bin").aggregate([("n", "sum")]).sort_by([("n_sum", "descending")])
    largest = totals["bin"].to_pylist()[:MAX_CATEGORIES]
    shown = [name if name in largest else OTHERS for name in table["bin"].to_pylist()]
    labels = sorted(largest) + ([OTHERS] if len(totals) > len(largest) else [])
    table = table.set_column(table.column_names.index("bin"), "bin", pa.array(shown, pa.string()))
    return make_histogram(key, title, "category", labels, table)


def _short(sources: list[str]) -> list[str]:
    """Return the last part of each path, or the whole where two would be the same."""
    last = {source: source.rstrip("/").rsplit("/", 1)[-1] for source in sources}
    is_clear = len(set(last.values())) == len(last)
    return [last[source] if is_clear else source for source in sources]


def _sources(dataset: Dataset) -> tuple[SourceCounts, ...]:
    hour = f"(timestamp_ns // 3600000000000 % 24)::INT) FILTER ({_HAS_CLOCK})"
    table = dataset.query(
        "WITH counts AS (SELECT source, count(*) AS num_frames, "
        "count(*) FILTER (is_keyframe) AS num_labelled_frames, "
        "count(DISTINCT (log, scene)) AS num_scenes, "
        "coalesce(sum(num_boxes), 0)::BIGINT AS num_boxes, "
        "coalesce(sum(num_boxes_2d), 0)::BIGINT AS num_boxes_2d, "
        f"min({hour} AS first_hour, max({hour} AS last_hour FROM frames GROUP BY source), "
        "labels AS (SELECT log, scene, timestamp_ns, category, track_id FROM boxes UNION ALL "
        "SELECT log, scene, timestamp_ns, category, track_id FROM boxes_2d), "
        "kinds AS (SELECT source, count(DISTINCT category) AS num_categories, "
        "count(DISTINCT (log, scene, track_id)) FILTER (track_id <> '') AS num_tracks "
        "FROM labels JOIN frames USING (log, scene, timestamp_ns) GROUP BY source), "
        f"{_SPEEDS}, medians AS (SELECT source, median(speed_mps) AS median_speed_mps FROM speeds "
        "GROUP BY source) SELECT counts.*, coalesce(num_categories, 0) AS num_categories, "
        "coalesce(num_tracks, 0) AS num_tracks, median_speed_mps FROM counts "
        "LEFT JOIN kinds USING (source) LEFT JOIN medians USING (source) "
        f"ORDER BY num_frames DESC, source LIMIT {MAX_SOURCES}"
    )
    return tuple(_source(row) for row in table.to_pylist())


def _source(row: dict[str, Any]) -> SourceCounts:
    first, last = row.pop("first_hour"), row.pop("last_hour")
    return SourceCounts.parse(row | {"hours": None if first is None else (first, last)})


def _co_occurrence(dataset: Dataset) -> CoOccurrence:
    table = dataset.query(
        "WITH largest AS (SELECT category FROM boxes GROUP BY 1 "
        f"ORDER BY count(*) DESC, 1 LIMIT {MAX_CATEGORIES}), "
        "held AS (SELECT DISTINCT log, scene, timestamp_ns, category FROM boxes "
        "WHERE category IN (FROM largest)) "
        "SELECT a.category AS one, b.category AS other, count(*) AS n FROM held a JOIN held b "
        "USING (log, scene, timestamp_ns) GROUP BY ALL"
    ).to_pylist()
    names = sorted({row["one"] for row in table})
    counts = {(row["one"], row["other"]): row["n"] for row in table}
    rows = tuple(tuple(counts.get((one, other), 0) for other in names) for one in names)
    return CoOccurrence(categories=tuple(names), num_frames=rows)
