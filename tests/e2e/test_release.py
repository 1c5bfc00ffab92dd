"""From a model with made-up weights to a served release: every step real, every answer checked.

One release is made and served once for the whole file.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch
from s3_server import serve_s3

from admlops.collection.detector import ReleaseDetectorConfig, load_detector
from admlops.collection.watch import Watch, WatchConfig
from admlops.detection.backends import load_network
from admlops.detection.config import detector_config_json
from admlops.detection.predictor import Predictor
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError, GateError, ServiceError
from admlops.files import digest_file
from admlops.formats.cloud_file import read_cloud
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.models.detector import build_detector
from admlops.recordings.config import RecordingConfig
from admlops.recordings.recorder import record_scenes
from admlops.recordings.source import RecordingSource
from admlops.serving.bucket_store import open_store
from admlops.serving.client import ServedDetector, predict_cloud, served_release
from admlops.serving.embedded import EmbeddedTriton
from admlops.serving.golden import largest_difference, read_goldens, require_equal
from admlops.serving.loader import main as loader_main
from admlops.serving.publication import Papers, publish_release, rollback
from admlops.serving.release import ReleaseContent, read_record, require_intact
from admlops.serving.rollout import read_release
from admlops.serving.server import embed_release
from admlops.serving.stages import ServingSettings
from admlops.serving.store import ReleaseStore
from admlops.simulation.config import CameraConfig, LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.build import BuildConfig, BuildInputs, BuildOutputs, build
from admlops.steps.export import ExportConfig, ExportInputs, ExportOutputs, export
from admlops.steps.predict import PredictConfig, PredictInputs, PredictOutputs, predict
from admlops.steps.publish import PublishConfig, PublishInputs, PublishOutputs, publish
from admlops.steps.verify import VerifyConfig, VerifyInputs, VerifyOutputs, verify
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, Frame, FrameKey, LidarSweep
from admlops.structures.manifest import Manifest

pytestmark = pytest.mark.e2e

LIDAR_HEIGHT_M = 1.73
MANIFESTS = Path(__file__).resolve().parents[2] / "manifests"


def make_cloud(seed: int, num_points: int = 20_000) -> np.ndarray:
    """Return points around a lidar 1.73 m above flat ground, with a few boxes of points."""
    random = np.random.default_rng(seed)
    ground = np.column_stack(
        [
            random.uniform(0.5, 50.0, num_points),
            random.uniform(-25.0, 25.0, num_points),
            np.full(num_points, -LIDAR_HEIGHT_M) + random.normal(0.0, 0.02, num_points),
        ]
    )
    centers = random.uniform([8.0, -15.0, -1.0], [40.0, 15.0, -1.0], (6, 3))
    objects = (centers[:, None] + random.uniform(-1.0, 1.0, (6, 200, 3))).reshape(-1, 3)
    xyz = np.concatenate([ground, objects])
    intensity = random.uniform(0.0, 1.0, (len(xyz), 1))
    return np.concatenate([xyz, intensity], axis=1).astype(np.float32)


def make_frame(number: int) -> Frame:
    ego_from_lidar = np.eye(4)
    ego_from_lidar[:3, 3] = [0.27, 0.0, LIDAR_HEIGHT_M]
    sensor = CalibratedSensor("lidar_top", "lidar", ego_from_lidar)
    label = Boxes.make([[10.0, 2.0, 0.8]], [[4.0, 1.7, 1.5]], [0.1], ["car"], num_points=[50])
    return Frame(
        key=FrameKey("log", "scene", number),
        frame_id=f"{number:06d}",
        global_from_ego=np.eye(4),
        lidar=LidarSweep(sensor, make_cloud(number)),
        boxes=label,
        split="val" if number % 2 else "train",
    )


@dataclass(frozen=True)
class Published:
    """What the steps wrote, and what they said."""

    root: Path
    dataset: Path
    inputs: PublishInputs
    config: PublishConfig
    scores: dict[str, dict[str, float]]
    store: ReleaseStore

    @property
    def built(self) -> Path:
        return self.inputs.built

    @property
    def first(self) -> str:
        return self.store.ids()[0]


def write_model(folder: Path, bias: float) -> None:
    """Write a detector whose random weights find boxes."""
    torch.manual_seed(3)
    detector = build_detector(small_detector())
    with torch.no_grad():
        last = detector.network.head.heatmap[-1]
        last.weight.mul_(10.0)
        last.bias.fill_(bias)
    folder.mkdir()
    (folder / "detector.json").write_text(detector_config_json(detector.config))
    torch.save(detector.state_dict(), folder / "weights.pt")
    manifest = Manifest(kind="model", uri=str(folder), digest="0" * 64, licences=("CC0-1.0",))
    manifest.write(folder / "manifest.json")


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Published:
    root = tmp_path_factory.mktemp("release")
    lake = Dataset.create(str(root / "lake"), licences=("CC BY-NC-SA 3.0",))
    lake.append(make_frame(number) for number in range(6))
    lake.manifest().write(root / "dataset.json")
    write_model(root / "model", bias=-2.0)
    scores = {
        "export": export(
            ExportInputs(root / "model"), ExportOutputs(root / "exported"), ExportConfig()
        ),
        "build": build(
            BuildInputs(root / "exported", root / "dataset.json"),
            BuildOutputs(root / "built"),
            BuildConfig(int8=True, num_calibration_frames=3),
        ),
        "verify": verify(
            VerifyInputs(root / "model", root / "built", root / "dataset.json"),
            VerifyOutputs(root / "verification"),
            VerifyConfig(num_frames=3),
        ),
    }
    for name, values in (
        ("evaluation", {"scores": {"mean_bev_ap": 0.5}}),
        ("verdict", {"passed": True}),
    ):
        (root / name).mkdir()
        (root / name / f"{name}.json").write_text(json.dumps(values))
    inputs = PublishInputs(
        built=root / "built",
        dataset=root / "dataset.json",
        verification=root / "verification",
        evaluation=root / "evaluation",
        verdict=root / "verdict",
    )
    config = PublishConfig(releases_uri=str(root / "releases"))
    scores["publish"] = publish(inputs, PublishOutputs(root / "release.json"), config)
    store = ReleaseStore(config.releases_uri)
    return Published(root, root / "dataset.json", inputs, config, scores, store)


@pytest.fixture(scope="module")
def server(published):
    with embed_release(published.store.path(published.first)) as server:
        yield server


@pytest.fixture(scope="module")
def predictor(published):
    network = load_network(published.built, "openvino")
    return Predictor(small_detector(), network)


def test_the_operators_run_everywhere(published):
    scores = published.scores["export"]
    assert scores["num_unsupported_onnxruntime"] == 0
    assert scores["num_unsupported_openvino"] == 0
    audit = json.loads((published.root / "exported" / "audit.json").read_text())
    assert audit["opset"] == 20
    assert audit["dynamic_inputs"]["pillar_cell"] == ["num_pillars"]


def test_the_runtimes_agree_with_torch(published):
    scores = published.scores["verify"]
    assert scores["onnxruntime_max_abs_diff"] < 1e-3
    assert scores["openvino_max_abs_diff"] < 1e-3
    assert scores["onnxruntime_match_rate"] == 1.0
    assert scores["openvino_match_rate"] == 1.0
    assert scores["openvino_int8_match_rate"] > 0.5
    assert 0 < scores["points_to_boxes_p50_ms"] <= scores["points_to_boxes_p99_ms"]
    written = json.loads((published.root / "verification" / "verification.json").read_text())
    assert written["rungs"][0]["name"] == "torch"
    assert written["average_precision"]["torch"].keys() == {"car"}


def test_the_release_is_complete(published):
    release = published.store.path(published.first)
    require_intact(release)
    record = read_record(release)
    assert record.licences == ("CC BY-NC-SA 3.0", "CC0-1.0")
    assert record.scores["mean_bev_ap"] == 0.5
    assert record.provenance["dataset"].endswith("@1") or "@" in record.provenance["dataset"]
    assert published.scores["publish"]["num_golden_boxes"] > 10
    manifest = Manifest.read(published.root / "release.json", "release")
    assert Path(manifest.uri) == release
    goldens = read_goldens(release / "golden")
    assert len(goldens) == 3


def test_triton_answers_as_this_process_does(published, server, predictor):
    for number in (1, 4):
        frame = make_frame(number)
        expected = predictor(frame.points_in_ego())
        answered = predict_cloud(server.grpc_url, frame.lidar.points)
        assert len(expected) > 5
        assert largest_difference(expected, answered) < 1e-3
        elsewhere = ServedDetector(server.grpc_url)(frame.points_in_ego())
        assert largest_difference(expected, elsewhere) < 0.02  # points change pillars by rounding
    served = served_release(f"grpc://{server.grpc_url}")
    assert (served.release_id, served.categories) == (published.first, small_detector().categories)
    np.testing.assert_array_equal(served.ego_from_lidar, make_frame(0).lidar.sensor.ego_from_sensor)


def test_a_dataset_is_predicted_through_the_server_as_in_this_process(published, server, tmp_path):
    inputs = PredictInputs(published.dataset, published.built)
    own, served = PredictOutputs(tmp_path / "own"), PredictOutputs(tmp_path / "served")
    predict(inputs, own, PredictConfig())
    scores = predict(inputs, served, PredictConfig(url=server.grpc_url))
    assert scores["predict_frames"] == 3
    assert scores["predict_boxes"] > 0
    manifest = Manifest.read(served.predictions / "manifest.json", "predictions")
    assert manifest.provenance["runtime"] == "triton"
    assert manifest.provenance["release"] == published.first
    here = iterate_predictions(own.predictions / "predictions.parquet")
    there = dict(iterate_predictions(served.predictions / "predictions.parquet"))
    for key, boxes in here:
        assert len(there[key]) == len(boxes)
        np.testing.assert_allclose(there[key].as_7(), boxes.as_7(), atol=1e-3)
    with pytest.raises(ConfigError, match="url does not go with"):
        predict(inputs, own, PredictConfig(url=server.grpc_url, embed=True))


WORLD = WorldConfig(
    seed=4,
    train=SceneGroup(num_scenes=1, frames_per_scene=8),
    val=SceneGroup(num_scenes=0),
    pool=SceneGroup(num_scenes=0),
    keyframe_interval_s=0.1,
    lidar=LidarConfig(num_beams=16, azimuth_step_deg=1.0, azimuth_view_deg=360),
    camera=CameraConfig(width_px=64, height_px=32, focal_px=40),
)


@pytest.mark.parametrize("kind", ["release", "server"])
def test_a_published_release_fires_the_triggers_of_a_watch(
    published, server, predictor, tmp_path, kind
):
    (drive,) = record_scenes(tmp_path / "incoming", simulate(WORLD))
    source = RecordingSource(drive, RecordingConfig())
    frames = [source.read(number).frame for number in range(len(source))]
    best = {frame.key: predictor(frame.points_in_ego()).score.max() for frame in frames}
    scores = sorted(best.values())
    gap = int(np.argmax(np.diff(scores)))
    sure = {"category": "any", "min_score": (scores[gap] + scores[gap + 1]) / 2}
    detectors = {
        "release": {"kind": kind, "releases_uri": str(published.store.root)},
        "server": {"kind": kind, "url": server.grpc_url},
    }
    triggers = {"triggers": [{"name": "sure", "when": sure}], "before_s": 0, "after_s": 0}
    config = {
        "lake_uri": str(tmp_path / "lake"),
        "detector": detectors[kind],
        "triggers": {**triggers, "max_age_s": 0.05},
        "screening": None,
    }
    Watch(drive.parent, WatchConfig.parse(config)).run(once=True)
    wanted = {key for key, score in best.items() if score >= sure["min_score"]}
    assert 0 < len(wanted) < len(frames) == 8
    assert set(Dataset.open(str(tmp_path / "lake")).keys()) == wanted
    (entry,) = (drive.parent / ".admlops" / "watch").glob("*.json")
    assert f"release {published.first}" in json.loads(entry.read_text())["detector"]


def test_an_empty_cloud_has_no_boxes(server):
    assert len(predict_cloud(server.grpc_url, np.empty((0, 4), np.float32))) == 0


def test_a_cloud_out_of_range_has_no_boxes(server):
    far = np.full((100, 4), 500.0, dtype=np.float32)
    assert len(predict_cloud(server.grpc_url, far)) == 0


def test_points_that_are_no_numbers_do_not_count(server):
    cloud = make_cloud(1)
    damaged = np.concatenate([cloud, np.full((1000, 4), np.nan, np.float32)])
    damaged = np.concatenate([damaged, np.full((10, 4), np.inf, np.float32)])
    expected = predict_cloud(server.grpc_url, cloud)
    assert largest_difference(expected, predict_cloud(server.grpc_url, damaged)) < 1e-6
    nothing = np.full((500, 4), np.nan, dtype=np.float32)
    assert len(predict_cloud(server.grpc_url, nothing)) == 0


def test_five_million_points_are_refused_and_the_server_stays(server):
    with pytest.raises(ServiceError, match="5000000 points, this release takes at most 2000000"):
        predict_cloud(server.grpc_url, np.zeros((5_000_000, 4), np.float32))
    assert len(predict_cloud(server.grpc_url, make_cloud(1))) > 5
    assert server.is_running()


def test_two_million_points_are_answered(server):
    random = np.random.default_rng(0)
    cloud = random.uniform(-60, 60, (2_000_000, 4)).astype(np.float32)
    predict_cloud(server.grpc_url, cloud, timeout_s=60)
    assert server.is_running()


def test_a_truncated_file_is_refused_before_it_is_sent(tmp_path):
    path = tmp_path / "cloud.bin"
    path.write_bytes(make_cloud(1).tobytes()[:-3])
    with pytest.raises(DataError, match="truncated"):
        read_cloud(path)


def test_serving_changes_no_file_of_the_release(published, server):
    predict_cloud(server.grpc_url, make_cloud(2))
    require_intact(published.store.path(published.first))


def test_a_served_release_ends_cleanly_when_it_is_told_to(published, tmp_path):
    command = [sys.executable, "-c", "from admlops.cli import main; main()", "serve"]
    command += ["--releases", str(published.store.root), "--ports", "0", "0", "0"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **streams) as process:
        lines = list(takewhile(lambda line: line != "Ctrl-C stops it.\n", process.stdout))
        url = next(line.split()[1] for line in lines if line.startswith("gRPC"))
        predict_cloud(url, make_cloud(1))
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == "stopping\n"
    with pytest.raises(ServiceError):
        predict_cloud(url, make_cloud(1))
    assert list(tmp_path.iterdir()) == []


def test_a_release_runs_where_it_was_copied(published, tmp_path):
    copy = tmp_path / "elsewhere"
    shutil.copytree(published.store.path(published.first), copy)
    not_compiled = {"NUMBA_DISABLE_JIT": "1"}  # slower to run, but it takes no time to start
    with EmbeddedTriton(copy / "models", ("points_to_boxes",), variables=not_compiled) as server:
        assert len(predict_cloud(server.grpc_url, make_cloud(1))) > 5


def test_publishing_the_same_again_makes_no_second_release(published, tmp_path):
    before = published.store.ids()
    scores = publish(published.inputs, PublishOutputs(tmp_path / "release.json"), published.config)
    assert published.store.ids() == before
    assert scores["golden_max_abs_diff"] <= 1e-3


def test_a_wrong_golden_answer_keeps_the_old_release(published):
    release = published.store.path(published.first)
    goldens = read_goldens(release / "golden")
    settings = ServingSettings.load(release / "serving.json")
    wrong = [g.__class__(g.name, g.points, g.boxes.select([0])) for g in goldens if len(g.boxes)]
    before = published.store.current()
    with pytest.raises(GateError, match="golden request"):
        publish_release(published.store, ReleaseContent(published.built, settings, wrong), Papers())
    assert published.store.current() == before
    assert [path.name for path in published.store.folder.iterdir()] == published.store.ids()


def test_a_network_that_does_not_load_keeps_the_old_release(published, tmp_path):
    broken = tmp_path / "built"
    shutil.copytree(published.built, broken)
    (broken / "openvino" / "model.bin").write_bytes(b"")
    release = published.store.path(published.first)
    settings = ServingSettings.load(release / "serving.json")
    content = ReleaseContent(broken, settings, read_goldens(release / "golden"))
    before = published.store.current()
    with pytest.raises(ServiceError, match="ended while it started"):
        publish_release(published.store, content, Papers())
    assert published.store.current() == before
    assert not list(published.store.folder.glob(".draft-*"))


def test_a_second_release_and_back(published, tmp_path):
    config = published.config.replace(runtime="onnxruntime")
    publish(published.inputs, PublishOutputs(tmp_path / "release.json"), config)
    pointer = published.store.current()
    assert pointer.release_id.startswith("0002-")
    assert pointer.previous == published.first
    assert rollback(config.releases_uri).release_id == published.first
    assert published.store.current_path().name == published.first


def test_a_model_that_did_not_pass_is_not_published(published, tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps({"passed": False}))
    inputs = PublishInputs(
        published.built,
        published.dataset,
        published.root / "verification",
        published.root / "evaluation",
        tmp_path,
    )
    with pytest.raises(GateError, match="did not pass"):
        publish(inputs, PublishOutputs(tmp_path / "release.json"), published.config)


def test_commercial_use_of_non_commercial_data_is_refused(published, tmp_path):
    config = published.config.replace(use="commercial")
    with pytest.raises(ConfigError, match="forbids commercial use"):
        publish(published.inputs, PublishOutputs(tmp_path / "release.json"), config)


def test_from_publish_through_s3_into_a_pod(published, predictor, tmp_path, monkeypatch):
    """What a cluster does: publish names the release, the loader brings it, Triton answers."""
    (tmp_path / "s3" / "models").mkdir(parents=True)
    overlay = tmp_path / "overlay"
    shutil.copytree(MANIFESTS / "overlays" / "gpu", overlay)
    uri = "s3://models/store/serving"
    config = published.config.replace(releases_uri=uri, target="kustomize", overlay=str(overlay))
    pod = tmp_path / "pod"
    pod.mkdir()
    with serve_s3(tmp_path / "s3") as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        publish(published.inputs, PublishOutputs(tmp_path / "release.json"), config)
        manifest = Manifest.read(tmp_path / "release.json", "release")
        named = read_release(overlay)
        release_id = named.partition("@sha256:")[0]
        assert manifest.uri == f"{uri}/releases/{release_id}"
        assert (tmp_path / "s3/models/store/serving/releases" / release_id).is_dir()
        assert open_store(uri).current().release_id == release_id

        pinned = ReleaseDetectorConfig(kind="release", releases_uri=uri, release=named)
        points = make_frame(1).points_in_ego()
        found = load_detector(pinned).detect(points)
        assert largest_difference(predictor(points), found) < 1e-6

        pod_environment = environment | {"ADMLOPS_RELEASE": named, "ADMLOPS_RELEASES_URI": uri}
        assert loader_main(["--into", str(pod)], pod_environment) == 0
        with embed_release(pod / "current") as server:
            assert served_release(server.grpc_url).release_id == release_id
            for golden in read_goldens(pod / "current" / "golden"):
                require_equal(golden, predict_cloud(server.grpc_url, golden.points), 1e-3)
        require_intact(pod / "current")

        second = config.replace(runtime="onnxruntime")
        publish(published.inputs, PublishOutputs(tmp_path / "second.json"), second)
        newer = open_store(uri).current()
        assert newer.previous == release_id
        assert read_release(overlay).startswith(f"{newer.release_id}@sha256:")
        assert rollback(uri).release_id == release_id  # downloads and verifies it
        assert open_store(uri).find_model("0" * 64).stem == newer.release_id
        assert open_store(uri).find_model("1" * 64) is None

        weights = next((tmp_path / "s3").rglob("releases/*/models/network/1/openvino/model.bin"))
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
        empty = tmp_path / "another-pod"
        empty.mkdir()
        assert loader_main(["--into", str(empty)], pod_environment) == 1
        assert list(empty.iterdir()) == []
        with pytest.raises(DataError, match=r"model.bin: changed"):
            open_store(uri).activate(release_id)
        with pytest.raises(DataError, match=r"model.bin: changed"):
            load_detector(pinned)


def test_an_overlay_that_cannot_name_a_release_is_refused_before_the_work(published, tmp_path):
    config = published.config.replace(target="kustomize", overlay=str(tmp_path))
    with pytest.raises(ConfigError, match="name an overlay"):
        publish(published.inputs, PublishOutputs(tmp_path / "release.json"), config)


def test_a_rung_that_was_not_built_cannot_be_the_one_that_is_served(published, tmp_path):
    inputs = VerifyInputs(published.root / "model", published.built, published.dataset)
    config = VerifyConfig(served="tensorrt", num_frames=1)
    with pytest.raises(ConfigError, match="'tensorrt' is not in .* there are torch, .*openvino"):
        verify(inputs, VerifyOutputs(tmp_path / "verification"), config)
    assert not (tmp_path / "verification").exists()


def test_verify_compares_a_canary_with_the_stable_track(published, server, tmp_path, capsys):
    inputs = VerifyInputs(published.root / "model", published.built, published.dataset)
    config = VerifyConfig(
        num_frames=3, stable=server.grpc_url, canary=server.grpc_url, canary_max_slowdown=100.0
    )
    scores = verify(inputs, VerifyOutputs(tmp_path / "same"), config)
    assert scores["canary_promote"] == scores["canary_agreement"] == 1.0
    report = json.loads((tmp_path / "same" / "canary.json").read_text())
    assert report["canary"]["num_boxes"] == report["stable"]["num_boxes"] > 0
    assert "canary: promote" in capsys.readouterr().err

    config = config.replace(canary="127.0.0.1:1")
    scores = verify(inputs, VerifyOutputs(tmp_path / "gone"), config)
    assert scores["canary_promote"] == 0.0
    assert "do not promote: 3 of 3 requests failed" in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(ConfigError, match="give both or neither"):
        verify(inputs, VerifyOutputs(tmp_path / "half"), config.replace(stable=""))


def test_an_engine_for_another_gpu_is_refused_before_the_work(published, tmp_path):
    built = tmp_path / "built"
    shutil.copytree(published.built, built)
    engine = built / "tensorrt" / "sm70-10.0.0.6" / "model.plan"
    engine.parent.mkdir(parents=True)
    engine.write_bytes(b"of no meaning here")
    key = {
        "onnx_sha256": digest_file(built / "model.onnx"),
        "architecture": "sm70",
        "tensorrt": "10.0.0.6",
        "precision": "f16",
        "shapes": {"point_features": [[1, 9], [10, 9], [20, 9]]},
    }
    engine.with_name("key.json").write_text(json.dumps(key))
    before = published.store.current()
    inputs = replace(published.inputs, built=built)
    config = published.config.replace(runtime="tensorrt")
    with pytest.raises(DataError, match="the release has engines for sm70, TensorRT 10.0.0.6"):
        publish(inputs, PublishOutputs(tmp_path / "release.json"), config)
    assert published.store.current() == before
    with pytest.raises(ConfigError, match="precision 'bf16' is not for tensorrt"):
        publish(inputs, PublishOutputs(tmp_path / "release.json"), config.replace(precision="bf16"))
