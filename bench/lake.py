"""How fast the lake appends and reads full KITTI clouds, beside plain files of the same points.

Run: python -m bench.lake [--frames 300] [--folder DIR] [--json FILE]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

POINTS = 120_000
"""Points of a KITTI cloud: 1.92 MB."""
BATCH = 8
"""Frames per read, as a loader asks for them."""
ROUNDS = 5


def make_frames(count: int) -> Iterator[Frame]:
    rng = np.random.default_rng(0)
    lidar = CalibratedSensor("lidar_top", "lidar", np.eye(4))
    camera = CalibratedSensor("camera_front", "camera", np.eye(4), np.eye(3))
    for index in range(count):
        points = rng.normal(0.0, 20.0, (POINTS, 4)).astype(np.float32)
        yield Frame(
            key=FrameKey("log", "scene", index),
            frame_id=f"{index:06d}",
            global_from_ego=np.eye(4),
            lidar=LidarSweep(lidar, points),
            camera=CameraImage(camera, b"png", 1242, 375),
            boxes=Boxes.make(rng.random((8, 3)), rng.random((8, 3)), rng.random(8), ["car"] * 8),
            split="train",
        )


def rate(count: int, work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def read_files(folder: Path, order: NDArray[np.int64]) -> None:
    for index in order:
        np.fromfile(folder / f"{index:06d}.bin", dtype=np.float32).reshape(-1, 4)


def read_lake(dataset: Dataset, order: NDArray[np.int64], batch: int) -> None:
    for start in range(0, len(order), batch):
        dataset.take(order[start : start + batch])


def measure_appending(folder: Path, count: int) -> dict[str, float]:
    frames = list(make_frames(count))
    for frame in frames:
        assert frame.lidar is not None
        frame.lidar.points.tofile(folder / f"{frame.frame_id}.bin")
    dataset = Dataset.create(str(folder / "lake.lance"))
    return {
        "append_fps": rate(count, lambda: dataset.append(frames)),
        "append_again_fps": rate(count, lambda: dataset.append(frames)),
        "digest_fps": rate(count, lambda: [frame.sensor_digest() for frame in frames]),
    }


def measure(folder: Path, count: int) -> dict[str, float]:
    figures = measure_appending(folder, count)
    order = np.random.default_rng(1).permutation(count)
    dataset = Dataset.open(str(folder / "lake.lance"))
    figures["first_pass_fps"] = rate(count, lambda: read_lake(dataset, order, BATCH))
    rounds = [
        (
            rate(count, lambda: read_files(folder, order)),
            rate(count, lambda: read_lake(dataset, order, BATCH)),
            rate(count, lambda: read_lake(dataset, order, 1)),
        )
        for _ in range(ROUNDS)
    ]
    files, batched, single = np.median(rounds, axis=0)
    return figures | {
        "fromfile_fps": float(files),
        "take_fps": float(batched),
        "take_one_fps": float(single),
        "take_to_fromfile_ratio": float(batched / files),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        figures = measure(Path(folder), given.frames)
    print(f"lake, {given.frames} clouds of {POINTS:,} points (1.92 MB), medians of {ROUNDS} rounds")
    for name, value in figures.items():
        print(f"  {name:24s} {value:10.2f}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
