"""What a labelling vendor draws into images, with mistakes at given rates."""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config
from admlops.structures.boxes_2d import Boxes2d

Rate = Annotated[float, Field(ge=0.0, le=1.0)]

IMAGE_DEFECTS = ("missing", "shifted", "category", "resized", "outside", "duplicate")
_SHIFT = 1.2
"""How far a shifted box is off, in its own size."""
_RESIZED = 2.2
_OUTSIDE_PX = 25.0


class ImageVendorConfig(Config):
    """How carefully boxes are drawn into images; rates are per box."""

    missing: Rate = 0.0
    """Boxes that are not drawn."""
    shifted: Rate = 0.0
    """Boxes beside their object."""
    category: Rate = 0.0
    """Boxes with a category that is easily confused."""
    resized: Rate = 0.0
    """Boxes much larger than their object."""
    outside: Rate = 0.0
    """Boxes that reach over the border of the image."""
    duplicate: Rate = 0.0
    """Objects that are labelled twice."""
    noise_px: float = Field(default=0.7, ge=0, le=20)
    """Standard deviation of edges."""
    min_height_px: float = Field(default=0.0, ge=0)
    """Height from which on an object is labelled."""


def draw_in_image(
    truth: Boxes2d, size_px: tuple[int, int], config: ImageVendorConfig, random: np.random.Generator
) -> tuple[Boxes2d, NDArray[np.object_]]:
    """Return boxes as a hand draws them, and the mistake made with each box of the truth, or "".

    Categories are those of the truth: who labels in space too confuses them alike.

    Args:
        truth: boxes of one image.
        size_px: width and height of the image.
        config: how carefully they are drawn.
        random: where luck comes from.
    """
    height_px = truth.box2d_px[:, 3] - truth.box2d_px[:, 1]
    luck = random.random(len(truth))
    kinds = np.full(len(truth), "", dtype=object)
    for kind in IMAGE_DEFECTS:
        rate = getattr(config, kind)
        kinds[(kinds == "") & (luck < rate) & (luck >= 0)] = kind
        luck -= rate
    kinds[height_px < config.min_height_px] = ""
    edges = truth.box2d_px + random.normal(0.0, config.noise_px, (len(truth), 4))
    edges = _within(edges, size_px)
    for row in range(len(truth)):
        edges[row] = _spoil(edges[row], str(kinds[row]), size_px, random)
    drawn = truth.replace(box2d_px=edges, attributes=np.full(len(truth), "", dtype=object))
    kept = drawn.select((kinds != "missing") & (height_px >= config.min_height_px))
    again = drawn.select(kinds == "duplicate")
    again = again.replace(
        box2d_px=_within(again.box2d_px + 1.0, size_px),
        track_id=np.full(len(again), "", dtype=object),
    )
    return Boxes2d.concatenate([kept, again]), kinds


def _spoil(
    edges: NDArray[np.float64], kind: str, size_px: tuple[int, int], random: np.random.Generator
) -> NDArray[np.float64]:
    """Return the edges of one box with a mistake."""
    size = edges[2:] - edges[:2]
    if kind == "shifted":
        away = _SHIFT * size[0] * (1.0 if edges[2] + _SHIFT * size[0] < size_px[0] else -1.0)
        return edges + np.array([away, 0.0, away, 0.0])
    if kind == "resized":
        middle = (edges[:2] + edges[2:]) / 2
        grown = _RESIZED * size / 2
        return _within(np.concatenate([middle - grown, middle + grown])[None], size_px)[0]
    if kind == "outside":
        side = int(random.integers(2))
        over = edges.copy()
        over[3 if side else 2] = size_px[side] - 1 + _OUTSIDE_PX
        return over
    return edges


def _within(edges: NDArray[np.float64], size_px: tuple[int, int]) -> NDArray[np.float64]:
    """Return (N, 4) boxes cut at the border of the image, at least a pixel wide and high."""
    last = np.array([size_px[0] - 1.0, size_px[1] - 1.0])
    low = np.clip(np.minimum(edges[:, :2], edges[:, 2:]), 0.0, last - 1.0)
    high = np.clip(np.maximum(edges[:, :2], edges[:, 2:]), low + 1.0, last)
    return np.concatenate([low, high], axis=1)
