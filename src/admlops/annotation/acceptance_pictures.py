"""Pictures of defects: the points from above around the box, and what is labelled there."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from admlops.analysis.drawing import as_png, drawing
from admlops.annotation.acceptance_defects import GOLD_RULES, Defect
from admlops.geometry.boxes import corners_bev
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

REACH_M = 9.0
DEFECT, DELIVERED, KNOWN = "#d92d20", "#1e40af", "#059669"
_SIZE_IN = 3.1
_GROUND_QUANTILE = 0.05


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of one defect.

    Attributes:
        defect: what it shows.
        image: data URI.
    """

    defect: Defect
    image: str


def pick_defects(defects: Iterable[Defect], count: int) -> list[Defect]:
    """Return the defects to show: of every rule the first, then the second, up to `count`."""
    by_rule: dict[str, list[Defect]] = {}
    for defect in defects:
        if defect.box_7:
            by_rule.setdefault(defect.rule_id, []).append(defect)
    picked: list[Defect] = []
    for place in range(max(map(len, by_rule.values()), default=0)):
        picked += [found[place] for _, found in sorted(by_rule.items()) if place < len(found)]
        if len(picked) >= count:
            break
    return sorted(picked[:count], key=lambda item: (item.rule_id, item.frame_id))


def draw_defects(
    defects: Sequence[Defect], frames: Mapping[str, Frame], delivered: Mapping[str, Boxes]
) -> list[Picture]:
    """Return a picture of each defect.

    Args:
        defects: with a box each.
        frames: by number in the package; their boxes are the known ones.
        delivered: boxes by number in the package.
    """
    return [
        Picture(defect, _draw(defect, frames[defect.frame_id], delivered[defect.frame_id]))
        for defect in defects
    ]


def _draw(defect: Defect, frame: Frame, delivered: Boxes) -> str:
    centre = np.array(defect.box_7[:2])
    points = frame.points_in_ego() if frame.lidar is not None else np.empty((0, 4), np.float32)
    near = points[(np.abs(points[:, :2] - centre) < REACH_M).all(axis=1)]
    with drawing(_SIZE_IN, _SIZE_IN + 0.35) as figure:
        axes = figure.subplots()
        low = float(np.quantile(near[:, 2], _GROUND_QUANTILE)) if len(near) else 0.0
        axes.scatter(
            -near[:, 1],
            near[:, 0],
            s=2.0,
            c=np.clip(near[:, 2] - low, 0.0, 2.5),
            cmap="Greys",
            vmin=-1.2,
            vmax=2.2,
            linewidths=0,
            rasterized=True,
        )
        legend = [("delivered", DELIVERED, "-")]
        _outline(axes, delivered.as_7(), DELIVERED, "-", 1.2)
        if defect.rule_id in GOLD_RULES and frame.boxes is not None:
            _outline(axes, frame.boxes.as_7(), KNOWN, "-", 1.6)
            legend.append(("known", KNOWN, "-"))
        _outline(axes, np.array([defect.box_7]), DEFECT, "--", 2.2)
        legend.append(("defect", DEFECT, "--"))
        _frame_axes(axes, centre)
        handles = [Line2D([], [], color=colour, linestyle=style) for _, colour, style in legend]
        names = [name for name, _, _ in legend]
        figure.legend(handles, names, loc="outside lower center", ncols=3)
        return as_png(figure, dots_per_inch=110)


def _frame_axes(axes: Axes, centre: NDArray[np.float64]) -> None:
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlim(-centre[1] - REACH_M, -centre[1] + REACH_M)
    axes.set_ylim(centre[0] - REACH_M, centre[0] + REACH_M)
    axes.set_xlabel("to the right, m")
    axes.set_ylabel("forward, m")


def _outline(
    axes: Axes, boxes_7: NDArray[np.float64], colour: str, style: str, width: float
) -> None:
    rows = boxes_7[np.isfinite(boxes_7).all(axis=1)]
    corners = corners_bev(rows)
    lines = [np.column_stack([-c[:, 1], c[:, 0]]) for c in corners[:, [0, 1, 2, 3, 0]]]
    nose = corners[:, :2].mean(axis=1)
    lines += [
        np.array([[-row[1], row[0]], [-end[1], end[0]]])
        for row, end in zip(rows, nose, strict=True)
    ]
    axes.add_collection(LineCollection(lines, colors=colour, linestyles=style, linewidths=width))
