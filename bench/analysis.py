"""How the steps check and analyze grow with the number of frames, in time and in memory.

Frames carry labels, poses and tags; only the first forty hold a lidar cloud. Every size and step
runs in a process of its own, so that its peak memory is its own.

Run: python -m bench.analysis [--sizes 1000,10000,100000] [--json FILE]
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from admlops.detection.presets import pointpillars_kitti
from admlops.lake.store import Dataset
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.analyze import AnalyzeConfig, AnalyzeInputs, AnalyzeOutputs, analyze
from admlops.steps.check import CheckConfig, CheckInputs, CheckOutputs, check
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep

NUM_TEMPLATES = 40
FRAMES_PER_SCENE = 20
TAGS = (("clear",), ("night",), ("rain",), ("night", "rain"))


def make_frames(count: int) -> Iterator[Frame]:
    half = SceneGroup(num_scenes=4, frames_per_scene=5)
    world = WorldConfig(train=half, val=half, pool=SceneGroup(num_scenes=0), images=False)
    templates = list(simulate(world))
    random = np.random.default_rng(0)
    for index in range(count):
        template = templates[index % NUM_TEMPLATES]
        boxes = template.boxes
        assert boxes is not None
        moved = boxes.center_m + random.normal(0.0, 0.02, boxes.center_m.shape)
        pose = np.eye(4)
        pose[:2, 3] = (5.0 * index, 1.0)
        scene = index // FRAMES_PER_SCENE
        yield Frame(
            key=FrameKey("log", f"scene_{scene}", index * 1_000_000_000),
            frame_id=f"{index:06d}",
            global_from_ego=pose,
            lidar=template.lidar if index < NUM_TEMPLATES else one_point(index),
            boxes=boxes.replace(center_m=moved) if index >= NUM_TEMPLATES else boxes,
            tags=TAGS[scene % 4],
            split="val" if scene % 5 == 0 else "train",
        )


def one_point(index: int) -> LidarSweep:
    pose = np.eye(4)
    pose[2, 3] = 1.73
    points = np.array([[index % 50, 0.0, -1.73, 0.5 + index * 1e-7]], dtype=np.float32)
    return LidarSweep(CalibratedSensor("lidar_top", "lidar", pose), points)


def run_here(step: str, folder: Path) -> None:
    dataset = folder / "dataset.json"
    start = time.perf_counter()
    if step == "check":
        detector = pointpillars_kitti()
        config = CheckConfig(fail_on="never", detector=detector, max_clouds=8)
        check(CheckInputs(dataset), CheckOutputs(folder / "findings"), config)
    else:
        analyze(AnalyzeInputs(dataset), AnalyzeOutputs(folder / "analysis"), AnalyzeConfig())
    seconds = time.perf_counter() - start
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"seconds": seconds, "peak_gib": peak_gib}))


def run_apart(step: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.analysis", "--step", step, "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout.splitlines()[-1])


def measure(sizes: Sequence[int]) -> list[dict[str, float | str]]:
    rows: list[dict[str, float | str]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            dataset = Dataset.create(str(folder / "lake"))
            dataset.append(make_frames(size))
            dataset.manifest().write(folder / "dataset.json")
            rows += [
                {"step": step, "frames": size, **run_apart(step, folder)}
                for step in ("check", "analyze")
            ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    if options.step:
        run_here(options.step, options.folder)
        return
    rows = measure([int(size) for size in options.sizes.split(",")])
    print(f"{'step':8} {'frames':>8} {'seconds':>8} {'ms a frame':>11} {'peak GiB':>9}")
    for row in rows:
        each = 1000 * float(row["seconds"]) / float(row["frames"])
        print(
            f"{row['step']:8} {row['frames']:>8} {row['seconds']:>8.1f} {each:>11.3f} "
            f"{row['peak_gib']:>9.2f}"
        )
    print(f"load average during the run: {os.getloadavg()[0]:.1f}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
