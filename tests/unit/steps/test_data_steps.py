import json
import shutil

import numpy as np
import pytest

from admlops.errors import ConfigError, DataError
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import frame_keys, oracle_labels
from admlops.steps.annotate import AnnotateConfig, AnnotateInputs, AnnotateOutputs, annotate
from admlops.steps.collect import CollectConfig, CollectInputs, CollectOutputs, collect
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.structures.label_request import LabelRequest, RequestedFrame
from admlops.structures.manifest import Manifest

GROUP = SceneGroup(num_scenes=1, frames_per_scene=4)
WORLD = WorldConfig(
    train=GROUP,
    val=GROUP,
    pool=GROUP,
    lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.4),
)


def collect_world(folder, world=WORLD):
    origin = {"kind": "simulation", "world": world, "destination": folder / "world"}
    config = CollectConfig.parse({"origin": origin})
    return collect(CollectInputs(), CollectOutputs(folder / "source.json"), config)


def ingest_into(folder, name="run", source=None, **config):
    outputs = IngestOutputs(folder / f"{name}.json", folder / f"{name}_findings")
    values = {"lake_uri": str(folder / "lake"), **config}
    inputs = IngestInputs(source or folder / "source.json")
    return ingest(inputs, outputs, IngestConfig.parse(values))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("collected")
    collect_world(folder)
    return folder


@pytest.fixture
def workspace(collected, tmp_path):
    shutil.copytree(collected / "world", tmp_path / "world")
    collect_world(tmp_path)
    return tmp_path


def findings(folder, name="run"):
    return json.loads((folder / f"{name}_findings" / "findings.json").read_text())


def test_a_simulated_world_is_kept_and_a_changed_one_replaced(workspace):
    stamp = (workspace / "world" / "admlops_frames.jsonl").stat().st_mtime_ns
    assert collect_world(workspace) == {"num_simulated": 0.0}
    assert (workspace / "world" / "admlops_frames.jsonl").stat().st_mtime_ns == stamp
    other = WORLD.replace(seed=9, val=SceneGroup(num_scenes=0), pool=SceneGroup(num_scenes=0))
    assert collect_world(workspace, other) == {"num_simulated": 4.0}
    manifest = Manifest.read(workspace / "source.json", "source")
    assert manifest.licences == ("CC0-1.0",)
    assert manifest.digest == other.digest


def test_without_a_destination_the_output_is_the_folder_and_can_be_moved(tmp_path):
    config = CollectConfig.parse(
        {"origin": {"kind": "simulation", "world": WORLD, "destination": None}}
    )
    collect(CollectInputs(), CollectOutputs(tmp_path / "pod_1" / "source"), config)
    moved = tmp_path / "pod_2" / "source"
    shutil.copytree(tmp_path / "pod_1" / "source", moved)
    shutil.rmtree(tmp_path / "pod_1")
    assert ingest_into(tmp_path, source=moved)["num_added"] == 12
    assert Manifest.read(tmp_path / "run.json", "dataset").licences == ("CC0-1.0",)
    assert Dataset.open(str(tmp_path / "lake")).num_frames == 12


def test_collect_never_replaces_foreign_files(tmp_path):
    (tmp_path / "world").mkdir()
    (tmp_path / "world" / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"origin\.destination"):
        collect_world(tmp_path)
    assert (tmp_path / "world" / "thesis.tex").exists()


def test_a_registered_folder_carries_its_terms_into_the_lake(real_data, tmp_path):
    config = CollectConfig.parse({"origin": {"kind": "folder", "path": real_data / "kitti_object"}})
    collect(CollectInputs(), CollectOutputs(tmp_path / "source.json"), config)
    scores = ingest_into(tmp_path)
    assert scores["num_added"] == 6
    assert Manifest.read(tmp_path / "run.json", "dataset").licences == ("CC-BY-NC-SA-3.0",)


def test_a_missing_folder_is_named(tmp_path):
    config = CollectConfig.parse({"origin": {"kind": "folder", "path": tmp_path / "nowhere"}})
    with pytest.raises(DataError, match="nowhere"):
        collect(CollectInputs(), CollectOutputs(tmp_path / "source.json"), config)


def test_ingest_twice_adds_nothing_and_leads_to_the_same_version(workspace):
    first = ingest_into(workspace)
    assert first["num_added"] == 12
    digest = Dataset.open(str(workspace / "lake")).digest
    second = ingest_into(workspace, "again")
    assert (second["num_added"], second["num_present"]) == (0, 12)
    manifests = [Manifest.read(workspace / f"{name}.json", "dataset") for name in ("run", "again")]
    assert manifests[0].reference == manifests[1].reference
    assert manifests[0].digest == manifests[1].digest == digest
    assert Dataset.open(manifests[0].reference).keys() == frame_keys(WORLD)


def test_a_plain_folder_is_a_source_too(workspace):
    scores = ingest_into(workspace, source=workspace / "world")
    assert scores["num_added"] == 12


def damage_cut_lidar(root):
    path = root / "training" / "velodyne" / "000001.bin"
    path.write_bytes(path.read_bytes()[:-3])


def damage_label(root):
    path = root / "training" / "label_2" / "000002.txt"
    path.write_text("Car 0.00 zero\n")


def test_bad_frames_are_quarantined_with_a_reason_and_the_run_goes_on(workspace):
    damage_cut_lidar(workspace / "world")
    damage_label(workspace / "world")
    scores = ingest_into(workspace, max_quarantine_share=0.2)
    assert scores["num_added"] == 10
    assert scores["num_quarantined"] == 2
    found = findings(workspace)
    assert found["rules"] == {"KITTI002": 1, "KITTI006": 1}
    assert {item["where"] for item in found["findings"]} == {
        "training/velodyne/000001",
        "training/label_2/000002",
    }
    lines = (workspace / "run_findings" / "quarantine.jsonl").read_text().splitlines()
    assert {json.loads(line)["rule_id"] for line in lines} == {"KITTI002", "KITTI006"}
    assert len(Dataset.open(str(workspace / "lake")).keys()) == 10


def test_too_many_bad_frames_fail_after_the_findings_are_written(workspace):
    damage_cut_lidar(workspace / "world")
    with pytest.raises(DataError, match=r"1 of 12 frames.*KITTI002"):
        ingest_into(workspace)
    assert findings(workspace)["num_quarantined"] == 1
    assert not (workspace / "run.json").exists()


def test_a_mended_frame_joins_later(workspace):
    path = workspace / "world" / "training" / "velodyne" / "000001.bin"
    content = path.read_bytes()
    damage_cut_lidar(workspace / "world")
    ingest_into(workspace, max_quarantine_share=0.5)
    path.write_bytes(content)
    assert ingest_into(workspace)["num_added"] == 1


def test_changed_sensor_data_under_a_known_key_is_refused(workspace):
    ingest_into(workspace)
    path = workspace / "world" / "training" / "velodyne" / "000001.bin"
    path.write_bytes(path.read_bytes()[16:])
    labels = workspace / "world" / "training" / "label_2" / "000001.txt"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[1:]))
    scores = ingest_into(workspace, "again", max_quarantine_share=0.5)
    assert scores["num_quarantined"] == 1
    assert findings(workspace, "again")["rules"] == {"READ015": 1}


def test_labels_that_a_frame_in_the_lake_does_not_get_are_told(workspace):
    ingest_into(workspace)
    again = ingest_into(workspace, "again")
    assert (again["num_present"], again["num_labels_ignored"]) == (again["num_frames"], 0.0)
    other = ingest_into(workspace, "other", categories={"car": "vehicle"})
    assert other["num_added"] == 0
    found = findings(workspace, "other")
    assert found["rules"] == {"READ021": other["num_labels_ignored"]}
    assert 0 < other["num_labels_ignored"] < other["num_frames"]  # not those of the pool
    assert "keeps them" in found["findings"][0]["what"]
    assert found["num_quarantined"] == 0


def test_frames_that_moved_to_another_split_have_the_same_labels(workspace):
    ingest_into(workspace)
    dataset = Dataset.open(str(workspace / "lake"))
    dataset.move(dict.fromkeys(dataset.keys(), "train"))
    assert ingest_into(workspace, "again")["num_labels_ignored"] == 0.0


def test_a_name_that_the_source_does_not_have_is_reported(workspace):
    ingest_into(workspace, categories={"car": "vehicle", "cyclits": "bicycle"})
    found = findings(workspace)
    assert found["rules"] == {"READ020": 1}
    assert "'cyclits' is of no box" in found["findings"][0]["what"]
    assert "cyclist" in found["findings"][0]["what"]
    ours = {row["source"]: row["ours"] for row in found["categories"]}
    assert (ours["car"], ours["cyclist"]) == ("vehicle", "cyclist")


def test_a_path_that_leads_nowhere_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        ingest_into(tmp_path, source=tmp_path / "nowhere")


def test_a_folder_without_frames_is_refused(tmp_path):
    (tmp_path / "world" / "training" / "velodyne").mkdir(parents=True)
    with pytest.raises(DataError, match="no frames"):
        ingest_into(tmp_path, source=tmp_path / "world")


def request_for(folder, keys):
    frames = tuple(RequestedFrame(**key._asdict()) for key in keys)
    LabelRequest(dataset="lake", frames=frames).write(folder / "request")


def annotate_run(folder, name="labelled", dataset="run", **config):
    return annotate(
        AnnotateInputs(folder / f"{dataset}.json", folder / "request"),
        AnnotateOutputs(folder / f"{name}.json"),
        AnnotateConfig.parse(config or {"annotator": {"kind": "oracle", "world": WORLD}}),
    )


def test_the_oracle_labels_exactly_what_is_asked_for(workspace):
    ingest_into(workspace)
    keys = [frame_keys(WORLD)[index] for index in (9, 11)]
    request_for(workspace, keys)
    scores = annotate_run(workspace)
    assert scores["num_changed"] == 2
    labelled = Dataset.open(Manifest.read(workspace / "labelled.json", "dataset").reference)
    frames = {frame.key: frame for frame in labelled.iterate(lidar=False)}
    truth = oracle_labels(WORLD, keys)
    for key in keys:
        assert frames[key].split == "train"
        assert np.allclose(frames[key].boxes.as_7(), truth[key].as_7())
    assert sum(frame.boxes is None for frame in frames.values()) == 2
    before = Dataset.open(Manifest.read(workspace / "run.json", "dataset").reference)
    assert sorted(before.diff(labelled).relabelled) == sorted(keys)
    again = annotate_run(workspace, "again")
    assert again["num_changed"] == 0
    references = [
        Manifest.read(workspace / f"{name}.json", "dataset").reference
        for name in ("labelled", "again")
    ]
    assert references[0] == references[1]
    ingest_into(workspace, "late")
    late = Manifest.read(workspace / "late.json", "dataset")
    assert late.reference == Manifest.read(workspace / "run.json", "dataset").reference


def test_a_delivered_folder_labels_too(workspace):
    ingest_into(workspace)
    keys = frame_keys(WORLD)[:2]
    request_for(workspace, keys)
    annotator = {"kind": "folder", "path": workspace / "world"}
    assert annotate_run(workspace, annotator=annotator)["num_labelled"] == 2
    request_for(workspace, frame_keys(WORLD)[7:9])
    with pytest.raises(DataError, match="no labels of 1 of 2"):
        annotate_run(workspace, annotator=annotator)


def test_a_damaged_request_is_named(workspace):
    ingest_into(workspace)
    (workspace / "request").mkdir()
    (workspace / "request" / "request.json").write_text("[]")
    with pytest.raises(DataError, match="not a label request"):
        annotate_run(workspace)
