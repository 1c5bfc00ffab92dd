"""`admlops collect` with the catalogue, from the command line to a dataset in the lake."""

import io
import json
import os
import sys
import zipfile

import pytest
from misbehaving_server import Served, cut, status

from admlops.cli import main
from admlops.errors import ConfigError, DataError, ServiceError
from admlops.files import digest_folder
from admlops.steps.collect import CollectConfig, FolderOrigin
from admlops.steps.open_data import digest_fetched
from admlops.steps.step import run_step
from admlops.structures.manifest import Manifest

FILES = {
    "data_tracking_label_2.zip": "training/label_02/0000.txt",
    "data_tracking_calib.zip": "training/calib/0000.txt",
    "data_tracking_oxts.zip": "training/oxts/0000.txt",
    "data_tracking_image_2.zip": "training/image_02/0000/000000.png",
    "data_tracking_velodyne.zip": "training/velodyne/0000/000000.bin",
}


@pytest.fixture
def mirror(served: Served) -> str:
    for name, path in FILES.items():
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(zipfile.ZipInfo(path), name.encode() * 1000)
        served.put(f"/mirror/{name}", buffer.getvalue())
    return f"{served.url}/mirror"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["admlops", "collect", *(str(item) for item in arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_list_by_task_and_permission(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "list", "--task", "lidar-3d-detection", "--commercial", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["pandaset"]
    assert rows[0]["permissions"]["commercial"] is True
    assert run(monkeypatch, "list") == 0
    table = capsys.readouterr().out
    assert table.startswith("15 open datasets")
    assert all(name in table for name in ("argoverse2-sensor", "nuscenes-mini", "not known"))
    assert run(monkeypatch, "list", "--task", "cooking") == 1
    assert "there are lidar-3d-detection, camera-3d" in capsys.readouterr().err


def test_show_says_terms_and_reasons(monkeypatch, capsys) -> None:
    assert run(monkeypatch, "show", "coco", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["mix"]["commercial"] is None
    assert facts["licences"][1]["unknown"]["commercial"] == "It differs from image to image."
    assert run(monkeypatch, "show", "kitti-object") == 0
    assert "CC-BY-NC-SA-3.0" in capsys.readouterr().out


def test_fetch_asks_for_the_terms_first(monkeypatch, capsys, served, mirror, tmp_path) -> None:
    destination = tmp_path / "data"
    arguments = ("fetch", "kitti-tracking", "--destination", destination, "--mirror", mirror)
    assert run(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert "CC" not in error.splitlines()[0]
    assert "ShareAlike 3.0" in error
    assert "--accept-licence" in error
    assert served.asked == []
    assert not destination.exists()


def test_fetch_and_fetch_again(monkeypatch, capsys, served, mirror, tmp_path) -> None:
    destination = tmp_path / "data"
    served.script += [cut(500), status(500, Retry_After="0")]
    arguments = ("fetch", "kitti-tracking", "--destination", destination, "--mirror", mirror)
    assert run(monkeypatch, *arguments, "--accept-licence", "--accepted-by", "A. Person") == 0
    printed = capsys.readouterr()
    assert "num_fetched: 5" in printed.out
    assert "the connection broke" in printed.err
    assert "the server answered 500; again in 1 s" in printed.err
    manifest = Manifest.read(destination / ".admlops" / "source.json", "source")
    assert manifest.licences == ("CC-BY-NC-SA-3.0",)
    assert manifest.digest == digest_folder(destination)
    assert manifest.provenance["dataset"] == "kitti-tracking"
    assert manifest.provenance["format"] == "kitti_tracking"
    assert len(manifest.provenance["terms_digest.CC-BY-NC-SA-3.0"]) == 64
    assert (destination / "training/calib/0000.txt").read_bytes().startswith(b"data_tracking_calib")
    num_asked = len(served.asked)

    assert run(monkeypatch, *arguments) == 0
    assert "num_fetched: 0" in capsys.readouterr().out
    assert len(served.asked) == num_asked
    assert Manifest.read(destination / ".admlops" / "source.json", "source") == manifest


def test_fetched_and_registered_data_are_the_same(monkeypatch, capsys, mirror, tmp_path) -> None:
    fetched = tmp_path / "data"
    arguments = ("--destination", fetched, "--mirror", mirror, "--accept-licence")
    assert run(monkeypatch, "fetch", "kitti-tracking", *arguments) == 0
    source = tmp_path / "source.json"
    arguments = ("register", fetched, "--dataset", "kitti-tracking", "--source", source)
    assert run(monkeypatch, *arguments) == 0
    capsys.readouterr()
    registered = Manifest.read(source, "source")
    original = Manifest.read(fetched / ".admlops" / "source.json", "source")
    assert registered.provenance["origin"] == "folder"
    assert (registered.digest, registered.licences) == (original.digest, original.licences)


def test_a_part_is_enough(monkeypatch, capsys, served, mirror, tmp_path) -> None:
    arguments = ("--destination", tmp_path, "--mirror", mirror, "--accept-licence")
    assert run(monkeypatch, "fetch", "kitti-tracking", *arguments, "--part", "labels") == 0
    assert "num_files: 1" in capsys.readouterr().out
    assert [asked[":path"] for asked in served.asked] == ["/mirror/data_tracking_label_2.zip"]


def test_files_of_another_size_are_refused(monkeypatch, capsys, served, tmp_path) -> None:
    served.put("/data_object_label_2.zip", b"PK")
    arguments = ("--destination", tmp_path, "--mirror", served.url, "--accept-licence")
    assert run(monkeypatch, "fetch", "kitti-object", *arguments, "--part", "labels") == 1
    assert "offers 2 bytes, 5601213 are expected" in capsys.readouterr().err


def test_a_dataset_that_must_be_downloaded_by_hand(monkeypatch, capsys, tmp_path) -> None:
    assert run(monkeypatch, "fetch", "waymo", "--destination", tmp_path, "--accept-licence") == 1
    assert "collect register DIR --dataset waymo" in capsys.readouterr().err


def test_register_real_frames(monkeypatch, capsys, real_data, tmp_path) -> None:
    source = tmp_path / "source.json"
    arguments = ("register", real_data / "kitti_object", "--dataset", "kitti-object")
    assert run(monkeypatch, *arguments, "--source", source) == 0
    manifest = Manifest.read(source, "source")
    assert manifest.licences == ("CC-BY-NC-SA-3.0",)
    assert manifest.provenance["format"] == "kitti_object"
    arguments = ("register", real_data / "kitti_object", "--dataset", "kitti-tracking")
    assert run(monkeypatch, *arguments, "--source", source) == 1
    assert "training/label_02/*.txt (labels)" in capsys.readouterr().err


def fetch_config(mirror: str, **changes: object) -> dict[str, object]:
    retry = {"max_tries": 2, "first_wait_s": 0.0}
    origin = {"kind": "catalogue", "dataset": "kitti-tracking", "mirror": mirror, "retry": retry}
    return {"origin": origin | {"accept_licence": True} | changes}


def test_in_a_pod_the_output_is_the_folder(mirror, tmp_path, monkeypatch, served) -> None:
    monkeypatch.setenv("PUBLISHER_TOKEN", "from-a-secret")
    config = fetch_config(mirror, token_variable="PUBLISHER_TOKEN")  # noqa: S106 - a name
    output = tmp_path / "source"
    scores = run_step("collect", {}, {"source": str(output)}, config)
    assert scores["num_fetched"] == scores["num_unverified"] == 5
    manifest = Manifest.read(output / "manifest.json", "source")
    assert manifest.uri == str(output)
    assert {asked["Authorization"] for asked in served.asked} == {"Bearer from-a-secret"}
    assert "from-a-secret" not in "".join(p.read_text() for p in output.rglob("*.json"))
    run_step("collect", {}, {"source": str(output)}, config)
    assert Manifest.read(output / "manifest.json", "source").digest == manifest.digest


def test_errors_of_the_step(mirror, served, tmp_path) -> None:
    outputs = {"source": str(tmp_path / "source")}
    with pytest.raises(ConfigError, match="accepted first"):
        run_step("collect", {}, outputs, fetch_config(mirror, accept_licence=False))
    with pytest.raises(ConfigError, match="no dataset of the catalogue is called 'kity'"):
        run_step("collect", {}, outputs, fetch_config(mirror, dataset="kity"))
    with pytest.raises(ServiceError, match="answered 404"):
        run_step("collect", {}, outputs, fetch_config(mirror + "/absent"))
    served.files["/mirror/data_tracking_velodyne.zip"] = served.files[
        "/mirror/data_tracking_calib.zip"
    ]
    with pytest.raises(DataError, match=r"(?s)velodyne/\*/\*.bin \(lidar clouds\).*remove /"):
        run_step("collect", {}, outputs, fetch_config(mirror))


def test_the_step_runs_without_subcommand_as_before(monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("1")
    source = tmp_path / "source.json"
    settings = ("--set", "origin.kind=folder", "--set", f"origin.path={tmp_path / 'data'}")
    assert run(monkeypatch, "--source", source, *settings) == 0
    assert "num_simulated: 0" in capsys.readouterr().out
    assert Manifest.read(source, "source").uri == str(tmp_path / "data")


def test_a_fetched_folder_is_read_again_only_where_it_changed(tmp_path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"1")
    os.utime(file, ns=(1, 1))
    digest = digest_fetched(tmp_path)
    assert digest == digest_folder(tmp_path)
    file.write_bytes(b"2")
    os.utime(file, ns=(1, 1))
    assert digest_fetched(tmp_path) == digest  # nothing that is looked at tells
    os.utime(file, ns=(2, 2))
    assert digest_fetched(tmp_path) == digest_folder(tmp_path) != digest
    (tmp_path / ".admlops" / "digest.json").write_text("[")
    assert digest_fetched(tmp_path) == digest_folder(tmp_path)


def test_the_fingerprint_of_a_folder_ignores_notes(tmp_path) -> None:
    (tmp_path / "a.txt").write_text("1")
    before = FolderOrigin.fingerprinted(tmp_path)
    (tmp_path / ".admlops").mkdir()
    (tmp_path / ".admlops" / "lock").touch()
    assert FolderOrigin.fingerprinted(tmp_path) == before


def test_a_config_with_the_catalogue_survives_json() -> None:
    config = CollectConfig.parse(fetch_config("http://mirror"))
    written = config.model_dump(mode="json", exclude_none=True)
    assert CollectConfig.parse(written) == config
