"""Pictures of detections against labels: from above, and in the camera image."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from admlops.analysis.drawing import INK, as_jpeg, as_png, drawing
from admlops.geometry import camera
from admlops.geometry.boxes import corners_bev, iou_bev
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame

FOUND, MISSED = "#34d399", "#d92d20"
RIGHT, WRONG = "#1e40af", "#e07b00"
RIGHT_IN_IMAGE = "#3b82f6"
"""Lighter, to be seen on a dark image."""
MATCH_IOU = 0.5
_IMAGE_WIDTH_IN = 10.4
_LEGEND = (
    (FOUND, "-", 3.4, "label, found"),
    (MISSED, "-", 2.4, "label, missed"),
    (RIGHT, "-", 1.2, "detection, right"),
    (WRONG, "--", 1.4, "detection, wrong"),
)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Which labels and detections of a frame belong together.

    Attributes:
        labels: what is there.
        detections: what was detected with enough confidence.
        found: (N,) whether a detection of the same category overlaps the label enough.
        right: (M,) whether the detection overlaps such a label.
    """

    labels: Boxes
    detections: Boxes
    found: NDArray[np.bool_]
    right: NDArray[np.bool_]

    @property
    def summary(self) -> str:
        """What was found and missed, in words."""
        wrong = int((~self.right).sum())
        noun = "detection" if wrong == 1 else "detections"
        return f"{int(self.found.sum())} of {len(self.found)} labels found, {wrong} wrong {noun}"


def pair_boxes(
    labels: Boxes, predictions: Boxes, categories: Sequence[str], min_score: float
) -> Pairing:
    """Pair labels and detections of the given categories by overlap on the ground.

    Args:
        labels: labels of a frame.
        predictions: predictions for it.
        categories: what the detector is scored on.
        min_score: weaker predictions are left out.
    """
    labels = labels.select(np.isin(labels.category.astype(str), list(categories)))
    detections = predictions.select(predictions.score >= min_score)
    overlap = iou_bev(labels.as_7(), detections.as_7())
    overlap *= labels.category[:, None] == detections.category[None, :]
    near = np.asarray(overlap >= MATCH_IOU)
    found, right = np.asarray(near.any(axis=1)), np.asarray(near.any(axis=0))
    return Pairing(labels, detections, found, right)


def draw_from_above(
    frame: Frame, pairings: Sequence[tuple[str, Pairing]], reach_m: float = 55.0
) -> str:
    """Return a PNG data URI: the cloud from above, forward is up, one panel per pairing."""
    with drawing(5.25 * len(pairings), 5.5) as figure:
        panels = figure.subplots(1, len(pairings), squeeze=False, sharey=True)[0]
        for axes, (title, pairing) in zip(panels, pairings, strict=True):
            draw_cloud(axes, frame, reach_m)
            _draw_boxes(axes, pairing)
            axes.set_title(f"{title}: {pairing.summary}" if title else pairing.summary)
        panels[0].set_ylabel("forward, m")
        handles = [Line2D([], [], color=c, linestyle=s, linewidth=w) for c, s, w, _ in _LEGEND]
        names = [name for _, _, _, name in _LEGEND]
        figure.legend(handles, names, loc="outside lower center", ncols=4)
        return as_png(figure)


def draw_cloud(axes: Axes, frame: Frame, reach_m: float) -> None:
    """Draw the points ahead from above, darker where higher; forward is up."""
    points = frame.points_in_ego() if frame.lidar is not None else np.empty((0, 4))
    near = (points[:, 0] > -2) & (points[:, 0] < reach_m) & (np.abs(points[:, 1]) < reach_m / 2)
    shown = points[near]
    axes.scatter(
        -shown[:, 1],
        shown[:, 0],
        s=0.9,
        c=np.clip(shown[:, 2], 0.0, 2.5),
        cmap="Greys",
        vmin=-2.5,
        vmax=2.5,
        linewidths=0,
        rasterized=True,
    )
    axes.set_aspect("equal")
    axes.grid(visible=False)
    axes.set_xlim(-reach_m / 2, reach_m / 2)
    axes.set_ylim(-2, reach_m)
    axes.set_xlabel("to the right, m")


def outlines_from_above(boxes: Boxes) -> list[NDArray[np.float64]]:
    """Return the lines of boxes as `draw_cloud` has its axes: outline, and centre to front."""
    rows = boxes.as_7()
    corners = corners_bev(rows)
    lines = [np.column_stack([-c[:, 1], c[:, 0]]) for c in corners[:, [0, 1, 2, 3, 0]]]
    nose = corners[:, :2].mean(axis=1)
    return lines + [
        np.array([[-row[1], row[0]], [-end[1], end[0]]])
        for row, end in zip(rows, nose, strict=True)
    ]


def _draw_boxes(axes: Axes, pairing: Pairing) -> None:
    groups = (
        (pairing.labels, ~pairing.found, MISSED, "-", 2.4),
        (pairing.labels, pairing.found, FOUND, "-", 3.4),
        (pairing.detections, pairing.right, RIGHT, "-", 1.1),
        (pairing.detections, ~pairing.right, WRONG, "--", 1.4),
    )
    for boxes, chosen, colour, style, width in groups:
        lines = outlines_from_above(boxes.select(chosen))
        axes.add_collection(
            LineCollection(lines, colors=colour, linestyles=style, linewidths=width)
        )


def draw_in_image(frame: Frame, pairing: Pairing) -> str | None:
    """Return a JPEG data URI: the camera image with labels and detections; None without image."""
    camera = frame.camera
    if camera is None or not camera.encoded or camera.sensor.camera_matrix is None:
        return None
    with image_figure(camera.encoded) as (figure, axes):
        groups = (
            (pairing.labels, ~pairing.found, MISSED, "-", 2.2),
            (pairing.labels, pairing.found, FOUND, "-", 3.0),
            (pairing.detections, pairing.right, RIGHT_IN_IMAGE, "-", 1.1),
            (pairing.detections, ~pairing.right, WRONG, "--", 1.5),
        )
        for boxes, chosen, colour, style, line_width in groups:
            lines = project_edges(boxes.select(chosen), frame)
            axes.add_collection(
                LineCollection(lines, colors=colour, linestyles=style, linewidths=line_width)
            )
        return as_jpeg(figure)


@contextmanager
def image_figure(encoded: bytes) -> Iterator[tuple[Figure, Axes]]:
    """Yield a figure that an image fills, and axes in its pixels."""
    image = matplotlib.image.imread(io.BytesIO(encoded), format=_format(encoded))
    height, width = image.shape[:2]
    with drawing(_IMAGE_WIDTH_IN, _IMAGE_WIDTH_IN * height / width) as figure:
        figure.set_layout_engine("none")
        figure.set_facecolor(INK)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.imshow(image, cmap="gray", aspect="auto")
        axes.set_xlim(-0.5, width - 0.5)
        axes.set_ylim(height - 0.5, -0.5)
        axes.set_autoscale_on(False)
        axes.set_axis_off()
        yield figure, axes


def project_edges(boxes: Boxes, frame: Frame) -> list[NDArray[np.float64]]:
    """Return (2, 2) pixel ends of the box edges in the front image, as far as they are ahead."""
    sensor = None if frame.camera is None else frame.camera.sensor
    if sensor is None or sensor.camera_matrix is None:
        return []
    edges = camera.project_edges(boxes.as_7(), sensor.ego_from_sensor, sensor.camera_matrix)
    return list(edges[np.isfinite(edges).all(axis=(2, 3))])


def _format(encoded: bytes) -> str:
    return "png" if encoded.startswith(b"\x89PNG") else "jpg"
