"""Points to boxes on the paper's KITTI configuration, in every runtime, as ratios to torch.

Run: python -m bench.inference [--rounds 10] [--threads 0] [--json FILE]

Clouds are the whole KITTI sweeps of the real data (about 120,000 points), or made-up ones without
it. Weights are new, with a bias that lets some hundred anchors pass the threshold, as a trained
network does. The runtimes take turns frame by frame, so that load from elsewhere falls on all
alike; CPU time is shown besides, which load hardly changes. mmdetection3d's PointPillars took
750 ms a frame on two cores; it is not run here.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from admlops.detection.backends import cpu_has_bf16, load_network
from admlops.detection.config import CLASS_LOGITS, detector_config_json
from admlops.detection.decode import decode
from admlops.detection.predictor import Network
from admlops.detection.presets import pointpillars_kitti
from admlops.detection.voxelization import Voxelizer
from admlops.export.onnx_file import export_onnx
from admlops.export.targets import TargetOptions, Workpiece, build_openvino
from admlops.models.detector import Detector, build_detector
from bench.real_data import real_data

TARGET_MS = 110.0
MMDETECTION3D_MS = 750.0
LIDAR_HEIGHT_M = 1.73
NUM_PASSING = 300
STAGES = ("voxelize", "network", "decode")


@dataclass(slots=True)
class Runner:
    """One runtime and its times."""

    name: str
    network: Network
    stages_s: list[tuple[float, ...]] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    num_boxes: int = 0

    def run(self, points: NDArray[np.float32], voxelizer: Voxelizer, keep: bool) -> None:
        """Detect in one cloud; `keep` the times, or only warm up."""
        config = pointpillars_kitti()
        cpu = time.process_time()
        start = time.perf_counter()
        inputs = voxelizer(points).as_inputs()
        voxelized = time.perf_counter()
        outputs = self.network(inputs)
        computed = time.perf_counter()
        boxes = decode(outputs, config)
        end = time.perf_counter()
        if keep:
            self.stages_s.append((voxelized - start, computed - voxelized, end - computed))
            self.cpu_s.append(time.process_time() - cpu)
            self.num_boxes += len(boxes)

    def total_ms(self, share: float = 50.0) -> float:
        """Return a percentile of the whole time of a frame."""
        return float(np.percentile(np.sum(self.stages_s, axis=1), share) * 1e3)


def read_clouds() -> list[NDArray[np.float32]]:
    """Return whole KITTI sweeps in the ego frame, or made-up ones of that size."""
    folder = real_data("kitti_object")
    files = sorted((folder / "training" / "velodyne").glob("*.bin"))
    if files:
        clouds = [np.fromfile(file, dtype="<f4").reshape(-1, 4) for file in files]
    else:
        random = np.random.default_rng(0)
        size = (120_000, 4)
        clouds = [random.uniform([-60, -60, -2, 0], [60, 60, 1, 1], size) for _ in range(4)]
    for cloud in clouds:
        cloud[:, 2] += LIDAR_HEIGHT_M
    return [cloud.astype(np.float32) for cloud in clouds]


def make_detector(cloud: NDArray[np.float32]) -> Detector:
    """Return PointPillars with new weights of which some hundred anchors pass the threshold."""
    torch.manual_seed(0)
    detector = build_detector(pointpillars_kitti()).eval()
    layer = detector.network.get_submodule("head.categories")
    with torch.no_grad():
        layer.weight.mul_(30.0)
        logits = detector.infer(Voxelizer(detector.config)(cloud).as_inputs())[CLASS_LOGITS]
        passing = np.partition(logits.reshape(-1), -NUM_PASSING)[-NUM_PASSING]
        threshold = detector.config.decode.score_threshold
        layer.bias.add_(float(np.log(threshold / (1 - threshold)) - passing))
    return detector


def make_runners(
    detector: Detector, clouds: list[NDArray[np.float32]], folder: Path, threads: int
) -> list[Runner]:
    export_onnx(detector, folder / "model.onnx")
    (folder / "detector.json").write_text(detector_config_json(detector.config))
    voxelizer = Voxelizer(detector.config)
    calibration = tuple(dict(voxelizer(cloud).copy().as_inputs()) for cloud in clouds[:4])
    options = TargetOptions(int8=True)
    build_openvino(Workpiece(folder / "model.onnx", folder, options, calibration))
    runners = [
        Runner("torch", detector.infer),
        Runner("ONNX Runtime", load_network(folder, "onnxruntime", "f32", threads)),
        Runner("OpenVINO f32", load_network(folder, "openvino", "f32", threads)),
    ]
    if cpu_has_bf16():
        network = load_network(folder, "openvino", "bf16", threads)
        runners.append(Runner("OpenVINO bf16", network))
    runners.append(Runner("OpenVINO int8", load_network(folder, "openvino", "int8", threads)))
    return runners


def measure(runners: list[Runner], clouds: list[NDArray[np.float32]], rounds: int) -> None:
    voxelizer = Voxelizer(pointpillars_kitti())
    for number in track(range(-1, rounds), "inference", console=Console(stderr=True)):
        for runner in runners:
            runner.run(clouds[number % len(clouds)], voxelizer, keep=number >= 0)


def show(runners: list[Runner], console: Console) -> dict[str, float]:
    """Print the table; return its figures."""
    figures: dict[str, float] = {}
    table = Table(title="Points to boxes, paper's KITTI configuration")
    for name in ("runtime", *(f"{stage} ms" for stage in STAGES), "p50 ms", "p99 ms", "CPU ms"):
        table.add_column(name, justify="left" if name == "runtime" else "right")
    table.add_column("faster than torch", justify="right")
    reference = runners[0]
    for runner in runners:
        stages = np.median(runner.stages_s, axis=0) * 1e3
        total, cpu_ms = runner.total_ms(), float(np.median(runner.cpu_s) * 1e3)
        ratio = reference.total_ms() / total
        key = runner.name.lower().replace(" ", "_")
        figures[f"{key}_p50_ms"] = total
        figures[f"{key}_cpu_ms"] = cpu_ms
        figures[f"{key}_speedup"] = ratio
        cells = [f"{value:.1f}" for value in (*stages, total, runner.total_ms(99.0), cpu_ms)]
        table.add_row(runner.name, *cells, f"{ratio:.2f}x")
    console.print(table)
    best = min(runners[1:], key=Runner.total_ms)
    console.print(
        f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}; best is {best.name} with "
        f"{best.total_ms():.0f} ms (aim {TARGET_MS:.0f} ms where the CPU has AMX; mmdetection3d "
        f"{MMDETECTION3D_MS:.0f} ms on two cores, not run here)"
    )
    return figures


def main(arguments: Sequence[str] = ()) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0 lets each runtime choose")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(arguments)
    clouds = read_clouds()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as name:
        runners = make_runners(make_detector(clouds[0]), clouds, Path(name), options.threads)
        measure(runners, clouds, options.rounds)
    figures = show(runners, Console())
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
