"""Pictures of defects: what is labelled around the box, on the points from above or the image."""

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from admlops.analysis.drawing import as_png, drawing
from admlops.annotation.acceptance_defects import GOLD_RULES, Defect
from admlops.annotation.acceptance_images import cameras_by_name, with_own_cameras
from admlops.annotation.delivery import Delivery
from admlops.geometry.boxes import corners_bev
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

REACH_M = 9.0
DEFECT, DELIVERED, KNOWN = "#d92d20", "#1e40af", "#059669"
_SIZE_IN = 3.1
_GROUND_QUANTILE = 0.05
_MIN_HALF_PX = 60.0
_BEYOND = 0.1
"""Share of the image's size that is shown beyond its border."""
_NOTHING = "#f1f3f5"


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
        if defect.is_drawn:
            by_rule.setdefault(defect.rule_id, []).append(defect)
    picked: list[Defect] = []
    for place in range(max(map(len, by_rule.values()), default=0)):
        picked += [found[place] for _, found in sorted(by_rule.items()) if place < len(found)]
        if len(picked) >= count:
            break
    return sorted(picked[:count], key=lambda item: (item.rule_id, item.frame_id))


def draw_defects(
    defects: Sequence[Defect], frames: Mapping[str, Frame], delivery: Delivery
) -> list[Picture]:
    """Return a picture of each defect.

    Args:
        defects: with a box each.
        frames: by number in the package; their boxes are the known ones.
        delivery: what was delivered.
    """
    pictures = []
    for defect in defects:
        frame = frames[defect.frame_id]
        if defect.shape == "image_box":
            boxes_2d = delivery.boxes_2d.get(defect.frame_id, Boxes2d.empty())
            picture = _draw_in_image(defect, frame, with_own_cameras(boxes_2d, frame))
        else:
            picture = _draw_from_above(defect, frame, delivery.boxes[defect.frame_id])
        pictures.append(Picture(defect, picture))
    return pictures


def _draw_from_above(defect: Defect, frame: Frame, delivered: Boxes) -> str:
    centre = np.array(defect.box_7[:2])
    points = frame.points_in_ego() if frame.lidar is not None else np.empty((0, 4), np.float32)
    near = points[(np.abs(points[:, :2] - centre) < REACH_M).all(axis=1)]
    known = frame.boxes if defect.rule_id in GOLD_RULES else None
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
        _outline(axes, delivered.as_7(), DELIVERED, "-", 1.2)
        if known is not None:
            _outline(axes, known.as_7(), KNOWN, "-", 1.6)
        _outline(axes, np.array([defect.box_7]), DEFECT, "--", 2.2)
        _frame_axes(axes, centre)
        _explain(figure, has_known=known is not None)
        return as_png(figure, dots_per_inch=110)


def _draw_in_image(defect: Defect, frame: Frame, delivered: Boxes2d) -> str:
    """Draw a square part of the image around the box; without an image, its place in it."""
    left, top, right, bottom = defect.box_px
    half_px = max(_MIN_HALF_PX, 0.9 * max(right - left, bottom - top))
    centre = (left + right) / 2, (top + bottom) / 2
    image = cameras_by_name(frame).get(defect.camera)
    known = frame.boxes_2d if defect.rule_id in GOLD_RULES else None
    with drawing(_SIZE_IN, _SIZE_IN + 0.35) as figure:
        axes = figure.subplots()
        axes.set_facecolor(_NOTHING)
        if image is not None and image.encoded:
            suffix = "png" if image.encoded.startswith(b"\x89PNG") else "jpg"
            pixels = matplotlib.image.imread(io.BytesIO(image.encoded), format=suffix)
            axes.imshow(pixels, cmap="gray", interpolation="bilinear")
        _rectangles(axes, delivered.box2d_px[delivered.camera == defect.camera], DELIVERED, "-")
        if known is not None:
            known = with_own_cameras(known, frame)
            _rectangles(axes, known.box2d_px[known.camera == defect.camera], KNOWN, "-")
        _rectangles(axes, np.array([defect.box_px]), DEFECT, "--")
        axes.set_aspect("equal")
        axes.grid(visible=False)
        low, high = np.subtract(centre, half_px), np.add(centre, half_px)
        if image is not None and image.width_px:
            size_px = np.array([image.width_px, image.height_px])
            low = np.maximum(low, -_BEYOND * size_px)
            high = np.minimum(high, (1 + _BEYOND) * size_px)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(high[1], low[1])
        axes.set_xlabel("column, px")
        axes.set_ylabel("row, px")
        _explain(figure, has_known=known is not None)
        return as_png(figure, dots_per_inch=110)


def _rectangles(axes: Axes, edges_px: NDArray[np.float64], colour: str, style: str) -> None:
    rows = edges_px[np.isfinite(edges_px).all(axis=1)]
    corners = rows[:, [0, 1, 2, 1, 2, 3, 0, 3, 0, 1]].reshape(-1, 5, 2)
    width = 2.2 if colour == DEFECT else 1.4
    lines = LineCollection(list(corners), colors=colour, linestyles=style, linewidths=width)
    axes.add_collection(lines)


def _explain(figure: Figure, *, has_known: bool) -> None:
    legend = [("delivered", DELIVERED, "-"), ("known", KNOWN, "-"), ("defect", DEFECT, "--")]
    shown = [item for item in legend if has_known or item[0] != "known"]
    handles = [Line2D([], [], color=colour, linestyle=style) for _, colour, style in shown]
    figure.legend(handles, [name for name, _, _ in shown], loc="outside lower center", ncols=3)


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
