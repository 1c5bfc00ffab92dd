"""A simulated drive goes the way of a recorded one: recording, quality, frames, lake."""

import json
import shutil

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.geometry.pose import invert
from admlops.lake.store import Dataset
from admlops.simulation.config import CameraConfig, LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import frame_keys, oracle_labels, simulate
from admlops.steps.collect import CollectConfig, CollectInputs, CollectOutputs, collect
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.structures.manifest import Manifest

NONE = SceneGroup(num_scenes=0)
WORLD = WorldConfig(
    seed=4,
    train=SceneGroup(num_scenes=1, frames_per_scene=3),
    val=NONE,
    pool=NONE,
    keyframe_interval_s=0.1,
    lidar=LidarConfig(num_beams=8, azimuth_step_deg=1.0, azimuth_view_deg=360),
    camera=CameraConfig(width_px=64, height_px=32, focal_px=40),
)


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded_world")
    collect_recording(folder)
    return folder


def collect_recording(folder):
    origin = {"kind": "simulation", "world": WORLD, "format": "recording"}
    origin["destination"] = folder / "drives"
    config = CollectConfig.parse({"origin": origin})
    return collect(CollectInputs(), CollectOutputs(folder / "source.json"), config)


def ingest_into(folder, source):
    outputs = IngestOutputs(folder / "dataset.json", folder / "findings")
    config = IngestConfig(lake_uri=str(folder / "lake"))
    return ingest(IngestInputs(source), outputs, config)


def test_a_recorded_world_reaches_the_lake(collected, tmp_path):
    scores = ingest_into(tmp_path, collected / "source.json")
    assert (scores["num_added"], scores["num_quarantined"]) == (3, 0)
    dataset = Dataset.open(str(tmp_path / "lake"))
    keys = dataset.keys()
    assert [key.timestamp_ns for key in keys] == [key.timestamp_ns for key in frame_keys(WORLD)]
    truth = next(iter(simulate(WORLD)))
    (frame,) = dataset.take([0])
    assert frame.lidar.points.shape == truth.lidar.points.shape
    np.testing.assert_allclose(
        np.sort(frame.points_in_ego(), axis=0), np.sort(truth.points_in_ego(), axis=0), atol=2e-5
    )
    assert dataset.licences == ("CC0-1.0",)
    manifest = Manifest.read(tmp_path / "dataset.json", "dataset")
    assert manifest.provenance["poses"] == "odometry"
    quality = json.loads((tmp_path / "findings" / "quality.json").read_text())
    (recording,) = quality["recordings"]
    assert recording["is_accepted"]
    assert recording["num_frames"] == 3
    page = (tmp_path / "findings" / "quality.html").read_text()
    assert "synthetic-4-train-000" in page
    assert "Every rule holds" in page


def test_fixes_and_an_imu_alone_lead_to_the_same_frames(collected, tmp_path):
    """The same drive by its fixes: the vehicle moves, and points lie, as with odometry."""
    drives = tmp_path / "drives"
    shutil.copytree(collected / "drives", drives)
    (drives / "manifest.json").unlink(missing_ok=True)
    with (drives / "admlops_recording.yaml").open("a") as mapping:
        mapping.write("pose_source: gnss\n")
    ingest_into(tmp_path, drives)
    manifest = Manifest.read(tmp_path / "dataset.json", "dataset")
    assert manifest.provenance["poses"] == "gnss, heading by imu"
    dataset = Dataset.open(str(tmp_path / "lake"))
    frames, truths = dataset.take(range(3)), list(simulate(WORLD))
    for frame, truth in zip(frames, truths, strict=True):
        assert frame.key.timestamp_ns == truth.key.timestamp_ns
        ours, theirs = (
            invert(first.global_from_ego) @ item.global_from_ego
            for first, item in ((frames[0], frame), (truths[0], truth))
        )
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
        ours, theirs = (np.sort(item.points_in_ego(), axis=0) for item in (frame, truth))
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    page = (tmp_path / "findings" / "quality.html").read_text()
    assert "Poses are from gnss, heading by imu." in page


def test_the_oracle_labels_what_was_recorded(collected, tmp_path):
    ingest_into(tmp_path, collected / "source.json")
    keys = Dataset.open(str(tmp_path / "lake")).keys()
    labels = oracle_labels(WORLD, keys)
    for key, truth in zip(keys, simulate(WORLD), strict=True):
        assert key.log == "synthetic-4-train-000"
        np.testing.assert_array_equal(labels[key].as_7(), truth.boxes.as_7())
    with pytest.raises(DataError, match="seed 4"):
        oracle_labels(WORLD, [keys[0]._replace(log="synthetic-44-train-000")])


def test_a_single_file_is_a_source_and_simulating_again_keeps_it(collected, tmp_path):
    file = collected / "drives" / "synthetic-4-train-000.mcap"
    stamp = file.stat().st_mtime_ns
    assert collect_recording(collected) == {"num_simulated": 0.0}
    assert file.stat().st_mtime_ns == stamp
    assert ingest_into(tmp_path, file)["num_added"] == 3


def test_a_refused_recording_stops_the_step_with_its_rules(collected, tmp_path):
    whole = (collected / "drives" / "synthetic-4-train-000.mcap").read_bytes()
    (tmp_path / "cut.mcap").write_bytes(whole[:200])
    with pytest.raises(DataError, match="REC001"):
        ingest_into(tmp_path, tmp_path / "cut.mcap")
    quality = json.loads((tmp_path / "findings" / "quality.json").read_text())
    assert quality["recordings"] == []
    (unreadable,) = quality["unreadable"]
    assert unreadable["where"].endswith("cut.mcap")
    assert unreadable["what"].startswith("no messages")
