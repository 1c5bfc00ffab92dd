"""Boxes in images: overlaps, and how much of a box lies in others.

A box is a row of four numbers, left top right bottom, px. Every function takes empty arrays.
"""

import numpy as np
from numpy.typing import NDArray


def iou_in_image(
    first_px: NDArray[np.float64], second_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, M) intersection over union of boxes in one image; NaN boxes overlap nothing."""
    first, second = first_px.reshape(-1, 4), second_px.reshape(-1, 4)
    shared = _shared_areas(first, second)
    union = areas(first)[:, None] + areas(second)[None] - shared
    return np.where(union > 0, shared / np.where(union > 0, union, 1.0), 0.0)


def share_inside(
    boxes_px: NDArray[np.float64], regions_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (N, M) which share of each of N boxes lies in each of M regions."""
    boxes = boxes_px.reshape(-1, 4)
    own = areas(boxes)[:, None]
    shared = _shared_areas(boxes, regions_px.reshape(-1, 4))
    return np.where(own > 0, shared / np.where(own > 0, own, 1.0), 0.0)


def areas(boxes_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) areas; 0 for boxes that are NaN or turned inside out."""
    size = np.nan_to_num(boxes_px[:, 2:] - boxes_px[:, :2]).clip(min=0.0)
    return np.asarray(size[:, 0] * size[:, 1])


def _shared_areas(
    first_px: NDArray[np.float64], second_px: NDArray[np.float64]
) -> NDArray[np.float64]:
    first, second = first_px[:, None], second_px[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., 2:], second[..., 2:])
    size = np.nan_to_num(high - low).clip(min=0.0)
    return np.asarray(size[..., 0] * size[..., 1])
