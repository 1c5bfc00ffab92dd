"""Random changes of a labelled frame that keep its labels true."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.boxes import intersection_area
from admlops.loading.composition import Change, Objects, compose
from admlops.loading.config import AugmentationConfig
from admlops.loading.ground_truth import ObjectSampler, Pasted
from admlops.loading.raw_frames import RawFrame
from admlops.structures.frame import FrameKey


@dataclass(frozen=True, slots=True)
class TrainingFrame:
    """A frame as the network will see it.

    Attributes:
        key: its key.
        points: (N, 4) float32 x y z intensity in the ego frame.
        boxes_7: (B, 7) float64.
        category: (B,) int64 index into the detector's categories.
    """

    key: FrameKey
    points: NDArray[np.float32]
    boxes_7: NDArray[np.float64]
    category: NDArray[np.int64]


def plain_frame(frame: RawFrame) -> TrainingFrame:
    """Return a frame as it is, in the ego frame and cropped to the view."""
    points = compose(
        frame.points,
        frame.ego_from_sensor,
        frame.view,
        Objects.none(),
        np.empty((0, 4), dtype=np.float32),
        Change.none(),
    )
    return TrainingFrame(frame.key, points, frame.boxes_7, frame.category)


def augment(
    frame: RawFrame,
    config: AugmentationConfig,
    sampler: ObjectSampler | None,
    generator: np.random.Generator,
) -> TrainingFrame:
    """Return a random variant of a frame.

    Objects are pasted, single objects move, then the whole scene is mirrored, turned, scaled and
    shifted. Points of the scene inside pasted boxes are removed.

    Args:
        frame: the labelled frame.
        config: how much of what.
        sampler: objects to paste; None pastes none.
        generator: the source of chance.
    """
    pasted = Pasted.none()
    if sampler is not None:
        pasted = sampler.choose(frame.category, frame.obstacles_7, generator)
    others = np.concatenate([frame.obstacles_7, pasted.boxes_7])
    moved = _move_objects(frame.boxes_7, others, config, generator)
    cleared = np.full_like(pasted.boxes_7, np.nan)
    goes = (moved != frame.boxes_7).any(axis=1)
    objects = Objects(
        np.concatenate([frame.boxes_7[goes], pasted.boxes_7]),
        np.concatenate([moved[goes], cleared]),
    )
    change = _draw_change(config, generator)
    points = compose(
        frame.points, frame.ego_from_sensor, frame.view, objects, pasted.points, change
    )
    return TrainingFrame(
        key=frame.key,
        points=points,
        boxes_7=change.apply_to_boxes(np.concatenate([moved, pasted.boxes_7])),
        category=np.concatenate([frame.category, pasted.category]),
    )


def _draw_change(config: AugmentationConfig, generator: np.random.Generator) -> Change:
    flip, turn, scale = generator.uniform(-1.0, 1.0, 3)
    return Change(
        flip=bool((flip + 1) / 2 < config.flip_probability),
        rotation_rad=turn * config.rotation_rad,
        scale=1.0 + scale * config.scale_share,
        shift_m=generator.standard_normal(3) * config.translation_m,
    )


def _move_objects(
    boxes_7: NDArray[np.float64],
    others_7: NDArray[np.float64],
    config: AugmentationConfig,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """Return boxes moved a little; one whose new place is taken stays where it is."""
    noise = np.zeros_like(boxes_7)
    noise[:, :3] = generator.standard_normal((len(boxes_7), 3)) * config.object_translation_m
    noise[:, 6] = generator.uniform(-1, 1, len(boxes_7)) * config.object_rotation_rad
    if not noise.any():
        return boxes_7
    return _move_if_free(boxes_7, noise, np.ascontiguousarray(others_7))


@njit(cache=True, nogil=True)
def _move_if_free(
    boxes: NDArray[np.float64], noise: NDArray[np.float64], others: NDArray[np.float64]
) -> NDArray[np.float64]:
    moved = boxes.copy()
    for index in range(len(boxes)):
        proposal = boxes[index] + noise[index]
        free = True
        for other in range(len(others)):
            own = True  # a label is among the obstacles too
            for column in range(7):
                own = own and others[other, column] == boxes[index, column]
            if not own and intersection_area(others[other], proposal) > 0.0:
                free = False
        for other in range(len(boxes)):
            if other != index and intersection_area(moved[other], proposal) > 0.0:
                free = False
        if free:
            moved[index] = proposal
    return moved
