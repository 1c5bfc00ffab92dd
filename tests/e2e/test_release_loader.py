"""The loader against a real S3 server: what it brings, and everything it refuses."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from s3_server import serve_s3

from admlops.errors import DataError, ServiceError
from admlops.serving.engine_key import ServingNode
from admlops.serving.loader import load_release
from admlops.serving.object_store import ObjectFolder
from admlops.serving.release_reference import ReleaseReference
from admlops.serving.upload import upload_release

pytestmark = pytest.mark.e2e

RELEASE = "0003-0123456789ab"
FILES = {
    "release.json": json.dumps({"release_id": RELEASE, "digest": "0123456789ab"}),
    "serving.json": "{}",
    "models/network/1/model.onnx": "weights " * 50_000,
    "models/network/config.pbtxt": 'name: "network"',
    "models/points_to_boxes/config.pbtxt": 'name: "points_to_boxes"',
    "source/admlops/__init__.py": "",
}
KEY = {
    "onnx_sha256": hashlib.sha256(FILES["models/network/1/model.onnx"].encode()).hexdigest(),
    "architecture": "sm90",
    "tensorrt": "10.1",
    "precision": "f16",
    "shapes": {"points": [[1], [2], [3]]},
}
NO_GPU = ServingNode()


def write_release(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    write_inventory(folder)
    return folder


def write_inventory(folder: Path, **more: str) -> None:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "files.json"]
    digests = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }
    (folder / "files.json").write_text(json.dumps(digests | more))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "models").mkdir()
    # the tests change files behind the server's back
    with serve_s3(folder, "--dir-cache-time", "0s") as environment:
        yield folder, environment


@pytest.fixture
def bucket(server: tuple[Path, dict[str, str]]) -> tuple[Path, dict[str, str]]:
    """Return the folder behind `s3://models/serving/releases/<id>` and the server's environment."""
    shutil.rmtree(server[0] / "models" / "serving", ignore_errors=True)
    return write_release(server[0] / "models/serving/releases" / RELEASE, FILES), server[1]


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "pod"
    folder.mkdir()
    return folder


def source(environment: dict[str, str], attempts: int = 1) -> ObjectFolder:
    uri = f"s3://models/serving/releases/{RELEASE}"
    return ObjectFolder(uri, environment, attempts=attempts, pause_s=0.01)


def load(environment: dict[str, str], into: Path, node: ServingNode = NO_GPU, digest: str = ""):
    return load_release(source(environment), ReleaseReference(RELEASE, digest), into, node)


def assert_refused(environment, into: Path, match: str, node: ServingNode = NO_GPU) -> None:
    with pytest.raises(DataError, match=match):
        load(environment, into, node)
    assert list(into.iterdir()) == []


def test_brings_a_release_whole_and_once(bucket, into):
    folder, environment = bucket
    (into / ".current.left-by-a-killed-loader").mkdir()
    loaded = load(environment, into)
    assert loaded.num_files == len(FILES)
    assert loaded.num_bytes == sum(len(text) for text in FILES.values())
    assert [path.name for path in into.iterdir()] == ["current"]
    found = {str(p.relative_to(loaded.path)): p for p in loaded.path.rglob("*") if p.is_file()}
    assert {name: path.read_text() for name, path in found.items() if name != "files.json"} == FILES
    newest = sorted(found, key=lambda name: found[name].stat().st_mtime_ns)
    assert {Path(name).name for name in newest[-2:]} == {"config.pbtxt"}
    assert load(environment, into).num_bytes == 0  # a restarted init container

    (into / "current" / "serving.json").write_text("{ }")
    assert load(environment, into).num_bytes == loaded.num_bytes  # what changed is brought anew
    assert folder.exists()


def test_a_flipped_byte_is_refused(bucket, into):
    folder, environment = bucket
    weights = folder / "models/network/1/model.onnx"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    assert_refused(environment, into, "model.onnx: changed: its SHA-256 is")


def test_a_truncated_file_is_refused(bucket, into):
    folder, environment = bucket
    os.truncate(folder / "models/network/1/model.onnx", 1000)
    assert_refused(environment, into, "model.onnx: changed")


@pytest.mark.parametrize("name", ["models/network/1/model.onnx", "models/network/config.pbtxt"])
def test_a_missing_file_is_refused(bucket, into, name):
    folder, environment = bucket
    (folder / name).unlink()
    assert_refused(environment, into, f"{name}: is missing")


def test_an_absent_release_is_refused(bucket, into):
    folder, environment = bucket
    (folder / "files.json").unlink()
    assert_refused(environment, into, r"files.json: is missing \(NoSuchKey\)")


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "models/../../escaped",
        "/etc/escaped",
        "models//escaped",
        "./escaped",
        "..\\escaped",
        "escaped\n",
        "",
    ],
)
def test_a_path_that_climbs_is_refused(bucket, into, name):
    folder, environment = bucket
    (folder / "escaped").write_text("x")
    write_inventory(folder, **{name: hashlib.sha256(b"x").hexdigest()})
    assert_refused(environment, into, "leads out of the release's folder")
    assert not (into.parent / "escaped").exists()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not JSON"),
        ("[]", "expected the checksums"),
        ("{}", "expected the checksums"),
        ('{"release.json": 1}', "has no SHA-256"),
        (json.dumps({"release.json": "0" * 64}), "it is no release"),
        (
            json.dumps(
                dict.fromkeys(["release.json", "models/m/config.pbtxt", "models"], "0" * 64)
            ),
            "models is a file and a folder at once",
        ),
    ],
)
def test_a_damaged_inventory_is_refused(bucket, into, content, match):
    folder, environment = bucket
    (folder / "files.json").write_text(content)
    assert_refused(environment, into, match)


def test_another_release_under_the_name_is_refused(bucket, into):
    folder, environment = bucket
    other = json.dumps({"release_id": "0002-ffffffffffff"})
    write_release(folder, FILES | {"release.json": other})
    assert_refused(environment, into, "the folder of 0003-0123456789ab holds 0002-ffffffffffff")


def test_the_pod_pins_the_inventory(bucket, into):
    folder, environment = bucket
    digest = hashlib.sha256((folder / "files.json").read_bytes()).hexdigest()
    assert load(environment, into, digest=digest).num_files == len(FILES)
    write_release(folder, FILES | {"serving.json": '{"tampered": 1}'})  # with a fitting files.json
    with pytest.raises(DataError, match="not the one that was published"):
        load(environment, into, digest=digest)


def test_an_engine_runs_only_where_its_key_fits(bucket, into):
    folder, environment = bucket
    engine = "models/network/1/sm90-10.1/model.plan"
    key = str(Path(engine).with_name("key.json"))
    write_release(folder, FILES | {engine: "engine", key: json.dumps(KEY)})
    for node, found in [
        (NO_GPU, "no GPU, TensorRT of an unknown version"),
        (ServingNode("sm89", "10.1"), "sm89, TensorRT 10.1"),
        (ServingNode("sm90", "10.2"), "sm90, TensorRT 10.2"),
    ]:
        assert_refused(environment, into, f"engines for sm90, TensorRT 10.1; .* {found}", node)
    fitting = ServingNode("sm90", "10.1")
    assert load(environment, into, fitting).num_engines == 1
    (into / "current").rename(into.parent / "loaded")

    write_release(folder, {key: json.dumps(KEY | {"onnx_sha256": "0" * 64})})
    assert_refused(environment, into, "built from another ONNX file", fitting)
    write_release(folder, {key: json.dumps(KEY | {"architecture": "h100"})})
    assert_refused(environment, into, "is no engine key", fitting)
    (folder / key).unlink()
    write_inventory(folder)
    assert_refused(environment, into, "an engine without key.json", fitting)


def test_a_mixed_pool_needs_one_fitting_engine(bucket, into):
    folder, environment = bucket
    engines = {}
    for architecture in ("sm89", "sm90"):
        place = f"models/network/1/{architecture}"
        engines[f"{place}/model.plan"] = architecture
        engines[f"{place}/key.json"] = json.dumps(KEY | {"architecture": architecture})
    write_release(folder, FILES | engines)
    assert load(environment, into, ServingNode("sm89", "10.1")).num_engines == 2


@contextmanager
def breaking_proxy(environment: dict[str, str], after_bytes: int, times: int) -> Iterator[str]:
    """Yield the address of a proxy that cuts the first `times` answers after some bytes."""
    host, port = environment["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
    listener = socket.create_server(("127.0.0.1", 0))
    left = [times]

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as upstream:
            request = client.recv(65536)
            if not request:
                return
            head, _, _ = request.partition(b"\r\n\r\n")
            upstream.sendall(head + b"\r\nConnection: close\r\n\r\n")
            sent = 0
            while block := upstream.recv(65536):
                cut = sent + len(block) > after_bytes and left[0] > 0
                client.sendall(block[: after_bytes - sent] if cut else block)
                sent += len(block)
                if cut:
                    left[0] -= 1
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_an_interrupted_download_is_refused_and_a_passing_one_mended(bucket, into):
    _, environment = bucket
    reference = ReleaseReference(RELEASE)
    with breaking_proxy(environment, after_bytes=100_000, times=10**6) as endpoint:
        broken = environment | {"AWS_ENDPOINT_URL": endpoint}
        with pytest.raises(
            ServiceError, match=r"model.onnx failed after 3 attempt\(s\): .*ncomplete"
        ):
            load_release(source(broken, attempts=3), reference, into, NO_GPU)
    assert list(into.iterdir()) == []
    with breaking_proxy(environment, after_bytes=100_000, times=2) as endpoint:
        shaky = environment | {"AWS_ENDPOINT_URL": endpoint}
        loaded = load_release(source(shaky, attempts=4), reference, into, NO_GPU)
    assert loaded.num_bytes == sum(len(text) for text in FILES.values())


def test_a_store_that_refuses_or_is_not_there(bucket, into):
    _, environment = bucket
    wrong = environment | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    with pytest.raises(ServiceError, match="failed after 1 attempt.*SignatureDoesNotMatch"):
        load_release(source(wrong, attempts=3), ReleaseReference(RELEASE), into, NO_GPU)
    absent = environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    with pytest.raises(ServiceError, match=r"http://127.0.0.1:1.* failed after 2 attempt"):
        load_release(source(absent, attempts=2), ReleaseReference(RELEASE), into, NO_GPU)
    assert list(into.iterdir()) == []


def test_a_full_volume_is_refused(bucket, into):
    _, environment = bucket
    (into / "file").write_text("a folder was meant")
    with pytest.raises(ServiceError, match="writing the release failed"):
        load(environment, into / "file")


def test_runs_as_the_init_container_does(bucket, into, tmp_path):
    """A process without admlops' other packages in sight, with the pod's environment."""
    _, environment = bucket
    stages = tmp_path / "opt-stages"
    (stages / "numpy").mkdir(parents=True)
    (stages / "numpy" / "__init__.py").write_text("")
    pod = environment | {
        "ADMLOPS_RELEASE": RELEASE,
        "ADMLOPS_RELEASES_URI": "s3://models/serving",
        "ADMLOPS_TENSORRT_VERSION": "10.1",
    }
    command = [sys.executable, "-m", "admlops.serving.loader", "--into", str(into)]
    command += ["--stages", str(stages)]

    def run(**changes: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, env=pod | changes, capture_output=True, text=True, check=False, timeout=60
        )

    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert f"loader: {RELEASE}: 6 files verified" in done.stdout
    assert sorted(path.name for path in into.iterdir()) == ["current", "stages"]
    assert (into / "stages/numpy/__init__.py").exists()
    assert run().returncode == 0
    for changes, reason in [
        ({"ADMLOPS_RELEASE": "unset"}, "release: none is set"),
        ({"ADMLOPS_RELEASE": "../../etc"}, "expected an id like"),
        ({"ADMLOPS_RELEASE": "0009-0123456789ab"}, "files.json: is missing"),
        ({"ADMLOPS_RELEASES_URI": "/models"}, "expected s3://bucket/folder"),
        ({"AWS_SECRET_ACCESS_KEY": ""}, "no credentials"),
        ({"AWS_ENDPOINT_URL": "s3.example.com"}, "expected http"),
    ]:
        refused = run(**changes)
        assert refused.returncode == 1
        assert refused.stderr.startswith("loader: refused: ")
        assert refused.stderr.count("\n") == 1
        assert reason in refused.stderr


def test_imports_neither_numpy_nor_torch():
    code = "import sys, admlops.serving.loader; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"numpy", "numba", "torch", "pyarrow", "lance", "openvino", "kfp"}
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


@pytest.fixture
def empty_bucket(tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "s3" / "models").mkdir(parents=True)
    with serve_s3(tmp_path / "s3") as environment:
        yield environment


def test_upload_and_load_are_inverse(empty_bucket, into, tmp_path):
    environment = empty_bucket
    name = "0004-0123456789ab"
    record = json.dumps({"release_id": name})
    release = write_release(tmp_path / name, FILES | {"release.json": record})
    place = ObjectFolder(f"s3://models/serving/releases/{name}", environment, pause_s=0.01)
    reference = upload_release(release, place)
    assert upload_release(release, place) == reference  # nothing to do
    loaded = load_release(place, ReleaseReference.parse(str(reference)), into, NO_GPU)
    assert loaded.num_files == len(FILES)

    write_release(release, {"serving.json": '{"other": 1}'})
    with pytest.raises(DataError, match="holds another release of this name"):
        upload_release(release, place)
    (release / "serving.json").write_text("damaged")
    with pytest.raises(DataError, match="the release is damaged: serving.json changed"):
        upload_release(release, place)
