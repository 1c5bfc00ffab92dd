"""Frames of the lake as training batches, by index, with a bounded cache."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from admlops.detection.config import PillarDetectorConfig
from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.loading.augmentation import TrainingFrame, augment, plain_frame
from admlops.loading.batches import Batch, Batcher
from admlops.loading.config import LoadingConfig
from admlops.loading.ground_truth import (
    GroundTruth,
    ObjectSampler,
    cache_key,
    collect_ground_truth,
    read_ground_truth,
    write_ground_truth,
)
from admlops.loading.raw_frames import RawFrame, raw_frame

BYTES_PER_MIB = 1 << 20
READ_FRAMES = 16
"""Frames read at a time when all are visited."""


class FrameLoader:
    """Reads, augments and batches the labelled frames of one split.

    What is drawn for a frame depends only on seed, epoch and row: not on the order, the worker or
    whether a training was resumed. The object can be sent to another process.
    """

    def __init__(
        self,
        dataset: Dataset,
        detector: PillarDetectorConfig,
        config: LoadingConfig,
        ground_truth: GroundTruth | None = None,
        seed: int = 0,
    ) -> None:
        """Prepare.

        Args:
            dataset: the dataset version.
            detector: whose categories, range and targets are used.
            config: which frames, and what is done to them.
            ground_truth: objects to paste; None pastes none.
            seed: of everything random.

        Raises:
            DataError: no labelled frame of the split meets the condition.
        """
        self._dataset = dataset
        self._detector = detector
        self._config = config
        self._seed = seed
        self._ground_truth = ground_truth
        self.rows = labelled_rows(dataset, config)
        self._start()

    def _start(self) -> None:
        self._batcher = Batcher(self._detector)
        self._cache: dict[int, RawFrame] = {}
        self._cached_bytes = 0
        wanted = self._config.augmentation.objects_per_frame
        self._sampler = None
        if self._ground_truth is not None and len(self._ground_truth):
            counts = [wanted.get(name, 0) for name in self._detector.categories]
            self._sampler = ObjectSampler(self._ground_truth, counts)

    def __getstate__(self) -> dict[str, object]:
        """Return what another process needs; caches and buffers are made anew there."""
        fresh = ("_batcher", "_cache", "_cached_bytes", "_sampler")
        return {name: value for name, value in vars(self).items() if name not in fresh}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Take over what another process sent."""
        vars(self).update(state)
        self._start()

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.rows)

    def frames(
        self, indices: Sequence[int], epoch: int, *, augmented: bool = True
    ) -> list[TrainingFrame]:
        """Return frames by their place among the loader's rows."""
        rows = [int(self.rows[index]) for index in indices]
        raw = self._read(rows)
        if not augmented:
            return [plain_frame(frame) for frame in raw]
        return [
            augment(
                frame,
                self._config.augmentation,
                self._sampler,
                np.random.default_rng((self._seed, epoch, row)),
            )
            for row, frame in zip(rows, raw, strict=True)
        ]

    def batch(self, indices: Sequence[int], epoch: int, *, augmented: bool = True) -> Batch:
        """Return network inputs and targets of frames."""
        return self._batcher(self.frames(indices, epoch, augmented=augmented))

    def _read(self, rows: Sequence[int]) -> list[RawFrame]:
        missing = [row for row in rows if row not in self._cache]
        fresh = (
            dict(
                zip(
                    missing,
                    read_raw_frames(self._dataset, missing, self._detector, self._config),
                    strict=True,
                )
            )
            if missing
            else {}
        )
        for row, frame in fresh.items():
            if self._cached_bytes + frame.num_bytes <= self._config.cache_mib * BYTES_PER_MIB:
                self._cache[row] = frame
                self._cached_bytes += frame.num_bytes
        return [fresh[row] if row in fresh else self._cache[row] for row in rows]


def labelled_rows(dataset: Dataset, config: LoadingConfig) -> NDArray[np.int64]:
    """Return the rows of labelled frames of the split that meet the condition.

    Raises:
        DataError: there are none; the message says what the dataset holds.
    """
    condition = f"split = '{config.split}' AND num_boxes IS NOT NULL"
    if config.condition:
        condition += f" AND ({config.condition})"
    rows = dataset.rows_where(condition)
    if len(rows) == 0:
        table = dataset.query(
            "SELECT split, count(*) AS num, count(num_boxes) AS labelled FROM frames GROUP BY split"
        )
        held = ", ".join(
            f"{row['split'] or 'no split'!s}: {row['num']} ({row['labelled']} labelled)"
            for row in table.to_pylist()
        )
        raise DataError(
            f"{dataset.reference}: no labelled frame meets {condition!r}; it holds "
            f"{held or 'nothing'}"
        )
    return rows


def read_raw_frames(
    dataset: Dataset,
    rows: Sequence[int],
    detector: PillarDetectorConfig,
    config: LoadingConfig,
) -> list[RawFrame]:
    """Read labelled frames by row.

    Raises:
        DataError: a frame has no lidar sweep.
    """
    result = []
    for frame in dataset.take(rows):
        raw = raw_frame(frame, detector.categories, config.min_points, config.camera_view)
        if raw is None:
            raise DataError(
                f"{dataset.reference}: frame {frame.key} has no lidar sweep or no labels; "
                "a lidar detector cannot be trained on it, leave it out by a condition"
            )
        result.append(raw)
    return result


def load_ground_truth(
    dataset: Dataset, detector: PillarDetectorConfig, config: LoadingConfig, folder: Path
) -> GroundTruth | None:
    """Return the objects to paste, from the cache folder or from the lake.

    Args:
        dataset: the dataset version.
        detector: whose categories are collected.
        config: which frames, and how many points an object needs.
        folder: where the cache file is; its name holds the dataset's digest.

    Returns:
        None where the config asks for no objects of the detector's categories.
    """
    augmentation = config.augmentation
    if not any(augmentation.objects_per_frame.get(name, 0) for name in detector.categories):
        return None
    rows = labelled_rows(dataset, config)
    settings = [
        detector.categories,
        config.camera_view,
        config.min_points,
        augmentation.min_sampled_points,
    ]
    path = folder / cache_key(dataset.digest, rows, settings)
    found = read_ground_truth(path)
    if found is None:
        frames = _all_raw_frames(dataset, rows, detector, config)
        found = collect_ground_truth(frames, augmentation.min_sampled_points)
        write_ground_truth(path, found)
    return found


def _all_raw_frames(
    dataset: Dataset,
    rows: NDArray[np.int64],
    detector: PillarDetectorConfig,
    config: LoadingConfig,
) -> Iterator[RawFrame]:
    starts = range(0, len(rows), READ_FRAMES)
    for start in track(starts, "collect objects", console=Console(stderr=True)):
        chunk = rows[start : start + READ_FRAMES].tolist()
        yield from read_raw_frames(dataset, chunk, detector, config)
