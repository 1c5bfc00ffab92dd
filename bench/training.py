"""How long a training step takes on this CPU: memory layout and precision.

Run: python -m bench.training [--kitti] [--json FILE]

The bf16 rows appear where the CPU multiplies bfloat16; elsewhere it is emulated and slower, which
is why precision "auto" leaves it off there.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from admlops.detection.config import PillarDetectorConfig
from admlops.detection.presets import pointpillars_kitti, small_detector
from admlops.loading.augmentation import TrainingFrame
from admlops.loading.batches import Batcher
from admlops.models.detector import build_detector
from admlops.structures.frame import FrameKey
from admlops.training.precision import cpu_multiplies_bf16
from admlops.training.tensor_batch import TensorBatch

BATCH = 2
ROUNDS = 4
NUM_POINTS = 20_000


def make_batch(config: PillarDetectorConfig) -> TensorBatch:
    """Return a batch of clouds as large as KITTI's in the camera view, with ten cars each."""
    generator = np.random.default_rng(0)
    low, high = config.range_low_m, config.range_high_m
    car = config.categories.index("car")
    frames = []
    for number in range(BATCH):
        away = low[0] + (high[0] - low[0]) * generator.uniform(0, 1, NUM_POINTS) ** 2
        side = generator.uniform(-0.6, 0.6, NUM_POINTS) * away
        rest = generator.uniform([low[2], 0], [high[2] / 2, 1], (NUM_POINTS, 2))
        points = np.column_stack([away, side, rest]).astype(np.float32)
        center = generator.uniform([5, -20, 0.5], [50, 20, 1], (10, 3))
        boxes = np.column_stack(
            [center, np.tile([4.0, 1.7, 1.5], (10, 1)), generator.uniform(-3, 3, 10)]
        )
        key = FrameKey("bench", "", number)
        frames.append(TrainingFrame(key, points, boxes, np.full(10, car)))
    return TensorBatch.from_arrays(Batcher(config)(frames))


def step_ms(config: PillarDetectorConfig, *, channels_last: bool, bf16: bool) -> float:
    """Return the best time of forward, backward and optimiser step."""
    torch.manual_seed(0)
    detector = build_detector(config)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    detector.to(memory_format=layout)  # type: ignore[call-overload]
    detector.set_channels_last(channels_last)
    batch = make_batch(config)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=1e-4)
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            outputs = detector(batch.inputs, batch.num_frames)
            loss = torch.stack(list(detector.losses(outputs, batch.targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--kitti", action="store_true", help="the paper's configuration too")
    arguments = parser.parse_args()
    has_bf16 = cpu_multiplies_bf16()
    detectors = {"small centerpoint": small_detector("centerpoint")}
    if arguments.kitti:
        detectors["pointpillars kitti"] = pointpillars_kitti()
    table = Table(
        title=f"training step, batch of {BATCH}, {torch.get_num_threads()} threads, "
        f"bfloat16 in the CPU: {'yes' if has_bf16 else 'no'}"
    )
    for name in ("detector", "layout", "precision", "ms", "against plain"):
        table.add_column(name, justify="right" if name in {"ms", "against plain"} else "left")
    rows = []
    for name, config in detectors.items():
        plain = None
        for channels_last, bf16 in ((False, False), (True, False), (True, True)):
            if bf16 and not has_bf16:
                continue
            best = step_ms(config, channels_last=channels_last, bf16=bf16)
            plain = plain or best
            layout = "channels last" if channels_last else "channels first"
            precision = "bf16 autocast" if bf16 else "fp32"
            rows.append({"detector": name, "layout": layout, "precision": precision, "ms": best})
            table.add_row(name, layout, precision, f"{best:.0f}", f"{plain / best:.2f} x")
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
