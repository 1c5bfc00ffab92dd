import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from street import PACKAGE_ID, package_key, street_frame, true_boxes

from admlops.annotation.definition import load_definition
from admlops.annotation.delivery import read_delivery
from admlops.annotation.gold import (
    PackageKey,
    choose_gold,
    disguise,
    number_of_gold_frames,
    pack_frames,
    prelabels_of,
)
from admlops.annotation.package import (
    PackageContents,
    PackageManifest,
    damaged_files,
    pack_zip,
    write_package,
)
from admlops.annotation.package_exchange import frames_of
from admlops.errors import DataError
from admlops.files import digest_file
from admlops.formats.cvat.writer import write_cvat
from admlops.formats.kitti.writer import label_rows
from admlops.formats.label_file import BrokenLabelError
from admlops.formats.openlabel.reader import read_openlabel
from admlops.formats.openlabel.writer import write_openlabel
from admlops.formats.pcd import decode_pcd, encode_pcd
from admlops.lake.predictions import write_predictions
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

DEFINITION = load_definition("urban_lidar")
COUNT = 3


def labelled(numbers=range(COUNT), package=PACKAGE_ID):
    """Return frames as a vendor delivers them."""
    key = package_key(COUNT)
    return [
        Frame(
            key.frames[number].alias_key._replace(log=package),
            f"{number:06d}",
            np.eye(4),
            boxes=true_boxes(number),
        )
        for number in numbers
    ]


def send(folder, gold=(1,), start=None, **contents):
    key = package_key(COUNT, gold)
    frames = ((packed, street_frame(n), start) for n, packed in enumerate(key.frames))
    return write_package(folder, key, frames, PackageContents(DEFINITION, **contents))


def deliver(path, frames, name="openlabel"):
    path.mkdir(exist_ok=True)
    if name == "openlabel":
        write_openlabel(path / "labels.json", frames)
    elif name == "cvat":
        write_cvat(path / "annotations.xml", frames, PACKAGE_ID)
    elif name == "parquet":
        write_predictions(path / "b.parquet", [(frame.key, frame.boxes) for frame in frames])
    else:
        (path / "label_2").mkdir()
        for frame in frames:
            (path / "label_2" / f"{frame.frame_id}.txt").write_text(label_rows(frame.boxes))
    return read_delivery(path, package_key(COUNT), DEFINITION)


def test_a_package_holds_what_it_says(tmp_path):
    manifest = send(
        tmp_path / "package", start=true_boxes(0), guideline=lambda: "<html>Draw.</html>"
    )
    folder = tmp_path / "package"
    assert PackageManifest.read(folder) == manifest
    assert manifest.num_frames == COUNT
    assert damaged_files(folder, manifest) == []
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {*manifest.files, "manifest.json"}
    assert "guideline.html" in names
    in_ego = decode_pcd((folder / "pointclouds" / "000001.pcd").read_bytes())
    assert np.allclose(in_ego, street_frame(1).points_in_ego())
    frames = read_openlabel(folder / "openlabel.json").require_whole("package").frames
    assert [frame.frame_id for frame in frames] == ["000000", "000001", "000002"]
    assert frames[0].boxes.as_7().tolist() == true_boxes(0).as_7().tolist()
    content = json.loads((folder / "openlabel.json").read_text())["openlabel"]
    stream = content["frames"]["1"]["frame_properties"]["streams"]["lidar_top"]
    assert stream["uri"] == "pointclouds/000001.pcd"


def test_names_of_sensors_do_not_lead_out_of_the_package(tmp_path):
    sensor = CalibratedSensor("../../camera/front", "camera", np.eye(4))
    seen = replace(street_frame(0), camera=CameraImage(sensor, b"\xff\xd8", 4, 4))
    key = package_key(1)
    write_package(tmp_path / "p", key, [(key.frames[0], seen, None)], PackageContents(DEFINITION))
    (image,) = (tmp_path / "p" / "images").rglob("*.jpg")
    assert image.read_bytes() == b"\xff\xd8"
    assert {path.name for path in tmp_path.iterdir()} == {"p"}


def test_images_of_all_cameras_are_sent(tmp_path):
    front, rear = (
        CameraImage(CalibratedSensor(name, "camera", np.eye(4)), name.encode(), 40, 30)
        for name in ("front", "rear")
    )
    dataset = Dataset.create(str(tmp_path / "lake"))
    packed = package_key(1).frames[0]
    seen = replace(street_frame(0), key=packed.key, camera=front, other_cameras=(rear,))
    dataset.append([seen])
    ((_, frame),) = frames_of(dataset, [packed], camera=True)
    assert [image.encoded for image in frame.cameras] == [b"front", b"rear"]
    ((_, bare),) = frames_of(dataset, [packed])
    assert [image.encoded for image in bare.cameras] == [b"", b""]


def test_a_package_for_coco_lists_its_images(tmp_path):
    sensors = [CalibratedSensor(name, "camera", np.eye(4)) for name in ("front", "rear/left")]
    front, rear = (CameraImage(sensor, b"\x89PNG", 40, 30) for sensor in sensors)
    seen = replace(street_frame(0), camera=front, other_cameras=(rear,))
    formats = DEFINITION.acceptance.replace(formats=["coco"]).model_dump()
    definition = DEFINITION.replace(shapes=["image_box"], acceptance=formats)
    key = package_key(1)
    write_package(tmp_path, key, [(key.frames[0], seen, None)], PackageContents(definition))
    content = json.loads((tmp_path / "coco.json").read_text())
    names = [image["file_name"] for image in content["images"]]
    assert names == ["images/front/000000.png", "images/rear_left/000000.png"]
    assert all((tmp_path / name).is_file() for name in names)


def test_nothing_in_a_package_tells_what_is_gold(tmp_path):
    send(tmp_path / "some", gold=(1,))
    send(tmp_path / "none", gold=())
    for path in sorted((tmp_path / "some").rglob("*")):
        if path.is_file():
            other = tmp_path / "none" / path.relative_to(tmp_path / "some")
            assert digest_file(path) == digest_file(other)
            assert b'scene"' not in path.read_bytes() or b'"log"' in path.read_bytes()


def test_a_package_is_written_once_and_mended_where_it_is_damaged(tmp_path):
    send(tmp_path / "package")
    cloud = tmp_path / "package" / "pointclouds" / "000000.pcd"
    stamp = cloud.stat().st_mtime_ns
    send(tmp_path / "package")
    assert cloud.stat().st_mtime_ns == stamp
    whole = cloud.read_bytes()
    cloud.write_bytes(whole[:-1])
    manifest = send(tmp_path / "package")
    assert cloud.read_bytes() == whole
    assert damaged_files(tmp_path / "package", manifest) == []


def test_zip_files_of_equal_packages_are_equal(tmp_path):
    for name in ("one", "two"):
        send(tmp_path / name)
        pack_zip(tmp_path / name, tmp_path / f"{name}.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.testzip() is None
        assert "manifest.json" in archive.namelist()


def test_points_as_in_kitti(tmp_path):
    send(tmp_path / "package", cloud_format="bin")
    content = (tmp_path / "package" / "pointclouds" / "000000.bin").read_bytes()
    points = np.frombuffer(content, "<f4").reshape(-1, 4)
    assert np.allclose(points, street_frame(0).points_in_ego())


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[60:], lambda _: b""])
def test_cut_point_clouds_are_refused(damage):
    content = encode_pcd(np.ones((5, 4), np.float32))
    with pytest.raises(BrokenLabelError):
        decode_pcd(damage(content))


@pytest.mark.parametrize("name", ["openlabel", "cvat", "parquet", "kitti"])
def test_every_format_gives_the_same_boxes(tmp_path, name):
    delivery = deliver(tmp_path / "delivery", labelled(), name)
    assert delivery.format == name
    assert delivery.defects == ()
    for number in range(COUNT):
        boxes = delivery.boxes[f"{number:06d}"]
        assert np.allclose(boxes.as_7(), true_boxes(number).as_7(), atol=2e-6)
        assert boxes.category.tolist() == true_boxes(number).category.tolist()


def test_names_of_other_datasets_are_ours(tmp_path):
    frames = [
        replace(frame, boxes=frame.boxes.replace(category=np.array(["Car"] * 4, object)))
        for frame in labelled()
    ]
    delivery = deliver(tmp_path / "delivery", frames)
    assert set(delivery.boxes["000000"].category) == {"car"}


def only(delivery):
    (defect,) = delivery.defects
    return defect.rule_id, defect.what


def test_missing_frames_are_named(tmp_path):
    rule, what = only(deliver(tmp_path / "delivery", labelled([1])))
    assert (rule, what) == ("ANNO021", "2 of 3 frames are missing: 000000, 000002")
    unlabelled = [replace(labelled()[0], boxes=None), *labelled([1, 2])]
    assert only(deliver(tmp_path / "other", unlabelled)) == (
        "ANNO021",
        "1 of 3 frames are missing: 000000",
    )


def test_a_delivery_for_another_package_is_told(tmp_path):
    delivery = deliver(tmp_path / "delivery", labelled(package="package-ffff"))
    assert delivery.boxes == {}
    rule, what = only(delivery)
    assert rule == "ANNO022"
    assert "3 frames are not in" in what


def test_frames_are_found_by_number_where_a_tool_lost_their_names(tmp_path):
    frames = [replace(frame, key=FrameKey("", "", n)) for n, frame in enumerate(labelled())]
    assert deliver(tmp_path / "delivery", frames).defects == ()


def test_broken_frames_are_named(tmp_path):
    deliver(tmp_path / "delivery", labelled())
    path = tmp_path / "delivery" / "labels.json"
    content = json.loads(path.read_text())
    data = content["openlabel"]["frames"]["1"]["objects"]["0"]["object_data"]
    data["cuboid"][0]["val"] = [1, 2, 3]
    path.write_text(json.dumps(content))
    delivery = read_delivery(tmp_path / "delivery", package_key(COUNT), DEFINITION)
    rule, what = only(delivery)
    assert rule == "ANNO023"
    assert what.startswith("EXCH001 frame 1:")
    assert sorted(delivery.boxes) == ["000000", "000002"]


@pytest.mark.parametrize(
    ("files", "what"),
    [
        ({}, "holds nothing"),
        ({"readme.txt": "hello"}, "holds readme.txt"),
        ({"labels.json": "{}"}, "holds labels.json"),
        ({"labels.json": '{"openlabel": {'}, "not JSON"),
        ({"a.xml": "<annotations>"}, "a.xml"),
        ({"a.parquet": "PAR1"}, "a.parquet"),
    ],
)
def test_other_files_are_no_delivery(tmp_path, files, what):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    rule, found = only(read_delivery(tmp_path, package_key(COUNT), DEFINITION))
    assert rule == "ANNO020"
    assert what in found
    assert str(tmp_path) not in found


def test_two_files_of_labels_are_ambiguous(tmp_path):
    deliver(tmp_path / "delivery", labelled())
    rule, what = only(deliver(tmp_path / "delivery", labelled(), "cvat"))
    assert (rule, what[:17]) == ("ANNO020", "2 files of labels")


def test_formats_that_the_definition_does_not_allow_are_refused(tmp_path):
    strict = DEFINITION.acceptance.replace(formats=("cvat",))
    definition = DEFINITION.replace(acceptance=strict.model_dump())
    deliver(tmp_path / "delivery", labelled())
    delivery = read_delivery(tmp_path / "delivery", package_key(COUNT), definition)
    assert only(delivery)[0] == "ANNO020"
    with pytest.raises(DataError, match="no delivery here yet"):
        read_delivery(tmp_path / "nothing", package_key(COUNT), definition)


def test_gold_frames_make_up_their_share():
    assert [number_of_gold_frames(n, 0.05) for n in (0, 1, 19, 20, 95, 96)] == [0, 1, 1, 2, 5, 6]
    assert number_of_gold_frames(100, 0.0) == 0


def test_gold_is_drawn_by_a_seed():
    keys = [FrameKey("log", f"s{n}", n) for n in range(50)]
    drawn = choose_gold(keys, 5, "a")
    assert drawn == choose_gold(keys, 5, "a") != choose_gold(keys, 5, "b")
    assert len(set(drawn)) == 5
    with pytest.raises(DataError, match="2 labelled frames can be hidden"):
        choose_gold(keys[:2], 5, "a")


def test_packed_frames_are_numbered_by_scene_and_time():
    asked = [FrameKey("log", "pool", time) for time in (300, 100)]
    gold = [FrameKey("log", "train", 200), FrameKey("log", "pool", 200)]
    packed = pack_frames(asked, gold, "package-1")
    assert [frame.frame_id for frame in packed] == [f"{n:06d}" for n in range(4)]
    pool = [frame for frame in packed if frame.scene == "pool"]
    assert [frame.timestamp_ns for frame in pool] == [100, 200, 300]
    assert [frame.alias[2] for frame in pool] == [0, 100, 200]
    assert {frame.key for frame in packed if frame.is_gold} == set(gold)
    assert not any("pool" in str(frame.alias) or "train" in str(frame.alias) for frame in packed)


def test_gold_frames_get_boxes_to_start_from_like_all_others():
    key = package_key(2, gold=(1,))
    asked, gold = key.frames
    assert prelabels_of(gold, {}, true_boxes(1)) is None
    found = {asked.key: Boxes.empty()}
    assert len(prelabels_of(asked, found, None)) == 0
    start = prelabels_of(gold, found, true_boxes(1))
    assert 0 < len(start) <= 4
    assert np.isfinite(start.score).all()
    assert not np.isin(start.center_m, true_boxes(1).center_m).any()
    assert set(disguise(true_boxes(1), "x").track_id) <= {""}
    notes = np.full(4, '{"auto": true}', dtype=object)
    sent = prelabels_of(asked, {asked.key: true_boxes(1).replace(attributes=notes)}, None)
    assert set(sent.attributes) == {""}


def test_a_damaged_key_is_named(tmp_path):
    key = package_key(2)
    key.write(tmp_path)
    assert PackageKey.read(tmp_path) == key
    (tmp_path / "key.json").write_text("{}")
    with pytest.raises(DataError, match="not a package's key"):
        PackageKey.read(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        PackageKey.read(tmp_path / "nowhere")
