"""Pictures of frames that repeat others, side by side."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from admlops.analysis.duplicates import DuplicatePair
from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.likeness.thumbnails import decode_colours
from admlops.structures.frame import Frame

MAX_SHOWN = 6
_WIDTH_PX, _HEIGHT_PX = 480, 270
_REACH_M = (40.0, 22.5)
"""How far a cloud is drawn to the front and back, and to the sides."""


def picture_pairs(dataset: Dataset, pairs: Sequence[DuplicatePair]) -> list[tuple[str, str]]:
    """Return data URIs of both frames of each of the first pairs.

    Front images where both have one, else the clouds from above; "" where nothing can be shown.

    Raises:
        DataError: the dataset cannot be read.
    """
    shown = pairs[:MAX_SHOWN]
    frames = iter(dataset.take([row for pair in shown for row in pair.rows], camera=True))
    return [_pair_of(first, second) for first, second in zip(frames, frames, strict=True)]


def _pair_of(first: Frame, second: Frame) -> tuple[str, str]:
    frames = (first, second)
    if all(frame.camera is not None and frame.camera.encoded for frame in frames):
        images = [_image(frame) for frame in frames]
    else:
        images = [_cloud_image(frame) for frame in frames]
    return _as_jpeg(images[0]), _as_jpeg(images[1])


def _image(frame: Frame) -> Image.Image | None:
    if frame.camera is None:
        return None
    try:
        return Image.fromarray(decode_colours(frame.camera.encoded, 2 * _WIDTH_PX))
    except DataError:
        return None  # its bytes are those of another frame's, and as broken


def _cloud_image(frame: Frame) -> Image.Image | None:
    """Return the cloud from above, forward to the right: the darker, the more points."""
    if frame.lidar is None:
        return None
    points = frame.points_in_ego()
    edges = [
        np.linspace(-reach_m, reach_m, size_px + 1)
        for reach_m, size_px in zip(_REACH_M, (_WIDTH_PX, _HEIGHT_PX), strict=True)
    ]
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=edges)
    darkness = np.clip(np.log1p(counts) / np.log(12.0), 0.0, 1.0)
    gray = np.round(255.0 - 215.0 * darkness).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(gray.T[::-1])).convert("RGB")


def _as_jpeg(image: Image.Image | None) -> str:
    if image is None:
        return ""
    image.thumbnail((_WIDTH_PX, _HEIGHT_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
