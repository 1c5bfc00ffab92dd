"""How figures look, and how they get into a page: as data, so that the page needs no other file."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from admlops.analysis.histogram import OTHERS

INK = "#1f2933"
MUTED = "#7b8794"
GRID = "#e4e7eb"
CATEGORY_COLOURS: Mapping[str, str] = {
    "car": "#2563eb",
    "pedestrian": "#e07b00",
    "cyclist": "#0a9b6c",
    "truck": "#7c3aed",
    "van": "#db2777",
    "tram": "#0891b2",
    "train": "#2563eb",
    "val": "#0a9b6c",
    "pool": "#cbd2d9",
    "labelled": "#2563eb",
    "unlabelled": "#cbd2d9",
    "frames": "#2563eb",
    OTHERS: "#cbd2d9",
}
OTHER_COLOURS = (
    "#64748b",
    "#b45309",
    "#4d7c0f",
    "#be123c",
    "#4338ca",
    "#0f766e",
    "#d4a017",
    "#7dd3fc",
)
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa5b1",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "admlops",
    "figure.dpi": 100.0,
}


@contextmanager
def drawing(width_in: float, height_in: float) -> Iterator[Figure]:
    """Yield an empty figure in the house style; the style ends with the block."""
    with mpl.rc_context(_STYLE):
        yield Figure(figsize=(width_in, height_in), layout="constrained")


def as_svg(figure: Figure) -> str:
    """Return a data URI of the figure as SVG; equal figures give equal text."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()


def as_png(figure: Figure, dots_per_inch: int = 130) -> str:
    """Return a data URI of the figure as PNG: for figures with many points."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dots_per_inch, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def as_jpeg(figure: Figure, dots_per_inch: int = 120) -> str:
    """Return a data URI of the figure as JPEG: for photographs."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpg", dpi=dots_per_inch, pil_kwargs={"quality": 84})
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """Return a colour per name: known categories keep theirs."""
    others = [name for name in names if name not in CATEGORY_COLOURS]
    extra = {name: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, name in enumerate(others)}
    return {name: CATEGORY_COLOURS.get(name) or extra[name] for name in names}


def add_legend(figure: Figure, axes: Axes) -> None:
    """Put the legend of the axes below the figure, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        longest = max(len(label) for label in labels)
        columns = max(1, int(figure.get_figwidth() / (0.4 + 0.075 * longest)))
        columns = min(len(labels), columns, 6)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def draw_stacked_bars(
    axes: Axes, labels: Sequence[str], series: Mapping[str, Sequence[int]]
) -> None:
    """Draw one bar per label, its series stacked."""
    bottom = np.zeros(len(labels))
    place = np.arange(len(labels))
    colours = colours_of(list(series))
    for name, values in series.items():
        heights = np.asarray(values, dtype=float)
        axes.bar(place, heights, 0.78, bottom=bottom, color=colours[name], label=name)
        bottom += heights
    slanted = max((len(label) for label in labels), default=0) > 5 and len(labels) > 4
    axes.set_xticks(
        place,
        labels,
        rotation=40 if slanted else 0,
        ha="right" if slanted else "center",
        rotation_mode="anchor" if slanted else "default",
    )
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.7, max(len(labels), 3) - 0.3)
    axes.set_ylim(0, max(bottom.max(initial=0.0) * 1.08, 1.0))
