"""Drawings of labelling rules that need no data: how a box lies, how tight it is, how many."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon, Rectangle
from numpy.typing import NDArray

from admlops.analysis.drawing import INK, MUTED, as_svg, drawing
from admlops.annotation.labelling_rules import LabellingRules

RIGHT, WRONG, BODY = "#0b7a53", "#d92d20", "#d5dbe1"
_ARROW = {"arrowstyle": "-|>", "color": INK, "lw": 1.3, "shrinkA": 0, "shrinkB": 0}
_RULER = {"arrowstyle": "<->", "color": MUTED, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}


def draw_conventions() -> str:
    """Return an SVG data URI: the ego frame, and length, width, height and yaw of a box."""
    with drawing(9.6, 3.1) as figure:
        above, side = figure.subplots(1, 2, width_ratios=[1.2, 1.0])
        _draw_above(above)
        _draw_side(side)
        return as_svg(figure)


def draw_rules(rules: LabellingRules) -> str:
    """Return an SVG data URI: tightness, hidden parts and articulated vehicles, right and wrong."""
    with drawing(9.6, 4.0) as figure:
        panels = figure.subplots(2, 3)
        for row, is_right in enumerate((True, False)):
            _draw_margin(panels[row, 0], rules.margin_m, is_right)
            _draw_hidden(panels[row, 1], rules.occluded == "full_size", is_right)
            _draw_articulated(panels[row, 2], rules.articulated == "box_per_part", is_right)
        return as_svg(figure)


def _bare(
    axes: Axes, title: str, x: tuple[float, float], y: tuple[float, float], colour: str = INK
) -> None:
    axes.set_aspect("equal")
    axes.set_xlim(*x)
    axes.set_ylim(*y)
    axes.set_axis_off()
    axes.set_title(title, color=colour)


def _verdict(axes: Axes, title: str, is_right: bool) -> None:
    word, colour = ("right", RIGHT) if is_right else ("wrong", WRONG)
    _bare(axes, f"{word}: {title}", (-3.6, 3.6), (-1.6, 1.6), colour)


def _arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], is_ruler: bool = False
) -> None:
    axes.annotate("", xy=end, xytext=start, arrowprops=_RULER if is_ruler else _ARROW)


def _turned(length: float, width: float, yaw_rad: float) -> NDArray[np.float64]:
    """Return (4, 2) corners of a rectangle about the origin, front ones first."""
    local = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * [length / 2, width / 2]
    cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
    return local @ np.array([[cosine, sine], [-sine, cosine]])


def _draw_above(axes: Axes) -> None:
    """Draw as seen from above with x to the right of the page: yaw turns to the left."""
    _bare(axes, "From above: x forward, y left, yaw from x to y", (-2.4, 10.6), (-2.0, 4.6))
    axes.add_patch(Rectangle((-1.2, -0.8), 3.6, 1.6, facecolor=BODY, edgecolor=MUTED))
    _arrow(axes, (0, 0), (3.4, 0))
    _arrow(axes, (0, 0), (0, 2.4))
    axes.text(3.5, 0.0, "x", va="center")
    axes.text(0.0, 2.5, "y", ha="center")
    axes.text(0.6, -1.35, "ego vehicle; z = 0 is the ground", ha="center", color=MUTED, fontsize=8)
    yaw_rad, centre = np.deg2rad(35.0), np.array([7.0, 1.9])
    corners = _turned(4.2, 1.8, yaw_rad) + centre
    axes.add_patch(Polygon(corners, fill=False, edgecolor=RIGHT, linewidth=2.0))
    front = corners[:2].mean(axis=0)
    _arrow(axes, tuple(centre), tuple(front))
    axes.plot([centre[0], centre[0] + 2.6], [centre[1]] * 2, color=MUTED, lw=1.0, ls=":")
    turn = np.linspace(0, yaw_rad, 30)
    axes.plot(centre[0] + 1.7 * np.cos(turn), centre[1] + 1.7 * np.sin(turn), color=INK, lw=1.0)
    axes.text(centre[0] + 0.75, centre[1] + 0.12, "yaw", fontsize=8)
    along = np.array([np.cos(yaw_rad), np.sin(yaw_rad)])
    across = np.array([along[1], -along[0]])
    right, rear = corners[1:3] + 0.45 * across, corners[2:4] - 0.45 * along
    _arrow(axes, tuple(right[1]), tuple(right[0]), is_ruler=True)
    _arrow(axes, tuple(rear[0]), tuple(rear[1]), is_ruler=True)
    for place, text, degrees in (
        (right.mean(axis=0) + 0.3 * across, "length", 35),
        (rear.mean(axis=0) - 0.35 * along, "width", -55),
    ):
        axes.text(place[0], place[1], text, rotation=degrees, ha="center", va="center")


def _draw_side(axes: Axes) -> None:
    _bare(axes, "From the side: the box stands on the ground", (-3.6, 3.8), (-0.9, 2.6))
    axes.add_patch(Polygon(_CAR, facecolor=BODY, edgecolor=MUTED))
    axes.axhline(0.0, color=MUTED, lw=1.0)
    axes.add_patch(Rectangle((-2.1, 0.0), 4.2, 1.5, fill=False, edgecolor=RIGHT, linewidth=2.0))
    axes.plot(0.0, 0.75, marker="o", color=INK, markersize=4)
    axes.text(0.0, 0.84, "centre", ha="center", fontsize=8)
    _arrow(axes, (0.0, 0.75), (2.1, 0.75))
    axes.text(1.1, 0.52, "front", ha="center", fontsize=8)
    _arrow(axes, (2.5, 0.0), (2.5, 1.5), is_ruler=True)
    axes.text(2.65, 0.75, "height", rotation=90, va="center")
    _arrow(axes, (-2.1, -0.35), (2.1, -0.35), is_ruler=True)
    axes.text(0.0, -0.75, "length", ha="center")


_CAR = np.array(
    [
        (-2.1, 0.15),
        (-2.1, 0.85),
        (-1.5, 0.95),
        (-0.9, 1.5),
        (0.6, 1.5),
        (1.2, 0.95),
        (2.05, 0.8),
        (2.1, 0.15),
    ]
)


def _box(axes: Axes, corners: NDArray[np.float64], is_right: bool) -> None:
    colour = RIGHT if is_right else WRONG
    axes.add_patch(Polygon(corners, fill=False, edgecolor=colour, linewidth=2.0))


def _draw_margin(axes: Axes, margin_m: float, is_right: bool) -> None:
    cm = f"{100 * margin_m:.0f} cm"
    _verdict(axes, f"gaps up to {cm}" if is_right else f"gaps wider than {cm}", is_right)
    axes.add_patch(Polygon(_turned(4.0, 1.7, 0.0), facecolor=BODY, edgecolor="none"))
    rim = np.linspace(-2.0, 2.0, 26)
    axes.scatter(rim, np.full(26, -0.85), s=5, color=INK, linewidths=0)
    axes.scatter(np.full(11, -2.0), np.linspace(-0.85, 0.85, 11), s=5, color=INK, linewidths=0)
    extent = (4.16, 1.86) if is_right else (5.4, 2.7)
    _box(axes, _turned(*extent, 0.0), is_right)


def _draw_hidden(axes: Axes, is_full_size: bool, is_right: bool) -> None:
    shows_whole = is_full_size == is_right
    title = "the box has the whole extent" if shows_whole else "the box ends where sight ends"
    _verdict(axes, title, is_right)
    axes.add_patch(Polygon(_turned(4.0, 1.7, 0.0), facecolor=BODY, edgecolor="none"))
    axes.add_patch(Rectangle((0.2, -1.5), 2.4, 0.4, facecolor=MUTED, edgecolor="none"))
    axes.text(1.4, -1.3, "hides", ha="center", va="center", color="white", fontsize=7)
    rim = np.linspace(-2.0, 0.1, 15)
    axes.scatter(rim, np.full(15, -0.85), s=5, color=INK, linewidths=0)
    axes.scatter(np.full(11, -2.0), np.linspace(-0.85, 0.85, 11), s=5, color=INK, linewidths=0)
    corners = _turned(4.16 if shows_whole else 2.2, 1.86, 0.0)
    _box(axes, corners - ([0.0, 0.0] if shows_whole else [0.98, 0.0]), is_right)


def _draw_articulated(axes: Axes, in_parts: bool, is_right: bool) -> None:
    shows_parts = in_parts == is_right
    title = "a box for each stiff part" if shows_parts else "one box for all parts"
    _verdict(axes, title, is_right)
    tractor = _turned(1.7, 1.2, 0.45) + np.array([2.05, 0.3])
    trailer = _turned(3.8, 1.2, 0.0) - np.array([0.95, 0.0])
    for part in (tractor, trailer):
        axes.add_patch(Polygon(part, facecolor=BODY, edgecolor="none"))
        if shows_parts:
            _box(axes, part, is_right)
    if not shows_parts:
        whole = np.concatenate([tractor, trailer])
        (left, low), (right, high) = whole.min(axis=0), whole.max(axis=0)
        _box(axes, np.array([(left, low), (right, low), (right, high), (left, high)]), is_right)
