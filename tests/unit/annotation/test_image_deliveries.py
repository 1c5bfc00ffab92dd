import json
from dataclasses import replace

import numpy as np
import pytest
from street import (
    PACKAGE_ID,
    VAN,
    package_key,
    packed_frame,
    street_camera,
    street_frame,
    true_boxes,
    true_boxes_2d,
)

from admlops.annotation.acceptance import judge_delivery
from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.definition import load_definition
from admlops.annotation.delivery import Delivery, read_delivery
from admlops.annotation.gold import PackageKey, pack_frames
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.coco.writer import write_instances
from admlops.formats.cvat.writer import write_cvat
from admlops.formats.openlabel.writer import write_openlabel
from admlops.formats.source import ReadOptions
from admlops.steps.sources import open_source
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

COUNT = 3
FORMATS = ("openlabel", "cvat", "coco", "bdd100k")
SHIPPED = load_definition("urban_lidar")
IMAGES = SHIPPED.replace(
    shapes=["image_box"], acceptance=SHIPPED.acceptance.replace(formats=FORMATS).model_dump()
)


def labelled(boxes_2d=None, boxes=None):
    """Return the frames of a package as a tool for images delivers them."""
    key = package_key(COUNT)
    return [
        Frame(
            packed.alias_key,
            packed.frame_id,
            np.eye(4),
            camera=street_camera(),
            boxes=boxes,
            boxes_2d=true_boxes_2d(number) if boxes_2d is None else boxes_2d[number],
        )
        for number, packed in enumerate(key.frames)
    ]


def write(folder, frames, name, mode="video"):
    folder.mkdir(exist_ok=True)
    if name == "openlabel":
        write_openlabel(folder / "labels.json", frames)
    elif name == "cvat":
        paths = [f"images/camera_front/{frame.frame_id}.png" for frame in frames]
        named = [replace(frame, frame_id=path) for frame, path in zip(frames, paths, strict=True)]
        write_cvat(folder / "annotations.xml", named if mode == "images" else frames, "t", mode)
    elif name == "coco":
        write_instances(folder / "made", "all", frames)
        content = json.loads((folder / "made/annotations/instances_all.json").read_text())
        for image, frame in zip(content["images"], frames, strict=True):
            image["file_name"] = f"images/camera_front/{frame.frame_id}.png"
        for item in content["annotations"]:
            of = frames[item["image_id"] - 1].boxes_2d
            row = int(np.abs(of.box2d_px[:, :2] - item["bbox"][:2]).sum(axis=1).argmin())
            item["attributes"] = json.loads(of.attributes[row]) | {
                "occluded": False,
                "track_id": str(of.track_id[row]),
            }
        (folder / "coco.json").write_text(json.dumps(content))
    else:
        write_labels(folder / "made", "all", frames, is_video=False)
        (folder / "bdd.json").write_bytes((folder / "made/labels/all.json").read_bytes())
    return folder


def deliver(folder, frames, name, definition=IMAGES, **given):
    return read_delivery(write(folder, frames, name, **given), package_key(COUNT), definition)


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "video") for name in FORMATS), ("cvat", "images")]
)
def test_every_format_brings_boxes_in_images_to_acceptance(tmp_path, name, mode):
    delivery = deliver(tmp_path / "delivery", labelled(), name, mode=mode)
    assert (delivery.format, delivery.defects) == (name, ())
    for number, boxes in enumerate(delivery.boxes_2d.values()):
        truth = true_boxes_2d(number)
        assert np.allclose(boxes.box2d_px, truth.box2d_px)
        assert boxes.track_id.tolist() == truth.track_id.tolist()
        assert list(map(json.loads, boxes.attributes)) == list(map(json.loads, truth.attributes))
        assert set(boxes.camera) <= {"", "camera_front"}
    key = package_key(COUNT, gold=(1,))
    frames = [
        (
            packed_frame(n, n == 1),
            replace(street_frame(n), camera=street_camera(), boxes_2d=true_boxes_2d(n)),
        )
        for n in range(COUNT)
    ]
    acceptance = judge_delivery(frames, delivery, key, IMAGES, AcceptanceConfig())
    assert acceptance.accepted
    assert acceptance.defects == ()
    assert (acceptance.num_boxes, acceptance.num_boxes_2d) == (0, 4 * COUNT)
    assert acceptance.agreement_2d.recall == 1.0


def test_what_is_asked_for_must_be_delivered(tmp_path):
    both = IMAGES.replace(shapes=["space_box", "image_box"])
    delivery = deliver(tmp_path / "one", labelled(), "openlabel", both)
    assert [(item.rule_id, item.what) for item in delivery.defects] == [
        ("ANNO021", "no frame has boxes in space; they are asked for")
    ]
    in_space = [replace(frame, boxes_2d=None, boxes=true_boxes(0)) for frame in labelled()]
    (defect,) = deliver(tmp_path / "other", in_space, "cvat").defects
    assert defect.what == "no frame has boxes in images; they are asked for"


def test_a_frame_without_objects_is_no_missing_frame(tmp_path):
    empty = {n: true_boxes_2d(n) for n in range(COUNT)} | {1: Boxes2d.empty()}
    for name in FORMATS:
        delivery = deliver(tmp_path / name, labelled(empty), name)
        assert delivery.defects == ()
        assert [len(boxes) for boxes in delivery.boxes_2d.values()] == [4, 0, 4]


def test_unlabelled_images_and_broken_boxes_are_told(tmp_path):
    folder = write(tmp_path / "delivery", labelled(), "bdd100k")
    content = json.loads((folder / "bdd.json").read_text())
    content[0]["labels"] = None
    content[0]["attributes"] = {}
    (folder / "bdd.json").write_text(json.dumps(content))
    (defect,) = read_delivery(folder, package_key(COUNT), IMAGES).defects
    assert (defect.rule_id, defect.what) == ("ANNO021", "1 of 3 frames are missing: 000000")
    content[1]["labels"][0]["box2d"]["x1"] = "left"
    (folder / "bdd.json").write_text(json.dumps(content))
    (defect,) = read_delivery(folder, package_key(COUNT), IMAGES).defects
    assert defect.rule_id == "ANNO023"
    assert "no box2d of four numbers" in defect.what


def test_names_of_other_tools_are_the_definitions(tmp_path):
    other = true_boxes_2d(0).replace(category=np.array(["Car", "vehicle", "person", "Van"], object))
    delivery = deliver(tmp_path / "d", labelled([other] * COUNT), "bdd100k")
    assert delivery.defects == ()
    assert delivery.boxes_2d["000000"].category.tolist() == ["car", "car", "pedestrian", "van"]


def test_images_of_several_cameras_are_joined_by_their_folders(tmp_path):
    folder = write(tmp_path / "delivery", labelled(), "coco")
    content = json.loads((folder / "coco.json").read_text())
    extra = {"id": 9, "file_name": "images/camera_rear/000001.png", "width": 100, "height": 80}
    content["images"].append(extra)
    box = content["annotations"][VAN] | {"id": 99, "image_id": 9, "bbox": [5, 5, 40, 40]}
    content["annotations"].append(box)
    (folder / "coco.json").write_text(json.dumps(content))
    delivery = read_delivery(folder, package_key(COUNT), IMAGES)
    assert delivery.boxes_2d["000001"].camera.tolist() == ["camera_front"] * 4 + ["camera_rear"]


def test_real_tracks_of_a_video_break_hardly_any_rule(real_data):
    """202 images of BDD100K, labelled by people five times a second: 3,109 boxes."""
    source = open_source(real_data / "bdd100k_video_eval", "bdd100k", ReadOptions())
    frames = [source.read(index).frame for index in range(len(source))]
    names = {str(name) for frame in frames for name in frame.boxes_2d.category}
    definition = IMAGES.replace(
        categories=[{"name": name, "description": name} for name in sorted(names)],
        attributes=[],
        requirement=None,
        rules=IMAGES.rules.replace(occluded="visible_part", rider_categories=()).model_dump(),
    )
    packed = pack_frames([frame.key for frame in frames], [], PACKAGE_ID)
    by_key = {frame.key: frame for frame in frames}
    pairs = [(item, by_key[item.key]) for item in packed]
    bare = {
        item.frame_id: frame.boxes_2d.replace(attributes=[""] * len(frame.boxes_2d))
        for item, frame in pairs
    }
    key = PackageKey(
        package_id=PACKAGE_ID, request_id="r", dataset="d", definition="", frames=tuple(packed)
    )
    delivery = Delivery("bdd100k", "00ff", {}, (), bare)
    acceptance = judge_delivery(pairs, delivery, key, definition, AcceptanceConfig())
    assert acceptance.num_boxes_2d == 3109
    assert set(acceptance.counts) <= {"ANNO045", "ANNO046"}
    assert len(acceptance.defects) <= 6
