"""Measures of single images that are cheap enough for every frame of a drive."""

import numpy as np
from numpy.typing import NDArray


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
