"""Pictures of labels in the colours of their categories: from above, and in the camera image."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from admlops.analysis.drawing import as_jpeg, as_png, colours_of, drawing
from admlops.geometry.image_boxes import areas
from admlops.reporting.image_example_pictures import add_rectangle, labels_in
from admlops.reporting.pictures import (
    draw_cloud,
    image_figure,
    outlines_from_above,
    project_edges,
)
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame

REACH_M = 55.0
"""How far the view from above goes."""


def draw_labels_from_above(frame: Frame) -> str:
    """Return a PNG data URI: the cloud and the labels from above; forward is up."""
    with drawing(5.25, 5.5) as figure:
        axes = figure.add_subplot()
        draw_cloud(axes, frame, REACH_M)
        axes.set_ylabel("forward, m")
        groups = _by_category(frame.boxes)
        for name, boxes in groups.items():
            axes.add_collection(
                LineCollection(outlines_from_above(boxes), colors=_colour(groups, name), lw=1.8)
            )
        axes.set_title(_summary(frame))
        _add_categories(figure, groups)
        return as_png(figure)


def draw_labels_in_image(frame: Frame) -> str | None:
    """Return a JPEG data URI: the front image with the labels; None without an image."""
    camera = frame.camera
    if camera is None or not camera.encoded:
        return None
    with image_figure(camera.encoded) as (figure, axes):
        groups = _by_category(frame.boxes)
        for name, boxes in groups.items():
            _add_lines(axes, boxes, frame, _colour(groups, name))
        return as_jpeg(figure)


def draw_image_labels(frame: Frame, camera: CameraImage) -> str:
    """Return a JPEG data URI: an image of a frame with its boxes; the largest of each are named."""
    boxes = labels_in(frame, camera)
    order = np.argsort(-areas(boxes.box2d_px), kind="stable")
    colours = colours_of(sorted(set(boxes.category.tolist())))
    named: set[str] = set()
    with image_figure(camera.encoded) as (figure, axes):
        for index in order.tolist():
            name, edges = str(boxes.category[index]), boxes.box2d_px[index].tolist()
            add_rectangle(axes, edges, edgecolor="white", linewidth=3.0, alpha=0.6)
            add_rectangle(axes, edges, edgecolor=colours[name], linewidth=1.8)
            if name not in named:
                _add_name(axes, name, edges, colours[name])
            named.add(name)
        return as_jpeg(figure)


def _add_name(axes: Axes, name: str, edges: list[float], colour: str) -> None:
    """Write a category above its box, or into it where there is no space above."""
    left, top, _, _ = edges
    is_high = top < 0.05 * max(axes.get_ylim())
    axes.text(
        max(left, 0.0),
        max(top, 0.0),
        name,
        va="top" if is_high else "bottom",
        color="white",
        fontsize=8.0,
        clip_on=True,
        bbox={"facecolor": colour, "edgecolor": "none", "pad": 1.5},
    )


def _add_lines(axes: Axes, boxes: Boxes, frame: Frame, colour: str) -> None:
    lines = project_edges(boxes, frame)
    axes.add_collection(LineCollection(lines, colors="white", lw=2.6, alpha=0.5))
    axes.add_collection(LineCollection(lines, colors=colour, lw=1.5))


def _by_category(boxes: Boxes | None) -> dict[str, Boxes]:
    if boxes is None:
        return {}
    names = sorted(set(boxes.category.tolist()))
    return {name: boxes.select(boxes.category == name) for name in names}


def _colour(groups: dict[str, Boxes], name: str) -> str:
    return colours_of(list(groups))[name]


def _summary(frame: Frame) -> str:
    labels = "not labelled" if frame.boxes is None else f"{len(frame.boxes)} labels"
    return ", ".join([f"frame {frame.frame_id}: {labels}", *frame.tags])


def _add_categories(figure: Figure, groups: dict[str, Boxes]) -> None:
    handles = [Line2D([], [], color=_colour(groups, name), lw=1.8) for name in groups]
    names = [f"{name} ({len(boxes)})" for name, boxes in groups.items()]
    if handles:
        figure.legend(handles, names, loc="outside lower center", ncols=4)
