"""What makes a frame worth labelling as long as no other has brought it: it falls with picks."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from admlops.curation.moments import Moments, shared_objects
from admlops.curation.signals import squared_distances

PRIOR_LABELS = 5.0
"""Added to every category's labels, so that the first one is not worth infinitely much."""
_CHUNK_FRAMES = 256
"""Labelled frames that are compared with all candidates at a time."""


class Gain(Protocol):
    """A part of the worth of N candidates that every pick changes."""

    def values(self) -> NDArray[np.float64]:
        """Return (N,) what each candidate would bring now; the best at the start is 1."""
        ...

    def take(self, index: int) -> None:
        """Note that a candidate was picked."""
        ...


class Novelty:
    """Which share of a candidate's objects no labelled or picked frame of its scene shows."""

    def __init__(self, candidates: Moments, labelled: Moments) -> None:
        """Start from when and where the candidates, and frames that are labelled, were taken."""
        self._candidates = candidates
        self._shared = np.zeros(len(candidates))
        labelled = labelled.select(labelled.has_pose)
        for scene in np.intersect1d(candidates.scene, labelled.scene):
            own = np.flatnonzero(candidates.scene == scene)
            self._note(own, labelled.select(labelled.scene == scene))

    def values(self) -> NDArray[np.float64]:
        """Return (N,) the share, 1 where nothing is labelled yet."""
        return 1.0 - self._shared

    def take(self, index: int) -> None:
        """Note that a candidate was picked."""
        own = np.flatnonzero(self._candidates.scene == self._candidates.scene[index])
        self._note(own, self._candidates.select(np.array([index])))

    def _note(self, own: NDArray[np.int64], seen: Moments) -> None:
        """Note what some candidates share with frames of their scene, a few at a time."""
        candidates = self._candidates.select(own)
        for start in range(0, len(seen), _CHUNK_FRAMES):
            part = seen.select(np.arange(start, min(start + _CHUNK_FRAMES, len(seen))))
            shared = shared_objects(candidates, part).max(axis=1)
            self._shared[own] = np.maximum(self._shared[own], shared)


class Balance:
    """How much a candidate's expected objects would let each category grow.

    The sum over categories of the growth of the logarithm of their labels: the tenth cyclist is
    worth as much as the thousandth car, and a category that picks have filled is worth less. An
    object that was labelled a second before, in another frame, is not counted again.
    """

    def __init__(
        self, expected: NDArray[np.float64], counts: NDArray[np.float64], novelty: Novelty
    ) -> None:
        """Start.

        Args:
            expected: (N, K) expected labels of the candidates.
            counts: (K,) labels that there are.
            novelty: which share of them is new.
        """
        self._expected = expected
        self._novelty = novelty
        self._have = counts + PRIOR_LABELS
        self._scale = float(self._growth().max(initial=0.0)) or 1.0

    def values(self) -> NDArray[np.float64]:
        """Return (N,) the growth, where the best at the start is 1."""
        return self._growth() / self._scale

    def take(self, index: int) -> None:
        """Count a candidate's expected objects as there."""
        self._have = self._have + self._new()[index]
        self._novelty.take(index)

    def _growth(self) -> NDArray[np.float64]:
        return np.log1p(self._new() / self._have).sum(axis=1)

    def _new(self) -> NDArray[np.float64]:
        return self._expected * self._novelty.values()[:, None]


class Needs:
    """How much of what a requirement lacks a candidate would bring; nothing once a cell is full."""

    def __init__(
        self,
        supply: NDArray[np.float64],
        missing: NDArray[np.float64],
        scene: NDArray[np.int64],
        by_scene: NDArray[np.bool_],
    ) -> None:
        """Start from what is missing and what candidates would bring.

        Args:
            supply: (N, G) boxes, or scenes, that candidates would bring to each cell.
            missing: (G,) how many each cell lacks.
            scene: (N,) number of each candidate's scene.
            by_scene: (G,) whether scenes are missing: a second frame of one brings nothing.
        """
        self._supply = supply.copy()
        self._scene = scene
        self._by_scene = by_scene
        self._missing = missing.copy()
        self._asked = np.maximum(missing, 1.0)
        self._scale = float(self._share().max(initial=0.0)) or 1.0

    def values(self) -> NDArray[np.float64]:
        """Return (N,) the share of what is asked for, where the best at the start is 1."""
        return self._share() / self._scale

    def take(self, index: int) -> None:
        """Count what a candidate brings as there."""
        self._missing = np.maximum(self._missing - self._supply[index], 0.0)
        self._supply[np.ix_(self._scene == self._scene[index], self._by_scene)] = 0.0

    def _share(self) -> NDArray[np.float64]:
        return (np.minimum(self._supply, self._missing) / self._asked).sum(axis=1)


class Spread:
    """How far a candidate is from everything that is labelled or picked.

    Alone it makes the greedy 2-approximation of the k-centre problem (Sener and Savarese, "Active
    learning for convolutional neural networks: a core-set approach", 2018).
    """

    def __init__(
        self, descriptors: NDArray[np.float64], labelled: NDArray[np.float64] | None = None
    ) -> None:
        """Start from (N, D) descriptors and those of (L, D) labelled frames, on one scale."""
        self._descriptors = descriptors
        self._nearest = _first_distances(descriptors, labelled)
        self._scale = float(self._nearest.max(initial=0.0)) or 1.0

    def values(self) -> NDArray[np.float64]:
        """Return (N,) the distance, where the farthest at the start is 1."""
        return self._nearest / self._scale

    def take(self, index: int) -> None:
        """Keep away from a candidate from now on."""
        picked = self._descriptors[index : index + 1]
        reached = np.sqrt(squared_distances(self._descriptors, picked)[:, 0])
        self._nearest = np.minimum(self._nearest, reached)


def _first_distances(
    descriptors: NDArray[np.float64], labelled: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """Return (N,) distances to the labelled frames, or to the mean where there are none."""
    if len(descriptors) == 0:
        return np.empty(0)
    if labelled is None or len(labelled) == 0:
        return np.linalg.norm(descriptors - descriptors.mean(axis=0), axis=1)
    nearest = np.full(len(descriptors), np.inf)
    for start in range(0, len(labelled), _CHUNK_FRAMES):
        part = squared_distances(descriptors, labelled[start : start + _CHUNK_FRAMES])
        nearest = np.minimum(nearest, part.min(axis=1))
    return np.sqrt(nearest)
