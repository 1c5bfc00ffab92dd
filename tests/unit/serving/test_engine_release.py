"""A release with a TensorRT engine, as far as it goes without a GPU: the engine is opaque bytes."""

import hashlib
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from admlops.detection.config import CENTER_REGRESSION, HEATMAP_LOGITS, detector_config_json
from admlops.detection.engine import load_engine
from admlops.detection.engine_file import find_engine
from admlops.detection.predictor import Predictor
from admlops.detection.presets import small_detector
from admlops.errors import ConfigError, DataError, GateError, ServiceError
from admlops.serving.engine_key import ServingNode, key_files, require_engine_for
from admlops.serving.engine_proof import largest_cloud, make_prover, read_engine
from admlops.serving.golden import Golden
from admlops.serving.inventory import Inventory
from admlops.serving.publication import Papers, Publication, publish_release
from admlops.serving.release import ReleaseContent
from admlops.serving.stages import ServingSettings
from admlops.serving.store import ReleaseStore
from admlops.structures.boxes import Boxes

DETECTOR = small_detector()
ROWS, COLUMNS = DETECTOR.output_shape
SHAPES = {
    HEATMAP_LOGITS: (1, 3, ROWS, COLUMNS),
    CENTER_REGRESSION: (1, 8, ROWS, COLUMNS),
}
IDENTITY = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
NODE = ServingNode("sm90", "10.13.2.6")
ENGINE = "tensorrt/sm90-10.13.2.6/model.plan"


def network(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Answer with one peak where the mean of the points is, so that answers follow the input."""
    heatmap = np.full(SHAPES[HEATMAP_LOGITS], -9.0, np.float32)
    column = int(np.clip(abs(inputs["point_features"][:, 0].mean()), 2, COLUMNS - 3))
    heatmap[0, 0, ROWS // 2, column] = 3.0
    return {HEATMAP_LOGITS: heatmap, CENTER_REGRESSION: np.zeros(SHAPES[CENTER_REGRESSION], "f4")}


def other_network(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    outputs = network(inputs)
    return outputs | {CENTER_REGRESSION: outputs[CENTER_REGRESSION] + np.float32(0.5)}


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Return a built folder; nothing in it but the keys and the detector means anything."""
    folder = tmp_path / "built"
    (folder / ENGINE).parent.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"network")
    (folder / ENGINE).write_bytes(b"engine")
    (folder / "detector.json").write_text(detector_config_json(DETECTOR))
    write_key(folder)
    return folder


def write_key(folder: Path, **changes: object) -> None:
    key = {
        "onnx_sha256": hashlib.sha256(b"network").hexdigest(),
        "architecture": "sm90",
        "tensorrt": "10.13.2.6",
        "precision": "f16",
        "shapes": {"point_features": [[1, 9], [60_000, 9], [200_000, 9]]},
    }
    (folder / ENGINE).with_name("key.json").write_text(json.dumps(key | changes))


def content(built: Path) -> ReleaseContent:
    settings = ServingSettings(
        ego_from_lidar=IDENTITY, runtime="tensorrt", max_points=200_000, output_shapes=SHAPES
    )
    cloud = np.array([[20.0, 1.0, 0.5, 0.3], [22.0, 1.5, 0.6, 0.2]], np.float32)
    found = Predictor(DETECTOR, network)(cloud)
    assert len(found) == 1
    empty = Golden("empty", np.empty((0, 4), np.float32), Boxes.empty())
    return ReleaseContent(built, settings, [Golden("one", cloud, found), empty])


def publish(store: ReleaseStore, built: Path, node: ServingNode = NODE, run=network) -> Publication:
    return publish_release(store, content(built), Papers(), prove=make_prover(node, lambda _: run))


def read_config(release: Path, model: str) -> model_config_pb2.ModelConfig:
    text = (release / "models" / model / "config.pbtxt").read_text()
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_a_release_holds_engine_key_and_onnx_file(built: Path, tmp_path: Path) -> None:
    store = ReleaseStore(str(tmp_path / "serving"))
    publication = publish(store, built)
    assert publication.largest_difference == pytest.approx(0, abs=1e-6)
    assert store.current_path() == publication.path
    network_folder = publication.path / "models" / "network" / "1"
    assert {path.name: path.read_bytes()[:7] for path in network_folder.iterdir()} == {
        "sm90.plan": b"engine",
        "key.json": b'{"onnx_',
        "model.onnx": b"network",
    }
    record = publication.record
    assert record.runtime == "tensorrt f16"
    assert record.engine == read_engine(built)


def test_tritons_configuration_names_the_engine_by_compute_capability(
    built: Path, tmp_path: Path
) -> None:
    release = publish(ReleaseStore(str(tmp_path / "serving")), built).path
    config = read_config(release, "network")
    assert (config.platform, config.backend, config.max_batch_size) == ("tensorrt_plan", "", 0)
    assert dict(config.cc_model_filenames) == {"9.0": "sm90.plan"}
    assert not (release / "models" / "network" / "1" / "model.plan").exists()
    (group,) = config.instance_group
    assert (group.kind, group.count) == (model_config_pb2.ModelInstanceGroup.KIND_GPU, 1)
    assert [list(item.dims) for item in config.input] == [[-1, 9], [-1], [-1]]
    assert [list(item.dims) for item in config.output] == [list(shape) for shape in SHAPES.values()]
    for stage in ("voxelize", "decode"):
        assert read_config(release, stage).backend == "python"
        assert (release / "models" / stage / "1" / "model.py").is_file()


@pytest.mark.parametrize(
    ("architecture", "capability"), [("sm75", "7.5"), ("sm90", "9.0"), ("sm120", "12.0")]
)
def test_an_architecture_is_written_as_triton_looks_it_up(
    built: Path, tmp_path: Path, architecture: str, capability: str
) -> None:
    write_key(built, architecture=architecture)
    node = ServingNode(architecture, "10.13.2.6")
    release = publish(ReleaseStore(str(tmp_path / "serving")), built, node).path
    names = dict(read_config(release, "network").cc_model_filenames)
    assert names == {capability: f"{architecture}.plan"}


def test_what_was_published_is_what_the_loader_lets_in(built: Path, tmp_path: Path) -> None:
    release = publish(ReleaseStore(str(tmp_path / "serving")), built).path
    inventory = Inventory.parse((release / "files.json").read_bytes(), "r")
    assert key_files(inventory) == ["models/network/1/key.json"]
    require_engine_for(NODE, [read_engine(built)], inventory)
    with pytest.raises(DataError, match="this node has sm80, TensorRT 10.13.2.6"):
        require_engine_for(ServingNode("sm80", "10.13.2.6"), [read_engine(built)], inventory)


@pytest.mark.parametrize(
    "node",
    [ServingNode(), ServingNode("sm80", "10.13.2.6"), ServingNode("sm90", "10.15.1.29")],
    ids=["no GPU", "another GPU", "another TensorRT"],
)
def test_an_engine_of_another_node_is_not_published(
    built: Path, tmp_path: Path, node: ServingNode
) -> None:
    store = ReleaseStore(str(tmp_path / "serving"))
    with pytest.raises(DataError, match="engine key: the release has engines for sm90, TensorRT"):
        publish(store, built, node)
    assert store.current() is None
    assert store.ids() == []


def test_an_engine_that_answers_otherwise_is_not_published(built: Path, tmp_path: Path) -> None:
    store = ReleaseStore(str(tmp_path / "serving"))
    with pytest.raises(GateError, match="golden request 'one': the answer differs by 0"):
        publish(store, built, run=other_network)
    assert store.ids() == []
    assert list(store.folder.iterdir()) == []


def test_a_key_that_does_not_fit_its_folder_is_refused(built: Path) -> None:
    write_key(built, onnx_sha256="0" * 64)
    with pytest.raises(DataError, match=r"built from another ONNX file than .*model.onnx"):
        read_engine(built)
    write_key(built, architecture="hopper")
    with pytest.raises(DataError, match="is no engine key"):
        read_engine(built)
    (built / ENGINE).with_name("key.json").unlink()
    with pytest.raises(DataError, match="an engine without key.json"):
        read_engine(built)


def test_one_engine_is_published_not_none_and_not_two(built: Path) -> None:
    second = built / "tensorrt" / "sm80-10.13.2.6" / "model.plan"
    second.parent.mkdir()
    second.write_bytes(b"engine")
    with pytest.raises(DataError, match="several TensorRT engines"):
        find_engine(built)
    second.unlink()
    (built / ENGINE).unlink()
    with pytest.raises(DataError, match="no TensorRT engine; build it"):
        find_engine(built)


def test_the_largest_cloud_is_the_engines(built: Path) -> None:
    assert largest_cloud(read_engine(built)) == 200_000
    write_key(built, shapes={})
    with pytest.raises(DataError, match="shapes of point_features are missing"):
        largest_cloud(read_engine(built))


@pytest.mark.skipif(find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_running_an_engine_without_tensorrt_says_what_is_missing(built: Path) -> None:
    with pytest.raises(ServiceError, match="needs the Python packages tensorrt, polygraphy"):
        load_engine(built / ENGINE)


def test_an_engine_has_its_own_precision(built: Path) -> None:
    from admlops.detection.backends import load_network

    with pytest.raises(ConfigError, match="precision 'bf16' is not for tensorrt"):
        load_network(built, "tensorrt", "bf16")
