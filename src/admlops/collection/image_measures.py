"""Measures of single images and clouds that are cheap enough for every frame of a drive."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from admlops.errors import DataError

THUMBNAIL_SHAPE = (8, 8)
_GRID_CELLS = 16
_GRID_REACH_M = 40.0
_ABOVE_GROUND_M = 0.3


def decode_gray(encoded: bytes, max_width_px: int) -> NDArray[np.uint8]:
    """Return the (H, W) brightness of a PNG or JPEG file, reduced to a width at most.

    Raises:
        DataError: it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            wanted_px = (max_width_px, max(1, round(image.height * max_width_px / image.width)))
            image.draft("L", wanted_px)
            gray = image.convert("L")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the image cannot be decoded ({error})") from error
    if gray.width > max_width_px:
        gray = gray.resize(wanted_px, Image.Resampling.BOX)
    return np.asarray(gray)


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Return the variance of the Laplacian of (H, W) brightness; 0 below 3 x 3 pixels.

    Source: Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000.
    """
    if min(gray.shape) < 3:
        return 0.0
    values = gray.astype(np.float32)
    middle = values[1:-1, 1:-1]
    laplacian = values[:-2, 1:-1] + values[2:, 1:-1] + values[1:-1, :-2] + values[1:-1, 2:]
    return float((laplacian - 4.0 * middle).var())


def clipped_shares(gray: NDArray[np.uint8], dark: int, bright: int) -> tuple[float, float]:
    """Return the shares of pixels that are at most `dark`, and at least `bright`."""
    return float((gray <= dark).mean()), float((gray >= bright).mean())


def image_thumbnail(gray: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (64,) bits: where brightness rises to the right in a 9 x 8 image (a dHash).

    Source: N. Krawetz, "Kind of like that", 2013.
    """
    rows, columns = THUMBNAIL_SHAPE
    image = Image.fromarray(gray).resize((columns + 1, rows), Image.Resampling.BOX)
    small = np.asarray(image, dtype=np.int16)
    return (small[:, 1:] > small[:, :-1]).reshape(-1)


def cloud_thumbnail(points_ego: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return (256,) bits: which cells of 5 m around the vehicle hold points above the ground.

    Args:
        points_ego: (N, 4) float32 in the ego frame.
    """
    above = points_ego[points_ego[:, 2] > _ABOVE_GROUND_M]
    edges = np.linspace(-_GRID_REACH_M, _GRID_REACH_M, _GRID_CELLS + 1)
    counts, _, _ = np.histogram2d(above[:, 0], above[:, 1], bins=(edges, edges))
    return np.asarray(counts > 0).reshape(-1)
