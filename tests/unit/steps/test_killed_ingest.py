"""An ingest that is killed at any moment and run again ends as if it had not been killed."""

import signal
import subprocess
import sys
import time

import numpy as np

from admlops.formats.kitti.writer import write_frames
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate

GROUP = SceneGroup(num_scenes=2, frames_per_scene=5)
WORLD = WorldConfig(
    train=GROUP, val=GROUP, pool=GROUP, lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.4)
)
PROGRAM = """
import sys
from pathlib import Path
from admlops.lake import appending
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
appending.COMMIT_FRAMES = 4
folder, name = Path(sys.argv[1]), sys.argv[2]
print("started", flush=True)
ingest(
    IngestInputs(folder / "world"),
    IngestOutputs(folder / f"{name}.json", folder / f"{name}_findings"),
    IngestConfig(lake_uri=str(folder / name)),
)
"""


def start(folder, name):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), name],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def run(folder, name):
    with start(folder, name) as process:
        assert process.stdout.readline() == "started\n"
        begin = time.monotonic()
        assert process.wait() == 0
        return time.monotonic() - begin


def test_a_killed_ingest_is_resumed_to_the_same_lake(tmp_path):
    write_frames(tmp_path / "world", simulate(WORLD))
    duration_s = run(tmp_path, "whole")
    chance = np.random.default_rng()
    num_killed = 0
    for _ in range(3):
        with start(tmp_path, "killed") as process:
            process.stdout.readline()
            try:
                process.wait(chance.uniform(0.02, 0.9) * duration_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                num_killed += 1
    assert num_killed > 0
    run(tmp_path, "killed")
    whole, resumed = (Dataset.open(str(tmp_path / name)) for name in ("whole", "killed"))
    assert resumed.keys() == whole.keys()
    assert resumed.digest == whole.digest
    assert resumed.frame_ids() == whole.frame_ids()
    for first, second in zip(whole.iterate(camera=True), resumed.iterate(camera=True), strict=True):
        assert first.sensor_digest() == second.sensor_digest()
