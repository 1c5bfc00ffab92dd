"""One labelled box in an image: where it is in the whole image, and close up."""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib.image
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from admlops.analysis.drawing import as_jpeg, drawing
from admlops.annotation.image_examples import ImageExample
from admlops.reporting.example_pictures import BOX, FRONT, MIN_CROP_PX
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CameraImage, Frame

_HEIGHT_IN, _WIDTH_IN = 3.15, 10.4
_PANEL_ASPECT = 1.78
"""Width by height of both panels."""
_AROUND = 1.6
"""Height and width of the close-up, as a multiple of the boxes in it."""


def camera_of(frame: Frame, name: str) -> CameraImage | None:
    """Return the loaded image of a camera; "" is the front one; None where there is none."""
    for image in frame.cameras:
        is_front = image is frame.camera
        if image.encoded and (image.sensor.name == name or (is_front and not name)):
            return image
    return None


def labels_in(frame: Frame, camera: CameraImage) -> Boxes2d:
    """Return the boxes in one image of a frame that have a place there."""
    boxes = Boxes2d.empty() if frame.boxes_2d is None else frame.boxes_2d
    names = [camera.sensor.name, *([""] if camera is frame.camera else [])]
    is_here = np.isin(boxes.camera.astype(str), names)
    return boxes.select(is_here & np.isfinite(boxes.box2d_px).all(axis=1))


def draw_image_example(frame: Frame, camera: CameraImage, example: ImageExample) -> str:
    """Return a JPEG data URI of one labelled box of an image and what is around it.

    Args:
        frame: with boxes in images.
        camera: the image, loaded.
        example: names the box.
    """
    suffix = "png" if camera.encoded.startswith(b"\x89PNG") else "jpg"
    pixels = matplotlib.image.imread(io.BytesIO(camera.encoded), format=suffix)
    height_px, width_px = pixels.shape[:2]
    shown = np.array([box for box in (example.box2d_px, example.partner_px) if box])
    window = _window(shown, (width_px, height_px))
    others = _others(labels_in(frame, camera).box2d_px, shown)
    with drawing(_WIDTH_IN, _HEIGHT_IN) as figure:
        whole, close = figure.subplots(1, 2)
        for axes, line_width in ((whole, 1.4), (close, 2.2)):
            axes.imshow(pixels, cmap="gray", aspect="equal", interpolation="bilinear")
            _draw_boxes(axes, shown, others, line_width)
            axes.set_axis_off()
        left, top, right, bottom = window
        add_rectangle(whole, window.tolist(), edgecolor="white", linewidth=1.0, linestyle=":")
        whole.set_xlim(-0.5, width_px - 0.5)
        whole.set_ylim(height_px - 0.5, -0.5)
        close.set_xlim(left, right)
        close.set_ylim(bottom, top)
        whole.set_title(f"The image of {camera.sensor.name}")
        close.set_title("Close up" if len(shown) == 1 else "Close up, the other box in orange")
        return as_jpeg(figure, dots_per_inch=130)


def _window(shown: NDArray[np.float64], size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Return left, top, right, bottom of the close-up; it leaves the image only where it must."""
    low, high = shown[:, :2].min(axis=0), shown[:, 2:].max(axis=0)
    width, height = high - low
    tall = max(MIN_CROP_PX, _AROUND * height, _AROUND * width / _PANEL_ASPECT)
    span = np.minimum([tall * _PANEL_ASPECT, tall], size_px)
    # A window that is narrowed to the image shows more than it must in the other direction.
    span = np.maximum(span, np.minimum([width, height], size_px))
    start = np.clip((low + high - span) / 2, 0, np.array(size_px) - span)
    return np.concatenate([start, start + span])


def _others(boxes: NDArray[np.float64], shown: NDArray[np.float64]) -> NDArray[np.float64]:
    apart_px = np.abs(boxes[:, None] - shown[None]).max(axis=-1)
    return boxes[(apart_px > 0).all(axis=1)]


def _draw_boxes(
    axes: Axes, shown: NDArray[np.float64], others: NDArray[np.float64], line_width: float
) -> None:
    for box in others:
        add_rectangle(axes, box.tolist(), edgecolor="white", linewidth=0.8, alpha=0.75)
    for box, colour in zip(shown[::-1], (BOX, FRONT)[: len(shown)][::-1], strict=True):
        add_rectangle(axes, box.tolist(), edgecolor="white", linewidth=line_width + 1.6, alpha=0.7)
        add_rectangle(axes, box.tolist(), edgecolor=colour, linewidth=line_width)


def add_rectangle(axes: Axes, edges: Sequence[float], **style: Any) -> None:  # noqa: ANN401 - as Matplotlib's
    """Draw left, top, right, bottom of a box; the style is that of a patch."""
    left, top, right, bottom = edges
    axes.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, **style))
