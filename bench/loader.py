"""How many frames a second one process prepares for training, from the lake.

Run: python -m bench.loader [--json FILE]

Nothing is cached: every frame is read from the lake each time. The cropped clouds hold what the
front camera sees of a KITTI cloud, about 20,000 points, and are stored so, as mmdetection3d's
"reduced" clouds are. All of the paper's augmentations are on, ground-truth sampling included.
Real frames are used where they are present, else simulated ones.
"""

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from admlops.detection.presets import pointpillars_kitti
from admlops.formats.kitti.source import open_folder
from admlops.formats.source import ReadOptions, read_all
from admlops.lake.store import Dataset
from admlops.loading.augmentation import plain_frame
from admlops.loading.config import AugmentationConfig, LoadingConfig
from admlops.loading.loader import FrameLoader, load_ground_truth
from admlops.loading.raw_frames import as_raw_frame
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.frame import Frame
from bench.real_data import real_data

NUM_FRAMES = 48
BATCH = 8
SECONDS = 4.0


def source_frames() -> list[Frame]:
    """Return labelled frames with full clouds."""
    folder = real_data("kitti_object")
    if folder.is_dir():
        frames = read_all(open_folder(folder, ReadOptions()))
        return [item for item in frames if isinstance(item, Frame) and item.split == "train"]
    lidar = LidarConfig(num_beams=64, azimuth_step_deg=0.2, azimuth_view_deg=360)
    none = SceneGroup(num_scenes=0)
    world = WorldConfig(
        train=SceneGroup(num_scenes=1, frames_per_scene=4), val=none, pool=none, lidar=lidar
    )
    return list(simulate(world))


def repeated(frames: list[Frame], *, cropped: bool) -> Iterator[Frame]:
    """Yield copies of the frames that differ a little, so that each is stored."""
    generator = np.random.default_rng(0)
    for number in range(NUM_FRAMES):
        frame = frames[number % len(frames)]
        if frame.lidar is None:
            continue
        points, sensor = frame.lidar.points, frame.lidar.sensor
        if cropped:
            points = plain_frame(as_raw_frame(frame, with_view=True)).points
            sensor = dataclasses.replace(sensor, ego_from_sensor=np.eye(4))
        points = points.copy()
        points[:, 3] = generator.uniform(0, 1)
        yield dataclasses.replace(
            frame,
            key=frame.key._replace(timestamp_ns=number),
            lidar=dataclasses.replace(frame.lidar, points=points, sensor=sensor),
            camera=frame.camera,
            split="train",
        )


def frames_per_second(call: Callable[[list[int], int], object]) -> float:
    """Return how many frames a second a call prepares, batch by batch."""
    order = np.random.default_rng(1)
    batches = [order.choice(NUM_FRAMES, BATCH, replace=False).tolist() for _ in range(64)]
    for batch in batches[:3]:
        call(batch, 0)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < SECONDS:
        call(batches[count % len(batches)], count)
        count += 1
    return count * BATCH / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    frames = source_frames()
    detector = pointpillars_kitti()
    augmentation = AugmentationConfig(
        objects_per_frame={"car": 15, "pedestrian": 15, "cyclist": 15}
    )
    table = Table(title="training loader, one process, paper's augmentations, nothing cached")
    for name in ("clouds", "points", "work", "frames/s", "target"):
        table.add_column(name, justify="left" if name in {"clouds", "work"} else "right")
    rows = []
    for cropped in (True, False):
        with tempfile.TemporaryDirectory() as name:
            dataset = Dataset.create(f"{name}/lake")
            dataset.append(repeated(frames, cropped=cropped))
            config = LoadingConfig(augmentation=augmentation, cache_mib=0)
            objects = load_ground_truth(dataset, detector, config, Path(name))
            loader = FrameLoader(dataset, detector, config, objects)
            points = np.mean([len(f.lidar.points) for f in dataset.take(range(8)) if f.lidar])
            kind = "camera view" if cropped else "full"
            for work, call, target in (
                ("read, augment", loader.frames, 300 if cropped else 0),
                ("read, augment, voxelise, targets", loader.batch, 0 if cropped else 40),
            ):
                speed = frames_per_second(call)
                rows.append({"clouds": kind, "work": work, "frames_per_s": speed})
                table.add_row(kind, f"{points:,.0f}", work, f"{speed:.0f}", str(target or ""))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
