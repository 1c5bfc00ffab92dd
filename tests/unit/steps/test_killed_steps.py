"""Steps that are killed at any moment leave whole versions, and end as others when run again.

`ADMLOPS_NUM_KILLS=50` kills each step as often; the moments are random.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.kitti.writer import write_frames
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.frame import Frame
from admlops.structures.manifest import Manifest

NUM_KILLS = int(os.environ.get("ADMLOPS_NUM_KILLS", "3"))
FRAMES_PER_COMMIT = 4
GROUP = SceneGroup(num_scenes=2, frames_per_scene=5)
NONE = SceneGroup(num_scenes=0)
LIDAR = LidarConfig(num_beams=16, azimuth_step_deg=0.4)
WORLD = WorldConfig(train=GROUP, val=GROUP, pool=GROUP, lidar=LIDAR)
PROGRAM = """
import sys
from pathlib import Path
from admlops.lake import appending
from admlops.steps.curate import CurateConfig, CurateInputs, CurateOutputs, curate
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
step, folder, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
appending.COMMIT_FRAMES = 4
print("started", flush=True)
if step == "ingest":
    outputs = IngestOutputs(out / "dataset.json", out / "findings")
    ingest(IngestInputs(folder / "world"), outputs, IngestConfig(lake_uri=str(out / "lake")))
else:
    sources = [{"reference": str(folder / name)} for name in ("first", "second")]
    merge = {"lake_uri": str(out / "lake"), "sources": sources}
    outputs = CurateOutputs(out / "report", out / "dataset.json")
    curate(CurateInputs(), outputs, CurateConfig(merge=merge, tag="mix"))
"""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a world to ingest, and two lakes to merge."""
    folder = tmp_path_factory.mktemp("sources")
    write_frames(folder / "world", simulate(WORLD))
    for seed, name in enumerate(("first", "second")):
        world = WorldConfig(train=GROUP, val=NONE, pool=NONE, lidar=LIDAR, seed=seed)
        Dataset.create(str(folder / name)).append(simulate(world))
    return folder


def start(step: str, sources: Path, out: Path) -> subprocess.Popen[str]:
    """Start a step; return when its libraries are loaded."""
    command = [sys.executable, "-c", PROGRAM, step, str(sources), str(out)]
    with out.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout.readline() == "started\n"
    return process


def log_of(out: Path) -> str:
    """Return what the last run had to say, for the message of a failed assertion."""
    return out.with_suffix(".log").read_text()


def frames_of(out: Path) -> list[Frame]:
    """Read every frame of the lake with all that it holds."""
    try:
        return list(Dataset.open(str(out / "lake")).iterate(camera=True))
    except DataError as error:
        if "no dataset" not in str(error):
            raise
        return []


def content(frames: list[Frame]) -> list[tuple[object, ...]]:
    return [(frame.key, frame.frame_id, frame.sensor_digest()) for frame in frames]


def kill_at_random(step: str, sources: Path, out: Path, duration_s: float) -> Iterator[bool]:
    """Run the step again and again; yield whether it was killed, and start anew where it ended."""
    chance = np.random.default_rng()
    while True:
        with start(step, sources, out) as process:
            try:
                process.wait(chance.uniform(0.0, 1.1) * duration_s)
            except subprocess.TimeoutExpired:
                process.kill()
        assert process.returncode in {0, -signal.SIGKILL}, log_of(out)
        yield process.returncode != 0
        if process.returncode == 0:
            shutil.rmtree(out)


@pytest.mark.parametrize("step", ["ingest", "curate"])
def test_kills_leave_whole_versions_and_the_end_is_the_same(
    sources: Path, tmp_path: Path, step: str
) -> None:
    begin = time.monotonic()
    with start(step, sources, tmp_path / "whole") as process:
        assert process.wait() == 0, log_of(tmp_path / "whole")
    duration_s = time.monotonic() - begin
    expected = content(frames_of(tmp_path / "whole"))
    allowed = range(0, len(expected) + 1, FRAMES_PER_COMMIT if step == "ingest" else len(expected))
    out = tmp_path / "killed"
    num_killed, states = 0, set()
    for was_killed in kill_at_random(step, sources, out, duration_s):
        found = content(frames_of(out))
        num_killed += was_killed
        states.add(len(found))
        assert found == expected[: len(found)]
        assert len(found) in {*allowed, len(expected)}
        if (out / "dataset.json").exists():
            reference = Manifest.read(out / "dataset.json", "dataset").reference
            assert Dataset.open(reference).digest == Dataset.open(str(out / "lake")).digest
            assert found == expected
        if num_killed == NUM_KILLS:
            break
    with start(step, sources, out) as process:
        assert process.wait() == 0, log_of(out)
    assert content(frames_of(out)) == expected
    whole, resumed = (Dataset.open(str(path / "lake")) for path in (tmp_path / "whole", out))
    assert resumed.digest == whole.digest
    assert resumed.frame_ids() == whole.frame_ids()
    print(f"{step}: {num_killed} kills left {sorted(states)} of {len(expected)} frames")
