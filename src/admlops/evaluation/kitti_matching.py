"""The inner loops of KITTI's evaluation: overlapping pairs, and matching at score thresholds.

Source: the official KITTI object evaluator, functions computeStatistics and getThresholds.
A label and a prediction meet only where their overlap passes the class's minimum, and such pairs
are few: they are found once, and every difficulty and threshold is then counted from them.
"""

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.boxes import are_apart, intersection_area

NUM_RECALLS = 41
IGNORED, COUNTED, FOREIGN = 1, 0, -1
"""States of a label or prediction at one difficulty, as in the official program."""


@njit(cache=True, nogil=True)
def image_overlap(first: NDArray[np.float64], second: NDArray[np.float64], own: bool) -> float:
    """Return the overlap of two image boxes over their union, or over the first one's own area."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if not (width > 0.0 and height > 0.0):
        return 0.0
    shared = width * height
    area = (first[2] - first[0]) * (first[3] - first[1])
    if not own:
        area += (second[2] - second[0]) * (second[3] - second[1]) - shared
    return shared / area


@njit(cache=True, nogil=True)
def space_overlaps(
    first: NDArray[np.float64], second: NDArray[np.float64], own: bool
) -> tuple[float, float]:
    """Return the overlaps on the ground and in space, over the union or the first one's own size.

    A second box with negative length and width is taken at its absolute size: KITTI's tracking
    labels write -1000 in the sizes of regions that count for nothing, and the official program
    draws a square of a kilometre for them.
    """
    shared = intersection_area(first, second)
    if shared <= 0.0:
        return 0.0, 0.0
    top = min(first[2] + first[5] / 2.0, second[2] + second[5] / 2.0)
    bottom = max(first[2] - first[5] / 2.0, second[2] - second[5] / 2.0)
    volume = shared * max(top - bottom, 0.0)
    whole_ground = first[3] * first[4]
    whole_space = whole_ground * first[5]
    if not own:
        ground_second = second[3] * second[4]
        whole_ground += ground_second - shared
        whole_space += ground_second * second[5] - volume
    return shared / whole_ground, volume / whole_space


@njit(cache=True, nogil=True)
def find_pairs(
    offsets: NDArray[np.int64],
    labels_11: NDArray[np.float64],
    label_roles: NDArray[np.int64],
    predictions_11: NDArray[np.float64],
    prediction_roles: NDArray[np.int64],
    minimum: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return (P, 4) rows metric, label, prediction, overlap of all pairs above the minimum.

    Args:
        offsets: (F + 1, 2) first label and first prediction of each frame.
        labels_11: (N, 11) seven numbers in the ego frame, then left top right bottom.
        label_roles: (N,) `FOREIGN` rows are left out.
        predictions_11: (M, 11), as the labels.
        prediction_roles: (M,) `FOREIGN` rows are left out.
        minimum: (3,) overlap to be passed in the image, on the ground and in space.
    """
    rows = np.empty((256, 4))
    count = 0
    overlaps = np.empty(3)
    for frame in range(len(offsets) - 1):
        for label in range(offsets[frame, 0], offsets[frame + 1, 0]):
            if label_roles[label] == FOREIGN:
                continue
            for prediction in range(offsets[frame, 1], offsets[frame + 1, 1]):
                if prediction_roles[prediction] == FOREIGN:
                    continue
                one, other = labels_11[label], predictions_11[prediction]
                overlaps[0] = image_overlap(one[7:], other[7:], False)
                overlaps[1:] = 0.0
                if not are_apart(one, other):
                    overlaps[1], overlaps[2] = space_overlaps(one, other, False)
                if count + 3 > len(rows):
                    grown = np.empty((2 * len(rows), 4))
                    grown[:count] = rows[:count]
                    rows = grown
                for metric in range(3):
                    if overlaps[metric] > minimum[metric]:
                        rows[count, 0] = metric
                        rows[count, 1] = label
                        rows[count, 2] = prediction
                        rows[count, 3] = overlaps[metric]
                        count += 1
    return rows[:count]


@njit(cache=True, nogil=True)
def find_stuff(
    offsets: NDArray[np.int64],
    regions_11: NDArray[np.float64],
    predictions_11: NDArray[np.float64],
    prediction_roles: NDArray[np.int64],
    minimum: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Return (M, 3) whether a prediction lies in a region that counts for nothing, per metric."""
    stuff = np.zeros((len(predictions_11), 3), dtype=np.bool_)
    for frame in range(len(offsets) - 1):
        for region in range(offsets[frame, 0], offsets[frame + 1, 0]):
            for prediction in range(offsets[frame, 1], offsets[frame + 1, 1]):
                if prediction_roles[prediction] != COUNTED:
                    continue
                one, other = predictions_11[prediction], regions_11[region]
                ground, space = 0.0, 0.0
                if not are_apart(one, other):
                    ground, space = space_overlaps(one, other, True)
                stuff[prediction, 0] |= image_overlap(one[7:], other[7:], True) > minimum[0]
                stuff[prediction, 1] |= ground > minimum[1]
                stuff[prediction, 2] |= space > minimum[2]
    return stuff


@njit(cache=True, nogil=True)
def collect_scores(
    firsts: NDArray[np.int64],
    label_states: NDArray[np.int64],
    pair_predictions: NDArray[np.int64],
    prediction_states: NDArray[np.int64],
    scores: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the scores of the true positives when each label takes its best-scored candidate.

    Args:
        firsts: (G + 1,) first pair of each label that has pairs.
        label_states: (G,) states of these labels.
        pair_predictions: (P,) prediction of each pair.
        prediction_states: (M,) states of all predictions.
        scores: (M,) their scores.
    """
    taken = np.zeros(len(scores), dtype=np.bool_)
    found = np.empty(len(label_states))
    count = 0
    for label in range(len(label_states)):
        best, best_score = -1, -math.inf
        for pair in range(firsts[label], firsts[label + 1]):
            prediction = pair_predictions[pair]
            free = prediction_states[prediction] != FOREIGN and not taken[prediction]
            if free and scores[prediction] > best_score:
                best, best_score = prediction, scores[prediction]
        if best < 0:
            continue
        taken[best] = True
        if label_states[label] == COUNTED and prediction_states[best] == COUNTED:
            found[count] = best_score
            count += 1
    return found[:count]


@njit(cache=True, nogil=True)
def choose_ranks(num_found: int, num_labels: int) -> NDArray[np.int64]:
    """Return which true positives' scores come closest to recall 0, 1/40, ... 1; at most 41.

    Args:
        num_found: number of true positives; they are counted from 0, best score first.
        num_labels: number of counted labels.
    """
    chosen = np.empty(NUM_RECALLS, dtype=np.int64)
    count = 0
    recall = 0.0
    last = num_found - 1
    for index in range(num_found):
        left = (index + 1) / num_labels
        right = (index + 2) / num_labels if index < last else left
        if right - recall < recall - left and index < last:
            continue
        if count < NUM_RECALLS:
            chosen[count] = index
            count += 1
        recall += 1.0 / (NUM_RECALLS - 1.0)
    return chosen[:count]


@njit(cache=True, nogil=True)
def count_matches(
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    label_states: NDArray[np.int64],
    prediction_states: NDArray[np.int64],
    scores: NDArray[np.float64],
    in_stuff: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> Any:  # noqa: ANN401 - numba array
    """Return (T, 3) true positives, false positives and summed orientation similarity.

    Args:
        pairs: first pair of each label (G + 1); prediction, overlap and orientation similarity of
            each pair (P).
        label_states: (G,) states of the labels that have pairs.
        prediction_states: (M,) states of all predictions.
        scores: (M,) their scores.
        in_stuff: (M,) whether a prediction is forgiven when it matches nothing.
        thresholds: (T,) score thresholds.
    """
    counts = np.zeros((len(thresholds), 3))
    taken_at = np.full(len(scores), -1, dtype=np.int64)
    for step in range(len(thresholds)):
        for label in range(len(label_states)):
            best = _best_candidate(
                pairs, label, prediction_states, scores, taken_at, (step, thresholds[step])
            )
            if best < 0:
                continue
            prediction = pairs[1][best]
            taken_at[prediction] = step
            counted = prediction_states[prediction] == COUNTED
            if counted and not in_stuff[prediction]:
                counts[step, 1] -= 1.0
            if counted and label_states[label] == COUNTED:
                counts[step, 0] += 1.0
                counts[step, 2] += pairs[3][best]
    rivals = np.sort(scores[(prediction_states == COUNTED) & ~in_stuff])
    counts[:, 1] += len(rivals) - np.searchsorted(rivals, thresholds)
    return counts


@njit(cache=True, nogil=True)
def _best_candidate(
    pairs: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]],
    label: int,
    prediction_states: NDArray[np.int64],
    scores: NDArray[np.float64],
    taken_at: NDArray[np.int64],
    step_and_threshold: tuple[int, float],
) -> int:
    """Return the pair with the greatest overlap, one with an ignored prediction only for want."""
    step, threshold = step_and_threshold
    best, greatest, for_want = -1, 0.0, False
    for pair in range(pairs[0][label], pairs[0][label + 1]):
        prediction = pairs[1][pair]
        state = prediction_states[prediction]
        if state == FOREIGN or taken_at[prediction] == step or scores[prediction] < threshold:
            continue
        if state == COUNTED and (pairs[2][pair] > greatest or for_want):
            best, greatest, for_want = pair, pairs[2][pair], False
        elif state == IGNORED and best < 0:
            best, for_want = pair, True
    return best
