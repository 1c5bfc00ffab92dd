"""KITTI rows written by hand, for the evaluation's tests."""

from dataclasses import fields, replace

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.formats.kitti.labels import parse_labels


def row(
    category: str = "Car",
    *,
    x_m: float = 0.0,
    z_m: float = 20.0,
    left_px: float = 100.0,
    height_px: float = 50.0,
    occlusion: int = 0,
    truncation: float = 0.0,
    turn_rad: float = 0.0,
    score: float | None = None,
) -> str:
    """Return a row: a car of 4 m by 2 m by 1.5 m, 100 px wide in the image."""
    text = (
        f"{category} {truncation} {occlusion} {turn_rad} "
        f"{left_px} 100 {left_px + 100} {100 + height_px} "
        f"1.5 2.0 4.0 {x_m} 1.65 {z_m} {turn_rad}"
    )
    return text if score is None else f"{text} {score!r}"


def flat(frames: list[list[str]]) -> FlatBoxes:
    """Return rows of frames as the evaluators read them."""
    names = [f"{index:06d}" for index in range(len(frames))]
    return FlatBoxes.from_label_table(parse_labels(["\n".join(f).encode() for f in frames], names))


def spread_scores(count: int, low: float, high: float) -> list[float]:
    """Return descending scores between two bounds."""
    return np.linspace(high, low, count).tolist()


def take_frames(boxes: FlatBoxes, frames: NDArray[np.int64], rng: Generator | None) -> FlatBoxes:
    """Return the boxes of some frames, mixed within each frame where a generator is given."""
    rows = [np.arange(boxes.offsets[frame], boxes.offsets[frame + 1]) for frame in frames]
    if rng is not None:
        rows = [rng.permutation(part) for part in rows]
    chosen = np.concatenate(rows)
    columns = {
        field.name: getattr(boxes, field.name)[chosen]
        for field in fields(boxes)
        if field.name not in ("frame_names", "offsets", "category_names")
    }
    return replace(
        boxes,
        frame_names=tuple(boxes.frame_names[frame] for frame in frames),
        offsets=np.cumsum([0, *(len(part) for part in rows)]),
        **columns,
    )
