"""Loaders as Lightning wants them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from admlops.loading.loader import FrameLoader
from admlops.training.tensor_batch import TensorBatch


class Place(NamedTuple):
    """One frame in one epoch: the epoch travels with the index, so that workers need no state."""

    epoch: int
    number: int


class FrameTable(TorchDataset[TensorBatch]):
    """A frame loader behind torch's interface; a whole batch is made at once."""

    def __init__(self, loader: FrameLoader, *, augmented: bool) -> None:
        self._loader = loader
        self._augmented = augmented

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self._loader)

    def __getitem__(self, place: Place) -> TensorBatch:
        """Return a batch of one frame."""
        return self.__getitems__([place])

    def __getitems__(self, places: Sequence[Place]) -> TensorBatch:
        """Return a batch; all places are of one epoch."""
        batch = self._loader.batch(
            [place.number for place in places], places[0].epoch, augmented=self._augmented
        )
        return TensorBatch.from_arrays(batch)


class EpochSampler(Sampler[list[Place]]):
    """Batches of places, shuffled by seed and epoch; each process takes its share of every batch.

    The batches are the same for any number of processes.

    Attributes:
        epoch: set by Lightning through `set_epoch` before each pass.
    """

    def __init__(self, num_frames: int, batch_size: int, seed: int, *, shuffled: bool) -> None:
        self._num_frames = num_frames
        self._batch_size = batch_size
        self._seed = seed
        self._shuffled = shuffled
        self._rank, self._num_processes = 0, 1
        self.epoch = 0

    @property
    def sampler(self) -> "EpochSampler":
        """Return itself: where Lightning looks for `set_epoch`."""
        return self

    def share(self, rank: int, num_processes: int) -> "EpochSampler":
        """Take one process's share of every batch."""
        self._rank, self._num_processes = rank, num_processes
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the number of batches, the same for every process."""
        if self._shuffled:
            return max(self._num_frames // self._batch_size, 1)
        return math.ceil(self._num_frames / self._batch_size)

    def __iter__(self) -> Iterator[list[Place]]:
        """Yield batches; training leaves out a last batch that is not full.

        A batch of fewer frames than processes is repeated, so that each has one.
        """
        order = np.arange(self._num_frames)
        if self._shuffled:
            order = np.random.default_rng((self._seed, self.epoch)).permutation(order)
        for start in range(0, len(self) * self._batch_size, self._batch_size):
            batch = order[start : start + self._batch_size]
            if len(batch) < self._num_processes:
                batch = np.resize(batch, self._num_processes)
            chosen = batch[self._rank :: self._num_processes]
            yield [Place(self.epoch, int(number)) for number in chosen]


class DetectionData(pl.LightningDataModule):  # type: ignore[misc]
    """Training frames and, if asked for, validation frames."""

    def __init__(
        self,
        train: FrameLoader,
        val: FrameLoader | None,
        batch_size: int,
        num_workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._train, self._val = train, val
        self._batch_size, self._num_workers, self._seed = batch_size, num_workers, seed

    @property
    def num_frames(self) -> int:
        """Return how many frames are trained on."""
        return len(self._train)

    @property
    def num_train_batches(self) -> int:
        """Return how many batches an epoch has."""
        return len(EpochSampler(len(self._train), self._batch_size, self._seed, shuffled=True))

    def train_dataloader(self) -> DataLoader[TensorBatch]:
        """Return batches of augmented frames."""
        return self._loader(self._train, augmented=True)

    def val_dataloader(self) -> DataLoader[TensorBatch] | list[DataLoader[TensorBatch]]:
        """Return batches of frames as they are."""
        return self._loader(self._val, augmented=False) if self._val is not None else []

    def _loader(self, frames: FrameLoader, *, augmented: bool) -> DataLoader[TensorBatch]:
        sampler = EpochSampler(len(frames), self._batch_size, self._seed, shuffled=augmented)
        if self.trainer is not None:
            sampler.share(self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(
            FrameTable(frames, augmented=augmented),
            batch_sampler=sampler,
            collate_fn=_as_it_is,
            num_workers=self._num_workers,
            persistent_workers=self._num_workers > 0,
            multiprocessing_context="spawn" if self._num_workers > 0 else None,
        )


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - torch's type says a list, it is a batch
    return batch
