"""How many frames per second the synthetic world gives on one core, labels included.

Run: python -m bench.simulation [--frames 200] [--json FILE]
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.frame import Frame

REQUIRED_FPS = 20.0
WARM_UP_FRAMES = 3


def worlds(count: int) -> dict[str, WorldConfig]:
    scenes = SceneGroup(num_scenes=count // 10 + 1)
    none = SceneGroup(num_scenes=0)
    view = WorldConfig(train=scenes, val=none, pool=none)
    full = LidarConfig(azimuth_view_deg=360.0)
    kitti = LidarConfig(num_beams=64, azimuth_view_deg=360.0, azimuth_step_deg=0.17)
    return {
        "32 beams, 90 degrees, image": view,
        "32 beams, 90 degrees, no image": view.replace(images=False),
        "32 beams, 360 degrees, no image": view.replace(images=False, lidar=full),
        "64 beams, 360 degrees, no image": view.replace(images=False, lidar=kitti),
    }


def measure(world: WorldConfig, count: int) -> dict[str, float]:
    frames: Iterator[Frame] = simulate(world)
    for _ in islice(frames, WARM_UP_FRAMES):
        pass
    wall, processor = time.perf_counter(), time.process_time()
    num_points = [len(frame.points_in_ego()) for frame in islice(frames, count - WARM_UP_FRAMES)]
    processor, wall = time.process_time() - processor, time.perf_counter() - wall
    return {
        "frames_per_core_second": len(num_points) / processor,
        "frames_per_second": len(num_points) / wall,
        "points_per_frame": sum(num_points) / len(num_points),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    results = {}
    for name, world in worlds(given.frames).items():
        figures = results[name] = measure(world, given.frames)
        print(
            f"simulation, {name}: {figures['frames_per_core_second']:.0f} frames/s on one core "
            f"({figures['frames_per_second']:.0f}/s of wall time), "
            f"{figures['points_per_frame']:.0f} points a frame; required "
            f"{figures['frames_per_core_second'] / REQUIRED_FPS:.1f} times over"
        )
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
