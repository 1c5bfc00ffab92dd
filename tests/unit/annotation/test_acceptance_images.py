from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from street import (
    CAR,
    COUNT,
    OTHER_CAR,
    PEDESTRIAN,
    VAN,
    change,
    package_key,
    packed_frame,
    street_camera,
    street_frame,
    true_boxes,
    true_boxes_2d,
)

from admlops.annotation.acceptance import judge_delivery
from admlops.annotation.acceptance_config import AcceptanceConfig, OutlierLimits
from admlops.annotation.acceptance_frames import DeliveredFrame
from admlops.annotation.acceptance_outliers import find_outliers, robust_deviations
from admlops.annotation.acceptance_pictures import draw_defects, pick_defects
from admlops.annotation.acceptance_report import make_feedback, render_acceptance
from admlops.annotation.definition import load_definition
from admlops.annotation.delivery import Delivery
from admlops.geometry.image_boxes import iou_in_image, share_inside
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d

DEFINITION = load_definition("urban_lidar").replace(shapes=["space_box", "image_box"])

ASIDE = np.array([150.0, 0.0, 150.0, 0.0])


def frame_with_camera(number, is_gold=False, yaw_rad=0.0):
    known = street_frame(number, true_boxes(number) if is_gold else None)
    return replace(
        known,
        camera=street_camera(),
        boxes_2d=true_boxes_2d(number) if is_gold else None,
        global_from_ego=make_transform(rotation_about_z(yaw_rad), [1.0, 0.0, 0.0]),
    )


def judge(boxes_2d, gold=(), boxes=None, definition=DEFINITION, frames=None, **config):
    """Judge boxes in images by frame number, the true ones elsewhere."""
    numbers = {f"{n:06d}": n for n in range(COUNT)}
    given = boxes or {}
    delivery = Delivery(
        "openlabel",
        "00ff",
        {name: given.get(n, true_boxes(n)) for name, n in numbers.items()} if boxes != {} else {},
        (),
        {name: boxes_2d.get(n, true_boxes_2d(n)) for name, n in numbers.items()},
    )
    shown = [
        (packed_frame(n, n in gold), (frames or frame_with_camera)(n, n in gold))
        for n in range(COUNT)
    ]
    key = package_key(COUNT, gold)
    return judge_delivery(shown, delivery, key, definition, AcceptanceConfig(**config))


def moved(number, row, columns_px, rows_px=0.0):
    boxes = true_boxes_2d(number)
    away = [columns_px, rows_px, columns_px, rows_px]
    return change(boxes, row, box2d_px=boxes.box2d_px[row] + away)


def grown(number, row, factor):
    boxes = true_boxes_2d(number)
    middle = (boxes.box2d_px[row, :2] + boxes.box2d_px[row, 2:]) / 2
    half = factor * (boxes.box2d_px[row, 2:] - boxes.box2d_px[row, :2]) / 2
    return change(boxes, row, box2d_px=[*(middle - half), *(middle + half)])


def doubled(number, row, track="", away=1.0):
    boxes = true_boxes_2d(number)
    again = change(boxes, row, track_id=track).select([row])
    return Boxes2d.concatenate([boxes, again.replace(box2d_px=again.box2d_px + away)])


def renamed(number, row, category, attributes='{"motion": "moving"}'):
    return change(true_boxes_2d(number), row, category=category, attributes=attributes)


def cut_at_border(number, row, over_px):
    boxes = true_boxes_2d(number)
    edges = boxes.box2d_px[row].copy()
    edges[3] = street_camera().height_px - 1 + over_px
    return change(boxes, row, box2d_px=edges)


def test_a_careful_delivery_in_images_is_accepted():
    acceptance = judge({}, gold=(1, 3))
    assert acceptance.counts == {}
    assert acceptance.accepted
    assert acceptance.sentence == "Accepted: 20 boxes and 20 boxes in images in 5 frames."
    assert [check.name for check in acceptance.checks][-4:] == [
        "gold_recall",
        "gold_precision",
        "gold_image_recall",
        "gold_image_precision",
    ]
    agreement = acceptance.agreement_2d
    assert (agreement.num_known, agreement.num_found, agreement.num_frames) == (8, 8, 2)
    assert agreement.mean_iou == pytest.approx(1.0)
    assert agreement.mean_yaw_error_deg == 0


@pytest.mark.parametrize(
    ("boxes_2d", "rule", "box"),
    [
        (change(true_boxes_2d(2), CAR, box2d_px=[np.nan, 0, 5, 5]), "ANNO029", CAR),
        (change(true_boxes_2d(2), CAR, box2d_px=[50, 50, 40, 60]), "ANNO029", CAR),
        (renamed(2, VAN, "spaceship"), "ANNO001", VAN),
        (renamed(2, CAR, "car", '{"colour": "red", "motion": "moving"}'), "ANNO002", CAR),
        (renamed(2, CAR, "car", "{}"), "ANNO004", CAR),
        (change(true_boxes_2d(2), CAR, camera="camera_rear"), "ANNO041", CAR),
        (cut_at_border(2, CAR, 30.0), "ANNO042", CAR),
        (renamed(2, CAR, "car", '{"motion": "up"}'), "ANNO003", CAR),
        (doubled(2, CAR), "ANNO024", 4),
        (doubled(2, CAR, "t0", away=ASIDE), "ANNO035", 4),
        (renamed(2, VAN, "car"), "ANNO032", VAN),
        (moved(2, CAR, 90.0), "ANNO045", CAR),
        (grown(2, VAN, 1.9), "ANNO046", VAN),
    ],
)
def test_each_defect_in_an_image_breaks_exactly_its_rule(boxes_2d, rule, box):
    limits = {"min_space_iou": 0.0}
    found = judge({2: boxes_2d}, images=limits).defects
    assert {(item.rule_id, item.frame_id, item.box) for item in found} == {(rule, "000002", box)}
    assert all(item.shape == "image_box" and item.mend for item in found)


@pytest.mark.parametrize(
    ("boxes_2d", "rule", "box"),
    [
        (change(true_boxes_2d(2), CAR, camera="").select([0, 1, 3]), "ANNO036", None),
        (doubled(2, PEDESTRIAN, away=ASIDE), "ANNO037", 4),
        (renamed(2, CAR, "van"), "ANNO038", CAR),
        (moved(2, PEDESTRIAN, 6.0), "ANNO039", PEDESTRIAN),
    ],
)
def test_each_defect_in_a_gold_image_breaks_exactly_its_rule(boxes_2d, rule, box):
    acceptance = judge({2: boxes_2d}, gold=(2,), images={"min_space_iou": 0.0})
    found = {(item.rule_id, item.frame_id, item.box) for item in acceptance.defects}
    told_by_space = {("ANNO049", "000002", None)} if rule == "ANNO036" else set()
    assert found == {(rule, "000002", box)} | told_by_space
    assert [check.name[:10] for check in acceptance.failed if "gold" in check.name]
    assert acceptance.agreement.recall == 1.0


def test_boxes_where_nothing_is_known_are_neither_right_nor_wrong():
    extra = doubled(2, PEDESTRIAN, away=ASIDE)
    region = np.array([extra.box2d_px[4] + [-5, -5, 5, 5]])

    def frames(number, is_gold):
        camera = replace(street_camera(), ignore_regions_px=region)
        return replace(frame_with_camera(number, is_gold), camera=camera)

    acceptance = judge({2: extra}, gold=(2,), frames=frames)
    assert acceptance.counts == {}
    assert acceptance.agreement_2d.num_delivered == 4


def test_low_objects_need_no_box_and_get_none():
    low = DEFINITION.replace(rules=DEFINITION.rules.replace(min_height_px=55.0).model_dump())
    heights = np.diff(true_boxes_2d(0).box2d_px[:, [1, 3]])[:, 0]
    num_low = int((heights < 55.0).sum())
    assert 0 < num_low < 4
    found = judge({}, definition=low).defects
    assert {item.rule_id for item in found} == {"ANNO043"}
    assert Counter(item.frame_id for item in found)["000000"] == num_low
    left_out = {0: true_boxes_2d(0).select(np.flatnonzero(heights >= 55.0))}
    agreement = judge(left_out, gold=(0,), definition=low).agreement_2d
    assert (agreement.num_known, agreement.recall) == (4 - num_low, 1.0)


def test_boxes_in_space_and_in_images_must_be_about_the_same_object():
    for_tracks = {"switch_gain": 1e9, "min_track_iou": 0.0}
    away = moved(2, PEDESTRIAN, 60.0)
    (found,) = judge({2: away}, images=for_tracks).defects
    assert (found.rule_id, found.box) == ("ANNO047", PEDESTRIAN)
    assert found.what == "track 't2': the box in space is projected beside it (IoU 0.00)"
    every = {n: renamed(n, VAN, "truck") for n in range(COUNT)}
    assert set(judge(every).counts) == {"ANNO048"}


def test_exchanged_names_in_space_and_in_images_are_told_once():
    swapped = np.array(["t1", "t0", "t2", "t3"], object)
    frames = {n: true_boxes_2d(n).replace(track_id=swapped) for n in range(2, COUNT)}
    found = judge(frames, images={"switch_gain": 1e9, "max_gap_s": 0.1}).defects
    assert [(item.rule_id, item.frame_id, item.box) for item in found] == [
        ("ANNO047", "000002", CAR),
        ("ANNO047", "000002", OTHER_CAR),
    ]
    assert found[0].what.endswith("; the one that covers it has the track 't0'")


def test_an_object_in_space_that_shows_in_an_image_must_have_a_box_there():
    without = {2: true_boxes_2d(2).select([0, 1, 3])}
    (found,) = judge(without).defects
    assert (found.rule_id, found.frame_id, found.box) == ("ANNO049", "000002", None)
    assert found.what.startswith("the pedestrian of track 't2' has no box here")
    assert found.box_px == pytest.approx(true_boxes_2d(2).box2d_px[PEDESTRIAN])
    hidden = change(true_boxes(2), PEDESTRIAN, occlusion=2)
    assert judge(without, boxes={2: hidden}).counts == {}
    in_space = DEFINITION.replace(shapes=["space_box"])
    assert judge(without, definition=in_space).counts == {}
    high = DEFINITION.replace(rules=DEFINITION.rules.replace(min_height_px=48.0).model_dump())
    assert "ANNO049" not in judge(without, definition=high).counts


def test_a_box_in_space_that_is_wrong_by_itself_says_nothing_about_the_image():
    behind = change(true_boxes(2), VAN, center_m=[-20.0, 8.0, 1.1], track_id="t3")
    assert "image_box" not in {item.shape for item in judge({}, boxes={2: behind}).defects}


def test_a_camera_that_does_not_see_the_box_in_space_is_told():
    turned = make_transform(rotation_about_z(np.pi), [0.0, 0.0, 0.0])

    def frames(number, is_gold):
        camera = street_camera()
        rear = replace(camera.sensor, ego_from_sensor=turned @ camera.sensor.ego_from_sensor)
        return replace(frame_with_camera(number, is_gold), camera=replace(camera, sensor=rear))

    found = judge({}, frames=frames).defects
    assert {item.rule_id for item in found} == {"ANNO047"}
    assert all("is not seen (IoU 0.00)" in item.what for item in found)


def test_of_hidden_objects_only_what_shows_must_lie_in_the_projection():
    parts = DEFINITION.replace(rules=DEFINITION.rules.replace(occluded="visible_part").model_dump())
    edges = true_boxes_2d(2).box2d_px[CAR].copy()
    edges[2] = edges[0] + 0.3 * (edges[2] - edges[0])
    hidden = change(true_boxes_2d(2), CAR, box2d_px=edges, occlusion=2)
    assert judge({2: hidden}).counts == {"ANNO047": 1}
    assert judge({2: hidden}, definition=parts).counts == {}


def test_cameras_with_distortion_are_not_projected_into():
    def frames(number, is_gold):
        camera = street_camera()
        bent = replace(camera, sensor=replace(camera.sensor, distortion=np.array([0.1, 0.0])))
        return replace(frame_with_camera(number, is_gold), camera=bent)

    away = {2: moved(2, PEDESTRIAN, 60.0)}
    assert judge(away, images={"min_track_iou": 0.0}).counts == {"ANNO047": 1}
    assert judge(away, images={"min_track_iou": 0.0}, frames=frames).counts == {}


def test_answers_in_images_that_do_not_change_are_one_for_a_track():
    answers = [
        '{"emergency": false, "motion": "moving"}',
        '{"emergency": true, "motion": "moving"}',
    ]
    frames = {n: renamed(n, CAR, "car", answers[n == 3]) for n in range(COUNT)}
    (found,) = judge(frames).defects
    assert (found.rule_id, found.frame_id, found.box) == ("ANNO008", "000003", CAR)


def test_exchanged_tracks_in_images_are_one_defect():
    frames = {}
    for number in range(2, COUNT):
        tracks = true_boxes_2d(number).track_id.copy()
        tracks[[CAR, OTHER_CAR]] = tracks[[OTHER_CAR, CAR]]
        frames[number] = true_boxes_2d(number).replace(track_id=tracks)
    found = judge(frames, boxes={}, definition=DEFINITION.replace(shapes=["image_box"])).counts
    assert found == {"ANNO033": 1}


def test_where_a_track_goes_over_to_another_object_it_is_told_there_only():
    frames = {
        number: change(
            true_boxes_2d(number),
            CAR,
            box2d_px=true_boxes_2d(number).box2d_px[CAR]
            + 300.0 * (number >= 3) * np.array([1, 0, 1, 0]),
        )
        for number in range(COUNT)
    }
    found = judge(frames, boxes={}, definition=DEFINITION.replace(shapes=["image_box"])).defects
    assert {item.rule_id for item in found} == {"ANNO045"}
    assert {item.frame_id for item in found} <= {"000002", "000003"}


def test_a_turning_vehicle_is_told_from_jumping_objects_by_its_poses():
    yaw = (0.0, 0.0, 0.0, 0.25, 0.5)
    sensor = street_camera().sensor

    def turned(number):
        """Return what the camera sees after the vehicle has turned to the right."""
        boxes = true_boxes_2d(number)
        pixels_from_rays = sensor.camera_matrix @ sensor.ego_from_sensor[:3, :3].T
        turn = pixels_from_rays @ rotation_about_z(yaw[number]).T @ np.linalg.inv(pixels_from_rays)
        corners = np.column_stack([boxes.box2d_px.reshape(-1, 2), np.ones(8)]) @ turn.T
        edges = (corners[:, :2] / corners[:, 2:]).reshape(-1, 4)
        return boxes.replace(box2d_px=edges)

    frames = {number: turned(number) for number in range(COUNT)}
    wide = DEFINITION.replace(shapes=["image_box"])
    limits = {"border_px": 1e4, "max_blind_gap_s": 1.0}
    known = judge(
        frames,
        boxes={},
        definition=wide,
        images=limits,
        frames=lambda n, gold: frame_with_camera(n, gold, yaw[n]),
    )
    assert known.counts == {}
    unknown = judge(frames, boxes={}, definition=wide, images=limits)
    assert "ANNO045" in unknown.counts
    careful = judge(
        frames,
        boxes={},
        definition=wide,
        images={"border_px": 1e4},
        frames=(lambda n, gold: replace(frame_with_camera(n, gold), global_from_ego=np.eye(4))),
    )
    assert careful.counts == {}


def test_boxes_unlike_their_category_are_told():
    odd = grown(2, PEDESTRIAN, 1.0)
    left, top, _, bottom = odd.box2d_px[PEDESTRIAN]
    odd = change(odd, PEDESTRIAN, box2d_px=[left, top, left + 8.0 * (bottom - top), bottom])
    frames = {n: true_boxes_2d(n).replace(track_id=[""] * 4) for n in range(COUNT)}
    frames[2] = odd.replace(track_id=[""] * 4)
    only = DEFINITION.replace(shapes=["image_box"])
    (found,) = judge(frames, boxes={}, definition=only, outliers={"min_boxes": 5}).defects
    assert (found.rule_id, found.frame_id, found.box) == ("ANNO044", "000002", PEDESTRIAN)
    assert "width by height 8 of a pedestrian, usually 0." in found.what
    assert (
        judge(frames, boxes={}, definition=only).counts == {}
    )  # too few boxes to tell what is usual


def test_sizes_in_space_are_compared_where_the_definition_has_none():
    plain = [{"name": item.name, "description": item.description} for item in DEFINITION.categories]
    free = DEFINITION.replace(categories=plain)
    tall = change(
        true_boxes(2), PEDESTRIAN, size_m=[0.8, 0.6, 5.1], center_m=[26.0, -4.35, 2.55], track_id=""
    )
    boxes = {n: true_boxes(n) for n in range(COUNT)} | {2: tall}
    found = judge({}, boxes=boxes, definition=free, outliers={"min_boxes": 5}).defects
    assert "ANNO044" in {item.rule_id for item in found if item.box == PEDESTRIAN}


def test_robust_deviations_do_not_heed_outliers():
    values = np.array([1.0, 2.0, 3.0, 4.0, 1000.0])
    # median 3, absolute deviations 2 1 0 1 997, their median 1
    assert robust_deviations(values)[:2] == pytest.approx([-2 / 1.4826, -1 / 1.4826])
    assert robust_deviations(np.ones(4)).tolist() == [0, 0, 0, 0]
    assert list(find_outliers([], [], OutlierLimits())) == []
    none = DeliveredFrame("0", 0.0, np.eye(4), Boxes.empty(), np.empty(0), np.empty(0), {})
    assert list(find_outliers([none], [{"length": np.empty(0)}], OutlierLimits())) == []


def test_the_sample_is_drawn_from_boxes_of_both_shapes():
    acceptance = judge({2: cut_at_border(2, CAR, 30.0)})
    by_name = {check.name: check for check in acceptance.checks}
    assert by_name["error_rate"].value == pytest.approx(1 / 40)
    assert "drawn from 40" in by_name["major_sample"].text
    assert any(" image " in drawn for drawn in by_name["major_sample"].drawn)


def test_the_report_shows_images_and_the_feedback_hides_gold():
    boxes_2d = {1: true_boxes_2d(1).select([0, 1, 3]), 2: cut_at_border(2, CAR, 30.0)}
    acceptance = judge(boxes_2d, gold=(1,))
    frames = {f"{n:06d}": frame_with_camera(n, is_gold=True) for n in range(COUNT)}
    delivered = {f"{n:06d}": boxes_2d.get(n, true_boxes_2d(n)) for n in range(COUNT)}
    delivery = Delivery("coco", "00ff", {}, (), delivered)
    pictures = draw_defects(pick_defects(acceptance.defects, 5), frames, delivery)
    assert {picture.defect.rule_id for picture in pictures} == {"ANNO036", "ANNO042"}
    page = render_acceptance(acceptance, pictures)
    assert page.count("data:image/png;base64,") == 2
    assert "image box 0" in page
    feedback = make_feedback(acceptance)
    assert [(item["rule_id"], item["shape"]) for item in feedback["defects"]] == [
        ("ANNO042", "image_box")
    ]
    assert [(item["rule_id"], item["count"]) for item in feedback["elsewhere"]] == [("ANNO036", 1)]


def test_overlaps_in_an_image_by_hand():
    first = np.array([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, np.nan, 2.0]])
    second = np.array([[1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 6.0, 6.0]])
    assert iou_in_image(first, second).tolist() == [[pytest.approx(1 / 7), 0.0], [0.0, 0.0]]
    assert share_inside(first, second).tolist() == [[0.25, 0.0], [0.0, 0.0]]
    assert iou_in_image(np.empty((0, 4)), second).shape == (0, 2)
