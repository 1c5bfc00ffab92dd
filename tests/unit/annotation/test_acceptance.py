import json
from collections import Counter

import numpy as np
import pytest
from street import (
    CAR,
    OTHER_CAR,
    PEDESTRIAN,
    VAN,
    change,
    package_key,
    packed_frame,
    street_frame,
    true_boxes,
)

from admlops.annotation.acceptance import judge_delivery
from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.acceptance_defects import Defect, keep_causes
from admlops.annotation.acceptance_geometry import ground_under
from admlops.annotation.acceptance_gold import SpaceComparison, match_greedily
from admlops.annotation.acceptance_pictures import draw_defects, pick_defects
from admlops.annotation.acceptance_report import (
    make_feedback,
    render_acceptance,
    write_acceptance,
)
from admlops.annotation.definition import load_definition
from admlops.annotation.delivery import Delivery
from admlops.structures.boxes import Boxes

COUNT = 5
DEFINITION = load_definition("urban_lidar")


def judge(boxes, gold=(), defects=(), **config):
    """Judge boxes by frame number, the true ones elsewhere."""
    delivered = {f"{n:06d}": boxes.get(n, true_boxes(n)) for n in range(COUNT)}
    delivery = Delivery("openlabel", "00ff", delivered, tuple(defects))
    frames = [
        (
            packed_frame(n, n in gold),
            street_frame(n, counted(true_boxes(n)) if n in gold else None),
        )
        for n in range(COUNT)
    ]
    key = package_key(COUNT, gold)
    return judge_delivery(frames, delivery, key, DEFINITION, AcceptanceConfig(**config))


def counted(boxes):
    return boxes.replace(num_points=np.full(len(boxes), 100))


def rules_of(acceptance):
    return Counter(defect.rule_id for defect in acceptance.defects)


def moved(number, row, offset):
    boxes = true_boxes(number)
    return change(boxes, row, center_m=boxes.center_m[row] + offset)


def turned(number, row, angle):
    return change(true_boxes(number), row, yaw_rad=angle)


def without(number, row):
    return true_boxes(number).select([n for n in range(4) if n != row])


def doubled(number, row, track=""):
    boxes = true_boxes(number)
    again = change(boxes, row, track_id=track).select([row])
    again = again.replace(center_m=np.add(again.center_m, [0.1, 0.05, 0]))
    return Boxes.concatenate([boxes, again])


def extra(number):
    ghost = change(true_boxes(number), PEDESTRIAN, center_m=[15.0, 12.0, 0.85], track_id="")
    return Boxes.concatenate([true_boxes(number), ghost.select([PEDESTRIAN])])


def swapped(number, row):
    boxes = true_boxes(number)
    return change(boxes, row, size_m=boxes.size_m[row, [1, 0, 2]])


def renamed(number, row, category, attributes='{"motion": "moving"}'):
    return change(true_boxes(number), row, category=category, attributes=attributes)


def resized(number, row, factor):
    boxes = true_boxes(number)
    return change(boxes, row, size_m=boxes.size_m[row] * factor)


def exchanged(start, first, second):
    """Return the frames from one on in which two tracks have each other's id."""
    frames = {}
    for number in range(start, COUNT):
        tracks = true_boxes(number).track_id.copy()
        tracks[[first, second]] = tracks[[second, first]]
        frames[number] = true_boxes(number).replace(track_id=tracks)
    return frames


def test_a_careful_delivery_is_accepted():
    acceptance = judge({}, gold=(1, 3))
    assert rules_of(acceptance) == {}
    assert acceptance.accepted
    assert [check.name for check in acceptance.checks] == [
        "critical",
        "major_sample",
        "minor_sample",
        "error_rate",
        "warning_rate",
        "gold_recall",
        "gold_precision",
    ]
    agreement = acceptance.agreement
    assert (agreement.num_known, agreement.num_found, agreement.num_frames) == (8, 8, 2)
    assert agreement.mean_iou == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("boxes", "rule", "box"),
    [
        (change(true_boxes(2), CAR, center_m=[np.nan, 0, 0]), "ANNO029", CAR),
        (change(true_boxes(2), CAR, size_m=[4.0, 0.0, 1.5]), "ANNO029", CAR),
        (renamed(2, VAN, "spaceship"), "ANNO001", VAN),
        (renamed(2, CAR, "car", "{}"), "ANNO004", CAR),
        (doubled(2, CAR), "ANNO024", 4),
        (swapped(2, CAR), "ANNO026", CAR),
        (moved(2, CAR, [0.0, 1.2, 0]), "ANNO027", CAR),
        (moved(2, PEDESTRIAN, [0.0, -3.0, 0]), "ANNO027", PEDESTRIAN),
        (moved(2, CAR, [0.0, 0.0, -0.9]), "ANNO028", CAR),
        (turned(2, CAR, np.pi - 1e-9), "ANNO034", CAR),
        (turned(2, VAN, -3.0), "ANNO034", VAN),
        (doubled(2, CAR, "t0"), "ANNO035", 4),
        (renamed(2, CAR, "van"), "ANNO032", CAR),
        (resized(2, VAN, 1.3), "ANNO031", VAN),
    ],
)
def test_each_defect_of_a_box_breaks_exactly_its_rule(boxes, rule, box):
    found = judge({2: boxes}).defects
    assert {(item.rule_id, item.frame_id, item.box) for item in found} == {(rule, "000002", box)}
    assert all(item.frame.endswith("1000000000") and item.mend for item in found)


@pytest.mark.parametrize(
    ("boxes", "rule", "box"),
    [
        (without(2, PEDESTRIAN), "ANNO036", None),
        (extra(2), "ANNO037", 4),
        (renamed(2, CAR, "van"), "ANNO038", CAR),
        (moved(2, PEDESTRIAN, [0.25, 0.1, 0]), "ANNO039", PEDESTRIAN),
        (turned(2, PEDESTRIAN, 2.0), "ANNO040", PEDESTRIAN),
        (turned(2, PEDESTRIAN, 0.35), "ANNO040", PEDESTRIAN),
        (turned(2, CAR, np.pi - 1e-9), "ANNO040", CAR),
    ],
)
def test_each_defect_of_a_gold_frame_breaks_exactly_its_rule(boxes, rule, box):
    acceptance = judge({2: boxes}, gold=(2,))
    found = {(item.rule_id, item.frame_id, item.box) for item in acceptance.defects}
    if rule == "ANNO037":  # it holds no point either, which tells the same without gold
        assert found == {("ANNO027", "000002", box)}
        assert acceptance.agreement.precision == pytest.approx(4 / 5)
        return
    assert found == {(rule, "000002", box)}
    assert not acceptance.accepted


def test_numbers_that_json_does_not_have_are_not_in_the_report(tmp_path):
    boxes = change(true_boxes(2), CAR, center_m=[np.inf, 0, 0])
    acceptance = judge({2: change(boxes, VAN, yaw_rad=np.nan)}, gold=(2,))
    assert {item.rule_id for item in acceptance.defects} == {"ANNO029", "ANNO036"}
    write_acceptance(tmp_path, acceptance)
    assert "NaN" not in (tmp_path / "acceptance.json").read_text()


def test_regions_to_ignore_are_no_objects():
    region = renamed(2, VAN, "ignore", "").select([VAN])
    swapped_last = Boxes.concatenate([region, swapped(2, CAR)])
    acceptance = judge({2: swapped_last}, gold=(2,))
    assert [(item.rule_id, item.box) for item in acceptance.defects] == [("ANNO026", 1)]
    assert acceptance.num_boxes == 20


def test_boxes_that_reach_into_each_other_are_named():
    boxes = {2: moved(2, OTHER_CAR, [0.0, -0.3, 0.0])}
    (defect,) = judge(boxes, geometry={"overlap_iou": 0.01}).defects
    assert (defect.rule_id, defect.box, defect.defect_class) == ("ANNO025", PEDESTRIAN, "minor")
    # 0.8 x 0.15 x 1.5 m shared of 11.34 + 0.82 m3
    assert "box 1 (car) overlap with IoU 0.02" in defect.what
    assert rules_of(judge(boxes)) == {}


def test_missing_boxes_are_seen_in_gold_frames_only():
    assert rules_of(judge({2: without(2, CAR)})) == {}
    acceptance = judge({2: without(2, CAR)}, gold=(2,))
    assert acceptance.defects[0].category == "car"
    assert acceptance.agreement.recall == pytest.approx(3 / 4)
    assert "recall 75.0%" in acceptance.sentence


def test_a_box_on_its_object_is_not_moved_onto_what_stands_beside_it():
    assert rules_of(judge({2: without(2, OTHER_CAR)})) == {}  # the pedestrian is 0.15 m beside it


def test_answers_that_do_not_change_are_one_for_a_track():
    answers = [
        '{"emergency": false, "motion": "moving"}',
        '{"emergency": true, "motion": "moving"}',
    ]
    boxes = {n: renamed(n, CAR, "car", answers[n == 3]) for n in range(COUNT)}
    (found,) = judge(boxes).defects
    assert (found.rule_id, found.frame_id, found.box) == ("ANNO008", "000003", CAR)
    assert found.what == "'emergency' of track 't0' is True, else False"


def test_exchanged_tracks_are_one_defect():
    frames = {
        n: change(true_boxes(n), OTHER_CAR, center_m=true_boxes(n).center_m[CAR] + [1.0, -2.4, 0])
        for n in range(COUNT)
    }
    assert "ANNO033" not in rules_of(judge(frames))
    found = rules_of(judge(exchanged(2, CAR, OTHER_CAR)))
    assert found == {"ANNO033": 1}


def test_a_track_that_is_too_fast_is_named_in_every_frame():
    found = judge({}, tracks={"speed_limits_mps": {"car": 2.0}}).defects
    assert {item.rule_id for item in found} == {"ANNO030"}
    assert len(found) == 8  # two cars, four steps
    assert "moves 3.0 m in 0.50 s" in found[0].what


def test_critical_defects_reject_whatever_the_boxes_are():
    acceptance = judge({}, defects=[Defect(rule_id="ANNO021", what="1 of 6 frames is missing")])
    assert [check.name for check in acceptance.failed] == ["critical"]


def test_one_bad_box_among_few_passes_the_sample_and_fails_the_rate():
    acceptance = judge({2: swapped(2, CAR)})
    by_name = {check.name: check for check in acceptance.checks}
    assert by_name["error_rate"].value == pytest.approx(1 / 20)
    assert not by_name["error_rate"].passed
    assert by_name["major_sample"].text.startswith(("0 of 8", "1 of 8"))
    assert "AQL 1.5, level II, code D" in by_name["major_sample"].text
    drawn = by_name["major_sample"].drawn
    assert len(set(drawn)) == 8
    assert set(drawn) <= {f"{n:06d} {row}" for n in range(COUNT) for row in range(4)}


def test_the_sample_depends_on_the_delivery_and_the_seed():
    texts = {
        judge({n: swapped(n, CAR) for n in range(COUNT)}, seed=seed).checks[1].text
        for seed in range(4)
    }
    assert len(texts) > 1


def test_of_several_rules_a_box_keeps_the_cause():
    shared = {"frame_id": "000001", "box": 3, "what": "x"}
    rules = ("ANNO028", "ANNO026", "ANNO006", "ANNO004")
    kept = keep_causes([Defect(rule_id=rule, **shared) for rule in rules])
    assert [item.rule_id for item in kept] == ["ANNO004", "ANNO026"]


def test_ground_is_found_between_obstacles_and_on_slopes():
    random = np.random.default_rng(0)
    places = random.uniform([0, -20], [60, 20], (8000, 2))
    slope = 0.05 * places[:, 0] - 1.0
    wall = (places[:, 1] > 10) & (places[:, 0] > 30)
    points = np.column_stack([places, np.where(wall, slope + 2.0, slope)])
    ground = ground_under(np.array([[20.0, 0.0], [50.0, 15.0]]), points)
    assert ground == pytest.approx([0.0, 1.5], abs=0.25)
    assert ground_under(np.array([[20.0, 0.0]]), np.empty((0, 3))).tolist() == [0.0]


def test_matching_is_one_to_one_and_takes_the_best():
    comparison = SpaceComparison(0.6, 5.0, {})
    known, delivered = true_boxes(0), true_boxes(0).select([3, 0, 2])
    overlap, likeness = comparison.overlaps(known, delivered)
    assert match_greedily(likeness) == [(0, 1), (2, 2), (3, 0)]
    assert overlap[0, 1] == pytest.approx(1.0)
    for one, other in ((Boxes.empty(), delivered), (known, Boxes.empty())):
        assert match_greedily(comparison.overlaps(one, other)[1]) == []


def test_the_report_names_every_defect_and_the_feedback_hides_gold(tmp_path):
    boxes = {1: without(1, PEDESTRIAN), 2: swapped(2, CAR)}
    acceptance = judge(boxes, gold=(1,))
    picked = pick_defects(acceptance.defects, 5)
    frames = {f"{n:06d}": street_frame(n, true_boxes(n)) for n in range(COUNT)}
    delivered = {f"{n:06d}": boxes.get(n, true_boxes(n)) for n in range(COUNT)}
    pictures = draw_defects(picked, frames, Delivery("openlabel", "00ff", delivered))
    assert {picture.defect.rule_id for picture in pictures} == {"ANNO026", "ANNO036"}
    write_acceptance(tmp_path, acceptance, pictures)
    values = json.loads((tmp_path / "acceptance.json").read_text())
    assert {(item["rule_id"], item["frame_id"], item["box"]) for item in values["defects"]} == {
        ("ANNO036", "000001", None),
        ("ANNO026", "000002", CAR),
    }
    assert all(item["mend"] and item["what"] for item in values["defects"])
    page = (tmp_path / "acceptance.html").read_text()
    assert page == render_acceptance(acceptance, pictures)
    assert page.count("data:image/png;base64,") == 2
    assert "http" not in page
    feedback = make_feedback(acceptance)
    assert [item["rule_id"] for item in feedback["defects"]] == ["ANNO026"]
    assert "frame" not in feedback["defects"][0]
    assert feedback["elsewhere"] == [
        {
            "rule_id": "ANNO036",
            "statement": acceptance.defects[0].statement,
            "mend": acceptance.defects[0].mend,
            "category": "pedestrian",
            "count": 1,
        }
    ]
