"""What the frames of a dataset look like, read as a stream."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.lake.rows import tell_scenes
from admlops.lake.store import ITERATE_FRAMES, Dataset
from admlops.likeness.duplicates import (
    NO_SENSOR,
    DuplicateRule,
    Looks,
    find_duplicates,
    pack_bits,
)
from admlops.likeness.thumbnails import (
    THUMBNAIL_BITS,
    cloud_thumbnail,
    decode_gray,
    image_thumbnail,
)
from admlops.structures.frame import Frame

IMAGE_WIDTH_PX = 640
"""Narrower, two encodings of one image begin to differ."""
_MAX_THREADS = 8


def find_alike(dataset: Dataset, rule: DuplicateRule) -> NDArray[np.int64]:
    """Return (num_frames,) the row that each row looks like, its own where it repeats none.

    The earliest by log, scene and time is the one that others repeat.

    Raises:
        DataError: the dataset cannot be read.
    """
    keys = dataset.keys()
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    repeated, _ = find_duplicates(read_looks(dataset, order), rule)
    first = np.empty(len(keys), np.int64)
    first[order] = order[repeated]
    return first


def read_looks(dataset: Dataset, rows: Sequence[int] | NDArray[np.int64]) -> Looks:
    """Return the looks of rows, in their order; a few frames are in memory at a time.

    Raises:
        DataError: the dataset cannot be read.
    """
    wanted = np.asarray(rows, np.int64)
    seen = list(_thumbnails(dataset, wanted))
    bits = np.array([packed for packed, _ in seen], np.uint64).reshape(-1, 2, THUMBNAIL_BITS // 64)
    poses = dataset.poses()
    scene, has_pose = tell_scenes(dataset.keys(), poses)
    return Looks(
        bits=bits,
        num_set=np.array([counts for _, counts in seen], np.int64).reshape(-1, 2),
        scene=np.where(has_pose, scene, -1)[wanted],
        global_from_ego=poses[wanted],
    )


def look_at(frame: Frame) -> tuple[NDArray[np.uint64], tuple[int, int]]:
    """Return (2, 4) packed thumbnails of the front image and the cloud, and how many bits are set.

    A sensor that the frame does not have, or whose image cannot be decoded, has NO_SENSOR bits.
    """
    thumbnails: list[NDArray[np.bool_] | None] = [None, None]
    if frame.camera is not None and len(frame.camera.encoded):
        try:
            thumbnails[0] = image_thumbnail(decode_gray(frame.camera.encoded, IMAGE_WIDTH_PX))
        except DataError:
            thumbnails[0] = None  # a broken image is the checks' affair: the cloud still counts
    if frame.lidar is not None and len(frame.lidar.points):
        thumbnails[1] = cloud_thumbnail(frame.points_in_ego())
    image, cloud = (NO_SENSOR if bits is None else int(bits.sum()) for bits in thumbnails)
    nothing = np.zeros(THUMBNAIL_BITS, np.bool_)
    packed = np.stack([pack_bits(nothing if bits is None else bits) for bits in thumbnails])
    return packed, (image, cloud)


def _thumbnails(
    dataset: Dataset, rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint64], tuple[int, int]]]:
    """Yield what `look_at` returns of rows; images are decoded in threads."""
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        for start in range(0, len(rows), ITERATE_FRAMES):
            frames = dataset.take(rows[start : start + ITERATE_FRAMES], camera=True)
            yield from pool.map(look_at, frames)
