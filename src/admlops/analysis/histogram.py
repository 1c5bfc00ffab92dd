"""Histograms: counts by bin, made from the rows of an SQL query."""

from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa

from admlops.config import Config

OTHERS = "others"
"""Stands for all that is not shown on its own."""


class Histogram(Config):
    """Counts by bin, one series per category (or one series for all)."""

    name: str
    """Key in the JSON."""
    title: str
    """Heading of the plot."""
    unit: str
    """What the bins are, with a unit."""
    labels: tuple[str, ...]
    """Bins in order."""
    counts: dict[str, tuple[int, ...]]
    """Per series one count per bin."""


def make_histogram(
    name: str, title: str, unit: str, labels: Sequence[str], table: pa.Table
) -> Histogram:
    """Return a histogram; bins are label names, or their numbers (-1: the last)."""
    counts: dict[str, list[int]] = {}
    for row in table.to_pylist():
        place = row["bin"] if isinstance(row["bin"], int) else None
        if row["bin"] is None:
            place = len(labels) - 1
        index = labels.index(row["bin"]) if place is None else place
        counts.setdefault(row["series"], [0] * len(labels))[index] += row["n"]
    return Histogram(
        name=name,
        title=title,
        unit=unit,
        labels=tuple(labels),
        counts={series: tuple(values) for series, values in sorted(counts.items())},
    )


def bin_sql(column: str, edges: Sequence[int]) -> str:
    """Return SQL for the number of the bin that starts at the last edge not above the value."""
    parts = " ".join(
        f"WHEN {column} >= {edge} THEN {index}" for index, edge in reversed(list(enumerate(edges)))
    )
    return f"CASE {parts} ELSE -1 END"


def span_labels(edges: Sequence[int]) -> list[str]:
    """Return the names of whole-number bins that start at the edges; the last is open."""
    labels = [str(low) if high == low + 1 else f"{low}-{high - 1}" for low, high in pairwise(edges)]
    return [*labels, f"{edges[-1]}+"]
