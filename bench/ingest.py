"""How fast KITTI folders enter the lake, how the time grows, and how much memory it takes.

Full frames have 120k points and an image. For the growth, frames keep their labels and lose their
sensor data but for a few points. Frames are hard links to a few simulated ones; every size runs in
a process of its own, so that its peak memory is its own.

`ADMLOPS_MMDET3D_PYTHON` names a Python that has mmdet3d 1.4.0: its `create_data` (infos, point
counts, clouds of the camera's view, database of objects) then runs on the same full frames.
Without, its figure is that of another machine: 33 s for 130 full KITTI frames.

Run: python -m bench.ingest [--full 130] [--sizes 1000,10000,100000] [--json FILE]
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from admlops.formats.kitti.sidecar import FILE_NAME
from admlops.formats.kitti.writer import write_frames
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.structures.frame import Frame, LidarSweep

MMDET3D_FPS = 130 / 33.0
MAX_MEMORY_GIB = 1.5
NUM_TEMPLATES = 6
FEW_POINTS = 32


def write_templates(folder: Path, is_full: bool) -> None:
    none = SceneGroup(num_scenes=0)
    lidar = LidarConfig(num_beams=64, azimuth_view_deg=360.0, azimuth_step_deg=0.16)
    world = WorldConfig(train=SceneGroup(num_scenes=3), val=none, pool=none, lidar=lidar)
    frames = islice(simulate(world), 0, 30, 30 // NUM_TEMPLATES)
    write_frames(folder, frames if is_full else map(without_payload, frames))
    (folder / FILE_NAME).unlink()
    shutil.rmtree(folder / "ImageSets")


def without_payload(frame: Frame) -> Frame:
    assert frame.lidar is not None
    few = LidarSweep(frame.lidar.sensor, frame.lidar.points[:FEW_POINTS])
    return replace(frame, lidar=few, camera=None)


def repeat_templates(templates: Path, folder: Path, count: int) -> None:
    for kind in sorted((templates / "training").iterdir()):
        files = sorted(kind.iterdir())
        target = folder / "training" / kind.name
        target.mkdir(parents=True)
        for number in range(count):
            file = files[number % len(files)]
            os.link(file, target / f"{number:06d}{file.suffix}")


def ingest_folder(folder: Path) -> None:
    """Ingest and print seconds, processor seconds and peak memory; runs in its own process."""
    outputs = IngestOutputs(folder / "dataset.json", folder / "findings")
    config = IngestConfig(lake_uri=str(folder / "lake"))
    wall, processor = time.perf_counter(), time.process_time()
    scores = ingest(IngestInputs(folder / "kitti"), outputs, config)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figures = {"seconds": wall, "core_seconds": processor, "peak_gib": peak_gib}
    print(json.dumps(figures | {"frames": scores["num_added"]}))


def measure(templates: Path, count: int, folder: Path) -> dict[str, float]:
    repeat_templates(templates, folder / "kitti", count)
    command = [sys.executable, "-m", "bench.ingest", "--ingest", str(folder)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    whole = time.perf_counter() - start
    figures: dict[str, float] = json.loads(done.stdout)
    assert figures["frames"] == count
    shutil.rmtree(folder)
    return figures | {
        "frames_per_second": count / figures["seconds"],
        "frames_per_second_with_start": count / whole,
    }


def create_data(python: str, templates: Path, count: int, folder: Path) -> float:
    """Return the seconds that mmdetection3d takes for the frames that `measure` ingests."""
    root = folder / "kitti"
    repeat_templates(templates, root, count)
    (root / "testing").symlink_to("training")
    (root / "ImageSets").mkdir()
    names = [f"{number:06d}" for number in range(count)]
    for split, own in (("train", names[:-2]), ("val", names[-2:-1]), ("test", names[-1:])):
        (root / "ImageSets" / f"{split}.txt").write_text("\n".join(own) + "\n")
    where = (
        "import importlib.util as u; print(u.find_spec('mmdet3d').submodule_search_locations[0])"
    )
    package = subprocess.run([python, "-c", where], check=True, stdout=subprocess.PIPE, text=True)
    tools = Path(package.stdout.strip()) / ".mim"
    command = [python, "tools/create_data.py", "kitti", "--extra-tag", "kitti"]
    command += ["--root-path", str(root), "--out-dir", str(root)]
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(tools), "CUDA_VISIBLE_DEVICES": ""}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    done = subprocess.run(command, check=False, cwd=tools, env=environment, text=True, **quiet)
    if done.returncode:
        raise RuntimeError(f"create_data failed: {done.stderr[-600:]}")
    seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", type=int, default=130)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--ingest", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.ingest:
        ingest_folder(given.ingest)
        return
    results = {}
    python = os.environ.get("ADMLOPS_MMDET3D_PYTHON", "")
    theirs, source = MMDET3D_FPS, "33 s for 130 frames, measured on another machine"
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if python:
            write_templates(root / "theirs", True)
            seconds = create_data(python, root / "theirs", given.full, root / "mmdet3d")
            theirs = given.full / seconds
            source = (
                f"{seconds:.1f} s for the same {given.full} frames; the starts of both included"
            )
        for is_full, sizes in ((True, [given.full]), (False, given.sizes.split(","))):
            templates = root / f"templates_{is_full}"
            write_templates(templates, is_full)
            for size in map(int, sizes):
                kind = "full" if is_full else "metadata-only"
                figures = measure(templates, size, root / f"{kind}_{size}")
                results[f"{kind} {size}"] = figures
                print(
                    f"ingest, {size} {kind} frames: {figures['frames_per_second']:.0f} frames/s, "
                    f"{1e3 * figures['seconds'] / size:.2f} ms a frame "
                    f"({1e3 * figures['core_seconds'] / size:.2f} ms of one core), peak "
                    f"{figures['peak_gib']:.2f} of {MAX_MEMORY_GIB} GiB",
                    flush=True,
                )
    kind_of_rate = "frames_per_second_with_start" if python else "frames_per_second"
    rate = results[f"full {given.full}"][kind_of_rate]
    print(f"ingest, full frames: {rate / theirs:.1f} times mmdetection3d's create_data ({source})")
    if given.json:
        given.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
