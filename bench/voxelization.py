"""How fast 120,000 points become KITTI pillars on one core.

Run: python -m bench.voxelization [--json FILE]

Where mmcv is installed, its hard voxelisation of the same points runs in the same process and the
ratio is printed. Ours also computes the nine decorated features, which mmcv leaves to the network.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from admlops.detection.config import PillarDetectorConfig
from admlops.detection.presets import pointpillars_kitti
from admlops.detection.voxelization import Voxelizer

NUM_POINTS = 120_000
ROUNDS = 50
TARGET_MS = 4.0


def make_cloud(num_points: int, *, inside: bool) -> NDArray[np.float32]:
    """Return a cloud shaped like a 64-beam lidar's, or one whose points are all in range."""
    generator = np.random.default_rng(0)
    low, high = (0.02, np.arctan2(39.0, 10.0)) if inside else (0.02, np.pi)
    azimuth = np.linspace(-high, high, num_points // 64, dtype=np.float64)
    elevation = np.deg2rad(np.linspace(-24.8, 2.0, 64))
    turn, rise = (part.ravel() for part in np.meshgrid(azimuth, elevation, indexing="ij"))
    away = np.minimum(1.73 / np.maximum(np.tan(-rise), low), generator.uniform(5, 60, rise.size))
    points = np.column_stack(
        [
            away * np.cos(turn),
            away * np.sin(turn),
            1.73 + away * np.tan(rise),
            generator.uniform(0, 1, rise.size),
        ]
    )
    return np.resize(points, (num_points, 4)).astype(np.float32)


def milliseconds(call: Callable[[], object]) -> tuple[float, float]:
    """Return the median and the best time of a call."""
    call()
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times)), min(times)


def mmcv_call(
    points: NDArray[np.float32], config: PillarDetectorConfig
) -> Callable[[], object] | None:
    """Return mmcv's hard voxelisation of the same points; None where mmcv is absent."""
    try:
        import torch
        from mmcv.ops import Voxelization
    except ImportError:
        return None
    low, high = config.range_low_m, config.range_high_m
    layer = Voxelization(
        [*config.voxel_size_m, float(high[2] - low[2])],
        list(config.point_cloud_range_m),
        config.max_points_per_pillar,
        config.max_pillars,
    )
    torch.set_num_threads(1)
    tensor = torch.from_numpy(points)
    return lambda: layer(tensor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    config = pointpillars_kitti()
    table = Table(title=f"{NUM_POINTS:,} points to KITTI pillars, one core")
    for name in ("cloud", "points in range", "pillars", "median ms", "best ms", "target ms"):
        table.add_column(name, justify="left" if name == "cloud" else "right")
    rows = []
    for name, inside in (("full rotation", False), ("all ahead", True)):
        points = make_cloud(NUM_POINTS, inside=inside)
        voxelizer = Voxelizer(config)
        pillars = voxelizer(points)
        num_points, num_pillars = len(pillars.point_pillar), len(pillars)
        median, best = milliseconds(lambda points=points, run=voxelizer: run(points))
        row = [name, num_points, num_pillars, median, best]
        rows.append(row)
        table.add_row(
            name, f"{num_points:,}", f"{num_pillars:,}", f"{median:.2f}", f"{best:.2f}",
            f"{TARGET_MS:g}",
        )  # fmt: skip
        other = mmcv_call(points, config)
        if other is not None:
            theirs, theirs_best = milliseconds(other)
            table.add_row(
                f"{name}, mmcv", "", "", f"{theirs:.2f}", f"{theirs_best:.2f}",
                f"{theirs_best / best:.1f} x ours",
            )  # fmt: skip
    Console().print(table)
    if arguments.json:
        names = ["cloud", "points", "pillars", "median_ms", "best_ms"]
        arguments.json.write_text(
            json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1)
        )


if __name__ == "__main__":
    main()
