"""One labelled box close up: from above, from the side, and in the image that shows it best."""

import io

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from admlops.analysis.drawing import as_jpeg, drawing
from admlops.geometry.boxes import corners_bev, points_in_boxes
from admlops.geometry.camera import project_edges
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CameraImage, Frame

BOX, FRONT, INSIDE, OTHER, POINT = "#0b7a53", "#e07b00", "#d92d20", "#7b8794", "#9aa5b1"
IMAGE_BOX = "#2563eb"
MIN_REACH_M = 3.0
"""Least distance from the box's centre to the border of a panel."""
MIN_CROP_PX = 120.0
CROP_ASPECT = 2.4
"""Width by height of the panel that shows the image."""
_HEIGHT_IN, _WIDTH_IN = 2.35, 10.4


def draw_example(frame: Frame, index: int) -> str:
    """Return a JPEG data URI of one labelled box of a frame and what is around it.

    Args:
        frame: with labels; its points and images are shown where they are loaded.
        index: number of the box.
    """
    boxes = Boxes.empty() if frame.boxes is None else frame.boxes
    camera = _best_camera(frame, boxes.as_7()[index])
    with drawing(_WIDTH_IN, _HEIGHT_IN) as figure:
        above, side, image = figure.subplots(1, 3, width_ratios=[1.0, 1.2, CROP_ASPECT])
        points = _points(frame)
        inside = points_in_boxes(points, boxes.as_7()[index : index + 1])[0]
        _draw_above(above, points, inside, (boxes, index))
        _draw_side(side, points, inside, boxes.as_7()[index])
        if camera is None:
            image.text(0.5, 0.5, "not in any image", ha="center", va="center", color=OTHER)
            image.set_axis_off()
        else:
            _draw_image(image, camera, boxes.as_7(), index)
            _draw_image_box(image, frame, camera, str(boxes.track_id[index]))
        return as_jpeg(figure, dots_per_inch=130)


def _points(frame: Frame) -> NDArray[np.float32]:
    return np.empty((0, 4), np.float32) if frame.lidar is None else frame.points_in_ego()


def _draw_above(
    axes: Axes, points: NDArray[np.float32], inside: NDArray[np.bool_], labels: tuple[Boxes, int]
) -> None:
    """Draw the box from above as the vehicle drives: forward is up."""
    boxes, index = labels
    rows = boxes.as_7()
    row = rows[index]
    reach_m = max(MIN_REACH_M, 0.75 * row[3] + 1.5)
    near = (np.abs(points[:, :2] - row[:2]) < reach_m).all(axis=1)
    _draw_points(axes, -points[near, 1], points[near, 0], inside[near])
    outlines = np.stack([-corners_bev(rows)[..., 1], corners_bev(rows)[..., 0]], axis=-1)
    others = np.delete(outlines, index, axis=0)[:, [0, 1, 2, 3, 0]]
    axes.add_collection(LineCollection(list(others), colors=OTHER, linewidths=1.0))
    axes.add_collection(LineCollection([outlines[index][[0, 1, 2, 3, 0]]], colors=BOX, lw=2.0))
    front = outlines[index][:2].mean(axis=0)
    axes.annotate(
        "",
        xy=front,
        xytext=(-row[1], row[0]),
        arrowprops={"arrowstyle": "-|>", "color": BOX, "lw": 1.6, "shrinkA": 0, "shrinkB": 0},
    )
    axes.set_xlim(-row[1] - reach_m, -row[1] + reach_m)
    axes.set_ylim(row[0] - reach_m, row[0] + reach_m)
    axes.set_aspect("equal")
    axes.set_title("From above")
    axes.set_xlabel("to the right, m")
    axes.set_ylabel("forward, m")


def _draw_side(
    axes: Axes, points: NDArray[np.float32], inside: NDArray[np.bool_], row: NDArray[np.float64]
) -> None:
    """Draw the box from its right side: along its heading to the right, height up."""
    cosine, sine = np.cos(row[6]), np.sin(row[6])
    x, y = points[:, 0] - row[0], points[:, 1] - row[1]
    along, across = x * cosine + y * sine, y * cosine - x * sine
    reach_m = max(MIN_REACH_M, 0.6 * row[3] + 1.5)
    bottom_m = row[2] - row[5] / 2
    near = (np.abs(along) < reach_m) & (np.abs(across) < 0.5 * row[4] + 0.3)
    _draw_points(axes, along[near], points[near, 2], inside[near])
    axes.add_patch(_rectangle(-row[3] / 2, bottom_m, row[3], row[5]))
    axes.annotate(
        "",
        xy=(row[3] / 2, bottom_m),
        xytext=(0, bottom_m),
        arrowprops={"arrowstyle": "-|>", "color": BOX, "lw": 1.6, "shrinkA": 0, "shrinkB": 0},
    )
    axes.set_xlim(-reach_m, reach_m)
    axes.set_ylim(bottom_m - 0.8, bottom_m - 0.8 + max(2.0 * reach_m / 1.3, row[5] + 1.6))
    axes.set_aspect("equal")
    axes.set_title("From the side")
    axes.set_xlabel("along the heading, m")
    axes.set_ylabel("height, m")


def _draw_points(
    axes: Axes,
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    inside: NDArray[np.bool_],
) -> None:
    axes.scatter(x[~inside], y[~inside], s=2.5, c=POINT, linewidths=0)
    size = 5.0 if inside.sum() > 60 else 14.0
    axes.scatter(x[inside], y[inside], s=size, c=INSIDE, linewidths=0, zorder=3)


def _rectangle(left: float, bottom: float, width: float, height: float) -> Rectangle:
    return Rectangle((left, bottom), width, height, fill=False, edgecolor=BOX, linewidth=2.0)


def _best_camera(frame: Frame, row: NDArray[np.float64]) -> CameraImage | None:
    """Return the loaded image in which the box covers most pixels; None where none shows it."""
    best, best_area = None, 0.0
    for camera in frame.cameras:
        area = _area(camera.places_of(row[None])[0]) if camera.encoded else 0.0
        if area > best_area:
            best, best_area = camera, area
    return best


def _area(extent_px: NDArray[np.float64]) -> float:
    size = extent_px[2:] - extent_px[:2]
    return 0.0 if np.isnan(size).any() else float(size[0] * size[1])


def _draw_image(axes: Axes, camera: CameraImage, rows: NDArray[np.float64], index: int) -> None:
    """Draw a part of the image around the box, with the edges of all boxes."""
    matrix = camera.sensor.camera_matrix
    if matrix is None:
        return
    left, top, right, bottom = camera.places_of(rows[[index]])[0]
    height = max(MIN_CROP_PX, 1.5 * (bottom - top), 1.4 * (right - left) / CROP_ASPECT)
    height = min(height, camera.height_px, camera.width_px / CROP_ASPECT)
    width = height * CROP_ASPECT
    low_x = np.clip((left + right - width) / 2, 0, camera.width_px - width)
    low_y = np.clip((top + bottom - height) / 2, 0, camera.height_px - height)
    suffix = "png" if camera.encoded.startswith(b"\x89PNG") else "jpg"
    pixels = matplotlib.image.imread(io.BytesIO(camera.encoded), format=suffix)
    axes.imshow(pixels, cmap="gray", aspect="equal", interpolation="bilinear")
    edges = project_edges(rows, camera.sensor.ego_from_sensor, matrix)
    others = np.delete(edges, index, axis=0).reshape(-1, 2, 2)
    axes.add_collection(LineCollection(_seen(others), colors="white", linewidths=0.8, alpha=0.75))
    axes.add_collection(LineCollection(_seen(edges[index]), colors="white", lw=3.0, alpha=0.6))
    axes.add_collection(LineCollection(_seen(edges[index]), colors=BOX, lw=1.5))
    axes.add_collection(LineCollection(_seen(edges[index][[0, 4, 8, 9]]), colors=FRONT, lw=1.5))
    axes.set_xlim(low_x, low_x + width)
    axes.set_ylim(low_y + height, low_y)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(f"In the image of {camera.sensor.name}, front in orange")


def _draw_image_box(axes: Axes, frame: Frame, camera: CameraImage, track: str) -> None:
    """Draw the box in the image that is labelled for the same object."""
    boxes = frame.boxes_2d
    if boxes is None or not track:
        return
    names = {camera.sensor.name} | ({""} if camera is frame.camera else set())
    for row in np.flatnonzero(boxes.track_id == track).tolist():
        if boxes.camera[row] in names:
            left, top, right, bottom = boxes.box2d_px[row].tolist()
            box = _rectangle(left, top, right - left, bottom - top)
            box.set(edgecolor=IMAGE_BOX, linestyle="--")
            axes.add_patch(box)


def _seen(edges: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    return list(edges[np.isfinite(edges).all(axis=(1, 2))])
