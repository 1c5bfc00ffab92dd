"""Figures of distributions and coverage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from admlops.analysis.coverage import Coverage, CoverageCell
from admlops.analysis.distributions import Distributions, SizeQuantiles
from admlops.analysis.drawing import (
    add_legend,
    as_svg,
    colours_of,
    draw_stacked_bars,
    drawing,
)
from admlops.analysis.drives import CoOccurrence, Drives
from admlops.analysis.histogram import OTHERS, Histogram

_MANY = 8
_SHARES = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#9fc5e8"])
_MAP = LinearSegmentedColormap.from_list("coverage", ["#fbd5d0", "#fdf0d5", "#d3f0e0"])


def draw_histogram(histogram: Histogram) -> str:
    """Return a histogram as an SVG data URI."""
    with drawing(5.2, 2.8) as figure:
        axes = figure.add_subplot()
        if set(histogram.counts) == {"boxes"}:
            counts = histogram.counts.get("boxes", ())
            bars = axes.bar(
                np.arange(len(counts)),
                counts,
                0.7,
                color=list(colours_of(histogram.labels).values()),
            )
            axes.bar_label(bars, fontsize=8, padding=2)
            _name_columns(axes, histogram.labels)
            axes.grid(visible=False, axis="x")
            axes.margins(y=0.12)
        else:
            shown = _last_used(histogram)
            series = {name: counts[:shown] for name, counts in largest_series(histogram).items()}
            draw_stacked_bars(axes, histogram.labels[:shown], series)
            add_legend(figure, axes)
        axes.set_title(histogram.title)
        axes.set_xlabel(histogram.unit)
        return as_svg(figure)


def largest_series(histogram: Histogram) -> dict[str, tuple[int, ...]]:
    """Return the series by name; where they are more than can be told apart, the rest as one."""
    counts = histogram.counts
    if len(counts) <= _MANY:
        return counts
    order = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    rest = np.sum([counts[name] for name in order[_MANY - 1 :]], axis=0)
    return {name: counts[name] for name in sorted(order[: _MANY - 1])} | {
        OTHERS: tuple(rest.tolist())
    }


def _last_used(histogram: Histogram) -> int:
    """Return how many bins to show: trailing empty ones tell nothing."""
    total = np.sum(list(histogram.counts.values()), axis=0)
    return int(np.flatnonzero(total)[-1]) + 1 if total.any() else len(total)


def draw_sizes(sizes: tuple[SizeQuantiles, ...]) -> str:
    """Return length, width and height per category (median, 10 to 90 %) as an SVG data URI."""
    with drawing(5.2, 2.8) as figure:
        parts = figure.subplots(1, 3, sharey=True)
        place = np.arange(len(sizes))
        colours = list(colours_of([item.category for item in sizes]).values())
        for axes, axis in zip(parts, ("length", "width", "height"), strict=True):
            values = np.array([getattr(item, f"{axis}_m") for item in sizes]).reshape(-1, 3)
            axes.hlines(place, values[:, 0], values[:, 2], colors=colours, linewidth=5, alpha=0.45)
            axes.scatter(values[:, 1], place, color=colours, s=28, zorder=3)
            axes.set_xlim(left=0)
            axes.margins(x=0.12, y=0.2)
            axes.set_xlabel(f"{axis}, m")
            axes.grid(visible=False, axis="y")
        parts[0].set_yticks(place, [item.category for item in sizes])
        parts[0].set_title("Sizes: median, 10 to 90 %")
        return as_svg(figure)


def draw_coverage(coverage: Coverage) -> str:
    """Return the coverage matrix as an SVG data URI: conditions x categories and ranges."""
    cells = coverage.cells
    rows = list(dict.fromkeys((cell.cell.condition, cell.cell.category) for cell in cells))
    columns = sorted({cell.cell.range_m for cell in cells})
    share = np.full((len(rows), len(columns)), np.nan)
    with drawing(10.4, 0.8 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        for cell in cells:
            row = rows.index((cell.cell.condition, cell.cell.category))
            column = columns.index(cell.cell.range_m)
            share[row, column] = _share(cell)
            words = f"{cell.num_boxes} / {cell.cell.min_boxes}"
            weight = "normal" if cell.is_met else "bold"
            axes.text(column, row, words, ha="center", va="center", fontsize=9, weight=weight)
        axes.imshow(share, cmap=_MAP, vmin=0.0, vmax=1.0, aspect="auto")
        spans = [f"{low:g} to {high:g} m" for low, high in columns]
        axes.set_xticks(np.arange(len(columns)), spans)
        axes.set_yticks(np.arange(len(rows)), [f"{name}, {tag}" for tag, name in rows])
        axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
        axes.grid(visible=False, which="major")
        axes.grid(visible=True, which="minor", color="white", linewidth=2)
        axes.tick_params(which="both", length=0)
        axes.spines[:].set_visible(False)
        axes.set_title("Boxes held / required; bold: a gap")
        return as_svg(figure)


def _share(cell: CoverageCell) -> float:
    boxes = min(cell.num_boxes / cell.cell.min_boxes, 1.0)
    return min(boxes, cell.num_scenes / cell.cell.min_scenes, 1.0)


def draw_distributions(distributions: Distributions) -> list[tuple[str, str]]:
    """Return title and SVG data URI of every distribution that holds something."""
    figures = [
        (item.title, draw_histogram(item)) for item in distributions.histograms if item.counts
    ]
    if distributions.sizes:
        figures.append(("Sizes", draw_sizes(distributions.sizes)))
    return figures


def draw_drives(drives: Drives) -> list[tuple[str, str]]:
    """Return title and SVG data URI of everything that is known of drives."""
    figures = [(item.title, draw_histogram(item)) for item in drives.histograms]
    if len(drives.co_occurrence.categories) > 1:
        figures.append(("Categories together", draw_co_occurrence(drives.co_occurrence)))
    return figures


def draw_co_occurrence(found: CoOccurrence) -> str:
    """Return which share of the frames with one category holds another, as an SVG data URI."""
    counts = np.array(found.num_frames, dtype=np.float64)
    share = counts / np.maximum(np.diag(counts), 1)[:, None]
    size = len(found.categories)
    with drawing(5.2, max(2.8, 0.9 + 0.26 * size)) as figure:
        axes = figure.add_subplot()
        axes.imshow(share, cmap=_SHARES, vmin=0.0, vmax=1.0, aspect="auto")
        if size <= _MANY:
            for row in range(size):
                for column in range(size):
                    words = f"{share[row, column]:.0%}"
                    axes.text(column, row, words, ha="center", va="center", fontsize=8)
        _name_columns(axes, found.categories)
        axes.set_yticks(np.arange(size), found.categories)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_title("Categories together: share of the row's frames")
        return as_svg(figure)


def _name_columns(axes: Axes, names: Sequence[str]) -> None:
    """Write names under columns, turned where there are many."""
    if len(names) > _MANY:
        axes.set_xticks(np.arange(len(names)), names, rotation=60, ha="right")
    else:
        axes.set_xticks(np.arange(len(names)), names)
