from dataclasses import replace

import numpy as np
import pytest

from admlops.geometry.pose import wrap_angle
from admlops.simulation.image_vendor import IMAGE_DEFECTS
from admlops.simulation.vendor import BOX_DEFECTS, WRONG_PACKAGE, VendorConfig, label_as_vendor
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey

NAMES = ("car", "car", "pedestrian", "truck")


def task(count=6):
    """Return frames of one scene with four true boxes each, one of which holds a single point."""
    frames = []
    for number in range(count):
        boxes = Boxes.make(
            [[10.0 + number, 0, 1], [20.0 + number, 4, 1], [15, -6, 1], [40, 0, 2]],
            [[4, 2, 1.5], [4.2, 1.8, 1.6], [0.8, 0.6, 1.8], [9, 2.5, 3]],
            [0.1, 0.2, 0.3, 0.4],
            NAMES,
            track_id=np.array([f"pool-000-{row}" for row in range(4)], object),
            num_points=[100, 50, 9, 1],
            velocity_mps=[[5, 0], [0, 0], [1, 0], [0, 0]],
        )
        key = FrameKey("package-a", "scene", number * 10**9)
        frames.append(Frame(key, f"{number:06d}", np.eye(4), boxes=boxes))
    return frames


def test_a_careful_vendor_labels_what_is_to_be_seen():
    work = label_as_vendor(task(), VendorConfig(noise_m=0.0, noise_rad=0.0))
    assert work.mistakes == []
    for truth, frame in zip(task(), work.frames, strict=True):
        assert np.allclose(frame.boxes.as_7(), truth.boxes.as_7()[:3])
        assert frame.boxes.track_id.tolist() == ["0", "1", "2"]  # names of scenes are not known
        assert frame.boxes.attributes.tolist() == [
            '{"motion": "moving"}',
            '{"motion": "parked"}',
            '{"posture": "upright"}',
        ]
        assert np.isnan(frame.boxes.score).all()


@pytest.mark.parametrize("kind", BOX_DEFECTS)
def test_every_mistake_is_made_and_told(kind):
    exact = {"noise_m": 0.0, "noise_rad": 0.0}
    (frame,) = label_as_vendor(task(1), VendorConfig.parse({kind: 1.0, **exact})).frames
    work = label_as_vendor(task(1), VendorConfig.parse({kind: 1.0, **exact}))
    assert [item.kind for item in work.mistakes] == [kind] * 3
    truth, boxes = task(1)[0].boxes.select([0, 1, 2]), frame.boxes
    if kind == "missing":
        assert len(boxes) == 0
    elif kind == "duplicate":
        assert boxes.track_id.tolist() == ["0", "", "1", "", "2", ""]
    elif kind == "shifted":
        apart = np.linalg.norm(boxes.center_m - truth.center_m, axis=1)
        assert apart == pytest.approx([1.2] * 3)
    elif kind == "swapped":
        assert np.allclose(boxes.size_m, truth.size_m[:, [1, 0, 2]])
    elif kind == "flipped":
        assert np.allclose(np.abs(wrap_angle(boxes.yaw_rad - truth.yaw_rad)), np.pi)
    else:
        assert boxes.category.tolist() == ["van", "van", "cyclist"]


def image_task():
    """Return a frame with boxes of the same objects in the front image."""
    (frame,) = task(1)
    camera = CameraImage(CalibratedSensor("camera_front", "camera", np.eye(4)), b"", 200, 100)
    boxes_2d = Boxes2d.make(
        [[10, 20, 50, 60], [100, 20, 150, 60], [60, 30, 70, 55], [5, 5, 12, 9]],
        NAMES,
        track_id=frame.boxes.track_id,
    )
    return replace(frame, camera=camera, boxes_2d=boxes_2d)


@pytest.mark.parametrize("kind", ["", *IMAGE_DEFECTS])
def test_every_mistake_in_images_is_made_and_told(kind):
    rates = {kind: 1.0} if kind else {}
    image = {"noise_px": 0.0, "min_height_px": 10.0, **rates}
    work = label_as_vendor([image_task()], VendorConfig.parse({"image": image}))
    assert [item.kind for item in work.mistakes] == [f"image {kind}"] * 3 * bool(kind)
    truth, boxes = image_task().boxes_2d.select([0, 1, 2]), work.frames[0].boxes_2d
    edges, known = boxes.box2d_px, truth.box2d_px
    if kind == "missing":
        assert len(boxes) == 0
        return
    assert boxes.track_id[:3].tolist() == ["0", "1", "2"]
    if kind in ("", "category", "duplicate"):
        assert np.allclose(edges[:3], known)
    if kind == "category":
        assert boxes.category.tolist() == ["van", "van", "cyclist"]
    elif kind == "duplicate":
        assert boxes.track_id[3:].tolist() == ["", "", ""]
        assert np.allclose(edges[3:], known + 1.0)
    elif kind == "shifted":  # to the right where there is room, by 1.2 widths
        assert (edges - known)[:, 0].tolist() == pytest.approx([48.0, -60.0, 12.0])
    elif kind == "resized":
        assert edges[2].tolist() == pytest.approx([54.0, 15.0, 76.0, 70.0])
    elif kind == "outside":
        assert (edges[:, 2:] > [199, 99]).any(axis=1).all()
    else:
        attributes = ['{"motion": "moving"}', '{"motion": "parked"}', '{"posture": "upright"}']
        assert boxes.attributes.tolist() == attributes


def test_rates_are_rates_and_seeds_decide():
    config = VendorConfig(missing=0.2, seed=1)
    work = label_as_vendor(task(200), config)
    assert len(work.mistakes) == pytest.approx(120, abs=35)
    again = label_as_vendor(task(200), config)
    assert work.mistakes == again.mistakes
    other = label_as_vendor(task(200), config.replace(seed=2))
    assert work.mistakes != other.mistakes


def test_tracks_of_a_category_are_exchanged_to_the_end_of_the_scene():
    work = label_as_vendor(task(3), VendorConfig(id_switch=1.0, noise_m=0.0))
    assert [item.frame_id for item in work.mistakes] == ["000001", "000002"]
    tracks = [frame.boxes.track_id.tolist() for frame in work.frames]
    assert tracks == [["0", "1", "2"], ["1", "0", "2"], ["0", "1", "2"]]  # and back again


def test_whole_deliveries_go_wrong():
    work = label_as_vendor(task(), VendorConfig(partial=1.0))
    assert work.frames == []
    work = label_as_vendor(task(), VendorConfig(wrong_file=True, extra=1.0))
    assert {frame.key.log for frame in work.frames} == {WRONG_PACKAGE}
    assert all(len(frame.boxes) == 4 for frame in work.frames)
    assert [item.kind for item in work.mistakes] == ["extra"] * 6 + ["wrong_file"]
