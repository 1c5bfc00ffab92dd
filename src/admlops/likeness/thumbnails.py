"""Thumbnails: what an image or a cloud looks like, in 256 bits that survive another encoding."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from admlops.errors import DataError

THUMBNAIL_BITS = 256
_CELLS = 16
_GRID_REACH_M = 40.0
_ABOVE_GROUND_M = 0.3


def decode_gray(encoded: bytes, max_width_px: int) -> NDArray[np.uint8]:
    """Return the (H, W) brightness of a PNG or JPEG file, reduced to a width at most.

    Raises:
        DataError: it cannot be decoded.
    """
    return _decode(encoded, max_width_px, "L")


def decode_colours(encoded: bytes, max_width_px: int) -> NDArray[np.uint8]:
    """Return the (H, W, 3) red, green and blue of a PNG or JPEG file, reduced to a width at most.

    Raises:
        DataError: it cannot be decoded.
    """
    return _decode(encoded, max_width_px, "RGB")


def _decode(encoded: bytes, max_width_px: int, mode: Literal["L", "RGB"]) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            wanted_px = (max_width_px, max(1, round(image.height * max_width_px / image.width)))
            image.draft(mode, wanted_px)
            decoded = image.convert(mode)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the image cannot be decoded ({error})") from error
    if decoded.width > max_width_px:
        decoded = decoded.resize(wanted_px, Image.Resampling.BOX)
    return np.asarray(decoded)


def image_thumbnail(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (256,) bits: where brightness rises to the right in a 17 x 16 image (a dHash).

    With 8 x 8 bits, two frames of a moving drive can be as near as two encodings of one frame.
    Source: N. Krawetz, "Kind of like that", 2013.
    """
    image = Image.fromarray(gray).resize((_CELLS + 1, _CELLS), Image.Resampling.BOX)
    small = np.asarray(image, dtype=np.int16)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)


def cloud_thumbnail(points_ego: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (256,) bits: which cells of 5 m around the vehicle hold points above the ground.

    Args:
        points_ego: (N, 4) float32 in the ego frame.
    """
    x, y, z = points_ego[:, 0], points_ego[:, 1], points_ego[:, 2]
    near = (z > _ABOVE_GROUND_M) & (np.abs(x) < _GRID_REACH_M) & (np.abs(y) < _GRID_REACH_M)
    cell_m = 2.0 * _GRID_REACH_M / _CELLS
    row, column = (((axis[near] + _GRID_REACH_M) / cell_m).astype(np.int64) for axis in (x, y))
    bits = np.zeros(THUMBNAIL_BITS, np.bool_)
    bits[np.minimum(row, _CELLS - 1) * _CELLS + np.minimum(column, _CELLS - 1)] = True
    return bits


def changed_share(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return which share of the bits that are set in either thumbnail are not set in both.

    Half a dozen cells are a lot in a cloud of twenty and little in one of a hundred.
    Source: P. Jaccard, "Étude comparative de la distribution florale", 1901.
    """
    return float((one != other).sum() / max(int((one | other).sum()), 1))
