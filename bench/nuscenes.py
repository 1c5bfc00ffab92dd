"""How long a whole nuScenes takes to open, how fast its scenes are read, and in how much memory.

Tables of the size of v1.0-trainval are made up: 850 scenes, 34,000 key frames, 2.6 million rows of
`sample_data` and of `ego_pose`, 1.2 million of `sample_annotation`, in no order. Key frames have a
cloud of a few points, other files are absent. Every size is opened in a process of its own, so that
its peak memory is its own; one that only loads the code is printed beside it.

Run: python -m bench.nuscenes [--sizes 170,850] [--json FILE]
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from admlops.formats.nuscenes.source import DETECTION_CATEGORIES, open_folder
from admlops.formats.source import ReadOptions

VERSION = "v1.0-trainval"
SWEEPS_PER_SCENE, SWEEPS_PER_KEYFRAME = 391, 10
KEYFRAMES_PER_SCENE = 40
TRACKS_PER_SCENE = 76
KEYFRAMES_PER_TRACK = 18
CAMERAS = ("FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT", "FRONT_LEFT")
RADARS = ("FRONT", "FRONT_LEFT", "FRONT_RIGHT", "BACK_LEFT", "BACK_RIGHT")
ROWS = {"LIDAR": SWEEPS_PER_SCENE, "CAM": 238, "RADAR": 254}
"""Of one sensor in a scene."""
SCENE_US = 19_500_000
LINKS_PER_FILE = 30_000
CLOUD = np.array([[10.0, 2.0, 0.5, 7.0, 0.0]] * 9, dtype="<f4").tobytes()

Row = dict[str, Any]


class Maker:
    """Makes the rows of scene after scene."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)
        self.tables: dict[str, list[str]] = {}
        channels = {f"CAM_{name}": "camera" for name in CAMERAS}
        channels |= {f"RADAR_{name}": "radar" for name in RADARS} | {"LIDAR_TOP": "lidar"}
        self.sensors = {
            channel: self.add("sensor", channel=channel, modality=modality)
            for channel, modality in channels.items()
        }
        self.log = self.add("log", logfile="n015-2018-07-18-11-07-57+0800", location="boston")
        self.categories = [
            self.add("category", name=name, description="") for name in DETECTION_CATEGORIES
        ]
        self.attributes = [
            self.add("attribute", name=name, description="")
            for name in ("vehicle.moving", "vehicle.parked", "pedestrian.standing")
        ]

    def token(self) -> str:
        """Return a token without a pattern."""
        return self._random.bytes(16).hex()

    def add(self, table: str, token: str = "", **row: object) -> str:
        """Add a row and return its token."""
        token = token or self.token()
        self.tables.setdefault(table, []).append(json.dumps({"token": token, **row}))
        return token

    def pose(self) -> Row:
        """Return a pose anywhere, as a row has it."""
        numbers = self._random.uniform(-1, 1, 7).tolist()
        size = math.hypot(*numbers[3:])
        return {
            "translation": [1000.0 * number for number in numbers[:3]],
            "rotation": [number / size for number in numbers[3:]],
        }

    def add_scene(self, number: int) -> None:
        """Add the rows of a scene of 20 s."""
        name = f"scene-{number:04d}"
        said = "Wait at intersection, peds on sidewalk, bicycle crossing, jaywalker, turn right"
        scene = self.add("scene", name=name, description=said, log_token=self.log)
        begin_us = 1_531_883_530_000_000 + 100_000_000 * number
        step_us = SCENE_US // (KEYFRAMES_PER_SCENE - 1)
        times = [begin_us + step_us * row for row in range(KEYFRAMES_PER_SCENE)]
        samples = [self.add("sample", timestamp=at, scene_token=scene) for at in times]
        for channel in self.sensors:
            self._add_sensor(channel, samples, begin_us)
        for _ in range(TRACKS_PER_SCENE):
            self._add_track(samples)

    def _add_sensor(self, channel: str, samples: list[str], begin_us: int) -> None:
        intrinsic = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]
        calibrated = self.add(
            "calibrated_sensor",
            sensor_token=self.sensors[channel],
            camera_intrinsic=intrinsic if channel.startswith("CAM") else [],
            **self.pose(),
        )
        count = ROWS[channel.partition("_")[0]]
        keys = {round(row) for row in np.linspace(0, count - 1, KEYFRAMES_PER_SCENE)}
        tokens = ["", *(self.token() for _ in range(count)), ""]
        sample = 0
        for row in range(count):
            time_us = begin_us + SCENE_US * row // (count - 1)
            is_key = row in keys
            folder = "samples" if is_key else "sweeps"
            name = f"n015-2018-07-18-11-07-57+0800__{channel}__{time_us}.pcd.bin"
            self.add("ego_pose", tokens[row + 1], timestamp=time_us, **self.pose())
            self.add(
                "sample_data",
                tokens[row + 1],
                sample_token=samples[sample],
                ego_pose_token=tokens[row + 1],
                calibrated_sensor_token=calibrated,
                timestamp=time_us,
                fileformat="pcd",
                is_key_frame=is_key,
                height=900,
                width=1600,
                filename=f"{folder}/{channel}/{name}",
                prev=tokens[row],
                next=tokens[row + 2],
            )
            sample += is_key and row + 1 < count

    def _add_track(self, samples: list[str]) -> None:
        first = int(self._random.integers(KEYFRAMES_PER_SCENE - KEYFRAMES_PER_TRACK))
        category = str(self._random.choice(self.categories))
        instance = self.add("instance", category_token=category)
        tokens = ["", *(self.token() for _ in range(KEYFRAMES_PER_TRACK)), ""]
        for row in range(KEYFRAMES_PER_TRACK):
            self.add(
                "sample_annotation",
                tokens[row + 1],
                sample_token=samples[first + row],
                instance_token=instance,
                attribute_tokens=self.attributes[:1],
                size=[1.9, 4.6, 1.7],
                prev=tokens[row],
                next=tokens[row + 2],
                num_lidar_pts=row,
                num_radar_pts=0,
                **self.pose(),
            )

    def write(self, folder: Path) -> None:
        """Write the tables, their rows in no order."""
        for name, rows in self.tables.items():
            random.Random(0).shuffle(rows)  # noqa: S311 - an order, no secret
            (folder / f"{name}.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")


def write_version(root: Path, num_scenes: int) -> None:
    """Write the tables of a version below `root`, and the clouds of its key frames."""
    maker = Maker()
    for number in range(num_scenes):
        maker.add_scene(number)
    (root / VERSION).mkdir(parents=True)
    (root / "samples" / "LIDAR_TOP").mkdir(parents=True)
    number = 0
    for text in maker.tables["sample_data"]:
        row = json.loads(text) if "samples/LIDAR_TOP" in text else None
        if row is not None:
            original = root / f"cloud_{number // LINKS_PER_FILE}.bin"
            if number % LINKS_PER_FILE == 0:
                original.write_bytes(CLOUD)
            os.link(original, root / row["filename"])
            number += 1
    maker.write(root / VERSION)


def peak_mib() -> float:
    """Return the most memory so far; not as `getrusage`, which counts what started the process."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def open_version(root: Path) -> None:
    """Open a version, read a key frame of every scene, then all of one; print the figures."""
    figures = {"code_mib": peak_mib()}
    start, processor = time.perf_counter(), time.process_time()
    source = open_folder(root, ReadOptions())
    figures["open_s"] = time.perf_counter() - start
    figures["open_core_s"] = time.process_time() - processor
    figures["open_mib"] = peak_mib()
    start = time.perf_counter()
    for index in range(0, len(source), SWEEPS_PER_SCENE):
        frame = source.read(index).frame
        assert frame is not None
        assert frame.boxes is not None
        assert len(frame.cameras) == len(CAMERAS)
    figures["scenes_s"] = time.perf_counter() - start
    start = time.perf_counter()
    for index in range(SWEEPS_PER_SCENE):
        source.read(index)
    figures["one_scene_s"] = time.perf_counter() - start
    figures["peak_mib"] = peak_mib()
    print(json.dumps(figures | {"sweeps": len(source)}))


def measure(root: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.nuscenes", "--open", str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="170,850", help="numbers of scenes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.open:
        open_version(given.open)
        return
    results = {}
    with tempfile.TemporaryDirectory() as name:
        for size in map(int, given.sizes.split(",")):
            root = Path(name) / str(size)
            write_version(root, size)
            figures = results[size] = measure(root)
            print(
                f"nuscenes, {size} scenes, {figures['sweeps']:,.0f} sweeps: opened in "
                f"{figures['open_s']:.1f} s ({figures['open_core_s']:.1f} s of one core), "
                f"{1e3 * figures['scenes_s'] / size:.1f} ms for the rows of a scene, "
                f"{1e3 * figures['one_scene_s'] / SWEEPS_PER_SCENE:.2f} ms a sweep in order, peak "
                f"{figures['peak_mib']:.0f} MiB, {figures['code_mib']:.0f} of them code",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
