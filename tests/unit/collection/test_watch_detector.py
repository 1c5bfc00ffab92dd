"""Triggers on what a published detector sees, from the release to the frames in the lake."""

import json
import shutil
import signal
import sys

import numpy as np
import pytest
from hand_drives import START_NS, S, write_drive
from hand_release import DETECTOR, SCORE, publish_bright_detector

from admlops.cli import main
from admlops.collection.detector import load_detector
from admlops.collection.watch import Watch, WatchConfig
from admlops.errors import ConfigError, DataError, ServiceError
from admlops.files import digest_file
from admlops.lake.store import Dataset
from admlops.serving.in_process import load_release_predictor
from admlops.structures.manifest import Manifest

NEAR = {"name": "near", "when": {"category": "pedestrian", "within_m": 5}}
TRIGGERS = {"triggers": [NEAR], "before_s": 0.5, "after_s": 0.5}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return publish_bright_detector(tmp_path_factory.mktemp("published"))


@pytest.fixture(autouse=True)
def signals_as_before():
    """Put back what ends this process: the command sets its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def settings(tmp_path, detector, triggers=TRIGGERS, **others):
    (tmp_path / "incoming").mkdir(exist_ok=True)
    values = {"lake_uri": str(tmp_path / "lake"), "triggers": triggers, "detector": detector}
    return {**values, "screening": None, "dataset_file": str(tmp_path / "dataset.json"), **others}


def make_watch(tmp_path, detector, triggers=TRIGGERS, **others):
    config = WatchConfig.parse(settings(tmp_path, detector, triggers, **others))
    return Watch(tmp_path / "incoming", config)


def in_process(store):
    return {"kind": "release", "releases_uri": str(store.root)}


def walk(folder):
    """Record 6 s with a pedestrian 20 m ahead at 1 s, and 4.0 m ahead from 3.0 to 3.2 s."""
    bright = {10: (20.0, 0.3)} | dict.fromkeys((30, 31, 32), (4.3, 0.3))
    return write_drive(folder / "walk.mcap", [5.0] * 60, bright=bright)


def test_frames_around_a_near_pedestrian_are_ingested(store, tmp_path, monkeypatch, capsys):
    """By hand: near at 3.0 to 3.2 s, known until the sweep at 3.3 s; half a second around."""
    config = settings(tmp_path, in_process(store))
    walk(tmp_path / "incoming")
    (tmp_path / "watch.yaml").write_text(json.dumps(config))
    arguments = [str(tmp_path / "incoming"), "--config", str(tmp_path / "watch.yaml"), "--once"]
    monkeypatch.setattr(sys, "argv", ["admlops", "collect", "watch", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "walk.mcap: 13 of " in capsys.readouterr().out
    frames = list(Dataset.open(str(tmp_path / "lake")).take(range(13)))
    times_s = [(frame.key.timestamp_ns - START_NS) / S for frame in frames]
    assert times_s == pytest.approx([2.5 + 0.1 * i for i in range(13)])
    assert {frame.tags for frame in frames} == {("trigger:near",)}
    release = f"release {store.current().release_id} in this process"
    (entry,) = (tmp_path / "incoming" / ".admlops" / "watch").glob("*.json")
    assert json.loads(entry.read_text())["detector"] == release
    assert Manifest.read(tmp_path / "dataset.json", "dataset").provenance["detector"] == release


def test_what_the_dataset_lacks_is_asked_of_the_detector(store, tmp_path):
    row = {"categories": ["pedestrian"], "range_edges_m": [10, 30], "conditions": ["night"]}
    rare = {"name": "rare", "when": {"below_requirement": True}}
    watch = make_watch(
        tmp_path,
        in_process(store),
        {"triggers": [rare], "before_s": 0, "after_s": 0},
        requirement={"rows": [row]},
    )
    walk(watch.root)
    mapping = {"conditions": {"walk": ["night"]}}
    (watch.root / "admlops_recording.yaml").write_text(json.dumps(mapping))
    watch.run(once=True, report=lambda _: None)
    (key,) = Dataset.open(str(tmp_path / "lake")).keys()
    assert key.timestamp_ns == START_NS + S  # 20 m ahead; at 3 s nearer than what is wanted


def test_a_sweep_that_cannot_be_unpacked_is_told_and_fires_nothing(store, tmp_path):
    watch = make_watch(tmp_path, in_process(store))
    far = dict.fromkeys((30, 31), (2e6, 0.0))  # beyond what any lidar reaches
    write_drive(watch.root / "far.mcap", [5.0] * 60, bright=far)
    lines = []
    watch.run(once=True, report=lines.append)
    assert "0 of " in lines[0]
    assert "TRIG003 2" in lines[0]


def test_a_release_is_current_named_or_pinned(store):
    release_id = store.current().release_id
    digest = digest_file(store.path(release_id) / "files.json")
    for name in ("", release_id, f"{release_id}@sha256:{digest}"):
        detector = load_detector(parse({**in_process(store), "release": name}))
        assert detector.categories == DETECTOR.categories
        found = detector.detect(np.array([[12.2, 8.2, 0.5, 1.0]], np.float32))
        np.testing.assert_allclose(found.as_7()[0, :3], [12.0, 8.0, 0.0], atol=1e-5)
        assert found.score[0] == pytest.approx(SCORE, abs=1e-6)


def parse(values):
    return WatchConfig.parse({"detector": values}).detector


@pytest.mark.parametrize(
    ("release", "error", "reason"),
    [
        ("newest", ConfigError, "expected an id like"),
        ("0009-0123456789ab", DataError, "releases are 0001-"),
        ("pinned", DataError, "is not the one that"),
    ],
)
def test_another_release_is_an_error(store, release, error, reason):
    if release == "pinned":
        release = f"{store.current().release_id}@sha256:{'0' * 64}"
    with pytest.raises(error, match=reason):
        load_detector(parse({**in_process(store), "release": release}))


def test_a_damaged_release_and_an_empty_store_are_errors(store, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(store.root, copy)
    model = next(copy.glob("releases/*/models/network/1/model.onnx"))
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"damaged: models/network/1/model\.onnx changed"):
        load_detector(parse({"kind": "release", "releases_uri": str(copy)}))
    with pytest.raises(DataError, match="nothing was published yet"):
        load_detector(parse({"kind": "release", "releases_uri": str(tmp_path / "none")}))


def test_an_engine_runs_from_its_onnx_file(store, tmp_path):
    release = tmp_path / "release"
    shutil.copytree(store.current_path(), release)
    values = json.loads((release / "serving.json").read_text())
    (release / "serving.json").write_text(json.dumps(values | {"runtime": "tensorrt"}))
    found = load_release_predictor(release)(np.array([[12.2, 8.2, 0.5, 1.0]], np.float32))
    assert found.category.tolist() == ["pedestrian"]


def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch, capsys):
    with pytest.raises(ServiceError, match=r"Triton at 127\.0\.0\.1:9: no release"):
        make_watch(tmp_path, {"kind": "server", "url": "127.0.0.1:9"})
    path = tmp_path / "watch.yaml"
    path.write_text(json.dumps(settings(tmp_path, {"kind": "server", "url": "127.0.0.1:9"})))
    arguments = ["collect", "watch", str(tmp_path / "incoming"), "--config", str(path), "--once"]
    monkeypatch.setattr(sys, "argv", ["admlops", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code != 0
    assert "Triton at 127.0.0.1:9" in capsys.readouterr().err


def test_a_category_that_the_detector_never_finds_is_an_error(store, tmp_path):
    bicycle = {"any_of": [{"category": "any"}, {"category": "bicycle"}]}
    with pytest.raises(ConfigError, match=r"triggers ask for bicycle, .* finds car, pedestrian"):
        make_watch(tmp_path, in_process(store), {"triggers": [{"name": "n", "when": bicycle}]})


def test_two_detectors_or_one_that_nobody_asks_are_errors(store, tmp_path):
    config = WatchConfig.parse(settings(tmp_path, in_process(store)))
    with pytest.raises(ConfigError, match="give one of them"):
        Watch(tmp_path / "incoming", config, detect=lambda _: None)
    night = {"triggers": [{"name": "n", "when": {"tag": "night"}}]}
    with pytest.raises(ConfigError, match="no trigger asks what it sees"):
        make_watch(tmp_path, in_process(store), night)
    with pytest.raises(ConfigError, match="give `detector`"):
        make_watch(tmp_path, None)
