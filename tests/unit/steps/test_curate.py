import dataclasses
import json
import zlib

import lance
import numpy as np
import pytest

from admlops.analysis.comparison import compare_boxes, total_variation
from admlops.errors import ConfigError, DataError
from admlops.lake.store import Dataset
from admlops.steps.curate import CurateConfig, CurateInputs, CurateOutputs, curate
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep
from admlops.structures.manifest import Manifest

SECOND = 1_000_000_000
SENSOR = CalibratedSensor("lidar_top", "lidar", np.eye(4))


def boxes_of(*names, x_m=10.0, seed=0):
    center = np.random.default_rng(seed).uniform(0, 3, (len(names), 3))
    center[:, 0] += x_m + 5.0 * np.arange(len(names))
    return Boxes.make(center, np.ones((len(names), 3)), np.zeros(len(names)), names)


def make_frame(log, scene, index, **values):
    """Frames of a scene are 1 s apart; scenes are an hour and a kilometre apart."""
    seed = values.pop("seed", zlib.crc32(f"{log} {scene} {index}".encode()))
    pose = np.eye(4)
    pose[:2, 3] = 1000.0 * (scene + 1), index
    defaults = {
        "boxes": boxes_of("car", *(["cyclist"] if scene % 3 == 0 else []), "car", seed=seed),
        "tags": ("rain",) if scene % 2 else ("clear",),
        "global_from_ego": pose,
        "lidar": LidarSweep(SENSOR, np.random.default_rng(seed).random((3, 4), np.float32)),
    }
    return Frame(
        key=FrameKey(log, f"scene-{scene:02d}", (3600 * scene + index) * SECOND),
        frame_id=f"{scene:02d}{index:02d}",
        **(defaults | values),
    )


def make_dataset(folder, name, frames, licences=("CC-BY-4.0",)):
    dataset = Dataset.create(str(folder / name), licences=licences)
    dataset.append(frames)
    dataset.manifest().write(folder / f"{name}.json")
    return dataset


def scenes(numbers, log="log", **values):
    seeds = {"seed": values.pop("seed")} if "seed" in values else {}
    for scene in numbers:
        for index in range(2):
            seed = {name: value + 10 * scene + index for name, value in seeds.items()}
            yield make_frame(log, scene, index, **({"seed": 10 * scene + index} | seed | values))


def run(folder, dataset=None, earlier=None, **config):
    inputs = CurateInputs(*(folder / f"{n}.json" if n else None for n in (dataset, earlier)))
    outputs = CurateOutputs(folder / "report", folder / "curated.json")
    scores = curate(inputs, outputs, CurateConfig.parse(config))
    report = json.loads((folder / "report" / "curation.json").read_text())
    manifest = Manifest.read(outputs.curated, "dataset")
    return scores, report, Dataset.open(manifest.reference)


def splits_of(dataset):
    table = dataset.query("SELECT DISTINCT scene, split FROM frames ORDER BY 1, 2").to_pydict()
    return list(zip(table["scene"], table["split"], strict=True))


def test_frames_are_divided_by_scene_and_the_page_says_how(tmp_path):
    make_dataset(tmp_path, "lake", scenes(range(12)))
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    scores, report, dataset = run(tmp_path, "lake", split={"shares": shares}, tag="v1")
    assert scores["split_moved"] == 24
    assert (scores["split_groups"], scores["split_leaks"]) == (12, 0)
    assert [scores[f"split_{name}"] for name in shares] == [12, 6, 6]
    assert len(splits_of(dataset)) == 12
    assert report["split"]["shares"]["category cyclist"]["train"] == pytest.approx(0.5, abs=0.1)
    assert report["split"]["shares"]["condition rain"]["train"] == pytest.approx(0.5, abs=0.17)
    assert "| condition rain |" in (tmp_path / "report" / "curation.md").read_text()
    assert dataset.tags()["v1"] == dataset.version


def test_nothing_moves_when_scenes_are_added_or_the_step_is_repeated(tmp_path):
    lake = make_dataset(tmp_path, "lake", scenes(range(6)))
    _, _, first = run(tmp_path, "lake", split={})
    before = splits_of(first)
    lake.append(scenes(range(6, 10)))
    lake.manifest().write(tmp_path / "lake.json")
    _, _, second = run(tmp_path, "lake", split={})
    assert splits_of(second)[:6] == before
    assert all(split for _, split in splits_of(second))
    second.manifest().write(tmp_path / "lake.json")
    scores, _, third = run(tmp_path, "lake", split={})
    assert scores["split_moved"] == 0
    assert third.version == second.version


def test_copies_and_revisited_places_stay_together(tmp_path):
    place = np.eye(4)
    place[:2, 3] = 1000.0, 3.0
    copy = next(scenes([0]))
    frames = [
        *scenes(range(6)),
        make_frame("log", 7, 0, global_from_ego=place),
        make_frame("other", 8, 0, lidar=copy.lidar),
    ]
    make_dataset(tmp_path, "lake", frames)
    halves = {"shares": {"train": 0.5, "val": 0.5}, "one_frame_per_log": True}
    _, report, dataset = run(tmp_path, "lake", split=halves)
    found = dict(splits_of(dataset))
    assert found["scene-00"] == found["scene-07"] == found["scene-08"]
    assert report["split"]["joined"] == {
        "same_data": 1,
        "same_location": 0,
        "same_look": 0,
        "near_in_time": 0,
        "near_in_space": 1,
    }


def test_places_of_one_city_are_compared_between_logs(tmp_path):
    place = np.eye(4)
    place[:2, 3] = 1000.0, 0.0
    city = ("location:boston",)
    frames = [
        *scenes(range(4), tags=city),
        make_frame("other", 9, 0, tags=city, global_from_ego=place),
        make_frame("third", 10, 0, tags=("location:singapore",), global_from_ego=place),
    ]
    make_dataset(tmp_path, "lake", frames)
    scores, _, dataset = run(tmp_path, "lake", split={})
    assert scores["split_groups"] == 5
    found = dict(splits_of(dataset))
    assert found["scene-00"] == found["scene-09"]


def test_unlabelled_frames_of_judged_places_leave_the_pool(tmp_path):
    pool = {"boxes": None, "split": "pool"}
    frames = [*scenes(range(4)), *(make_frame("log", n, 5, **pool) for n in range(5))]
    make_dataset(tmp_path, "lake", frames)
    scores, _, dataset = run(tmp_path, "lake", split={"shares": {"train": 0.5, "val": 0.5}})
    table = dataset.query("SELECT frame_id, split FROM frames").to_pydict()
    splits = dict(zip(table["frame_id"], table["split"], strict=True))
    for scene in range(4):
        own = splits[f"{scene:02d}00"]
        assert splits[f"{scene:02d}05"] == ("pool" if own == "train" else "")
    assert splits["0405"] == "pool"
    assert scores["split_pool_left_out"] == 2


def test_existing_leaks_are_named_and_nothing_is_written(tmp_path):
    frames = [make_frame("log", 0, i, split=s) for i, s in enumerate(("train", "val"))]
    lake = make_dataset(tmp_path, "lake", [*frames, *scenes(range(1, 4))])
    with pytest.raises(DataError, match=r"would leak, nothing was written.*SPLIT001.*log/scene-00"):
        run(tmp_path, "lake", split={})
    assert Dataset.open(lake.uri).version == lake.version
    scores, _, _ = run(tmp_path, "lake", split={"keep": False})
    assert scores["split_leaks"] == 0


def at(x_m):
    pose = np.eye(4)
    pose[:2, 3] = x_m, 50.0
    return pose


TOWN = {"tags": ("location:town",)}


@pytest.mark.parametrize(
    ("train", "val", "rule", "found"),
    [
        (("log", 0, 0, {}), ("log", 1, -3595, {}), {}, "SPLIT007.*frames 5.0 s apart"),
        (("log", 0, 0, {}), ("log", 1, 0, {}), {"unit": "log", "gap_s": 3600}, "SPLIT007"),
        (
            ("log", 0, 0, {"global_from_ego": at(0.1)}),
            ("log", 1, 0, {"global_from_ego": at(5.0)}),
            {"one_frame_per_log": True},
            "SPLIT008.*poses 4.9 m apart",
        ),
        (
            ("log", 0, 0, TOWN | {"global_from_ego": at(4.9)}),
            ("other", 1, 0, TOWN | {"global_from_ego": at(5.1)}),
            {},
            "SPLIT008.*poses 0.2 m apart",
        ),
        (
            ("log", 0, 0, TOWN),
            ("other", 1, 0, TOWN),
            {"by_location": True},
            "SPLIT008.*frames of one location",
        ),
        (("log", 0, 0, {"seed": 1}), ("other", 1, 0, {"seed": 1}), {}, "SPLIT002"),
    ],
)
def test_splits_that_came_with_the_data_are_verified(tmp_path, train, val, rule, found):
    frames = [
        make_frame(*place, **values, split=split)
        for (*place, values), split in ((train, "train"), (val, "val"))
    ]
    make_dataset(tmp_path, "lake", [*frames, *scenes([7, 9], "far")])
    with pytest.raises(DataError, match=rf"would leak, nothing was written.*{found}"):
        run(tmp_path, "lake", split=rule)
    loose = {"gap_s": 0, "near_m": 0, "by_location": False}
    if found != "SPLIT002":
        scores, _, _ = run(tmp_path, "lake", split=rule | loose)
        assert scores["split_leaks"] == 0
    scores, report, _ = run(tmp_path, "lake", split=rule | {"refuse_leaks": False})
    assert scores["split_leaks"] == 1
    assert "are in train" in report["split"]["findings"][0] or "in train (1)" in str(report)


def test_look_alikes_in_other_splits_are_found(tmp_path):
    frames = [*scenes([0], split="train"), *scenes([1], split="val"), *scenes([2])]
    lake = make_dataset(tmp_path, "lake", frames)
    keys = lake.keys()
    vectors = {key: np.float32([n, n % 2]) for n, key in enumerate(keys)}
    lake.add_embedding("detector", vectors | {keys[3]: vectors[keys[0]]})
    lake.manifest().write(tmp_path / "lake.json")
    with pytest.raises(DataError, match="SPLIT009.*scene-00 and log/scene-01"):
        run(tmp_path, "lake", split={"embedding": "detector"})


def test_a_condition_that_no_frame_meets_verifies_and_moves_nothing(tmp_path):
    lake = make_dataset(tmp_path, "lake", [*scenes([0], split="train"), *scenes([1], split="val")])
    scores, _, dataset = run(tmp_path, "lake", split={"condition": "false"})
    assert (scores["split_moved"], scores["split_leaks"], dataset.version) == (0, 0, lake.version)


def test_an_old_version_is_not_divided(tmp_path):
    lake = make_dataset(tmp_path, "lake", scenes(range(4)))
    _, _, first = run(tmp_path, "lake", split={})
    _, _, again = run(tmp_path, "lake", split={})
    assert again.version == first.version
    lake.append(scenes([5], split="val"))
    with pytest.raises(DataError, match="frames were added or moved since"):
        run(tmp_path, "lake", split={})


def test_frames_that_cannot_be_compared_by_place_are_counted(tmp_path):
    frames = [*scenes(range(2), tags=("location:town",)), *scenes(range(2, 4))]
    make_dataset(tmp_path, "lake", frames)
    scores, _, _ = run(tmp_path, "lake", split={})
    assert scores["split_unplaced"] == 4


def test_labels_in_images_count_for_the_mix(tmp_path):
    def boxes_2d(count):
        corners = np.tile([1.0, 1.0, 3.0, 3.0], (count, 1))
        return Boxes2d.make(corners, ["sign"] * count, camera=["front"] * count)

    frames = [make_frame("log", n, 0, boxes_2d=boxes_2d(9 * (n < 2)), boxes=None) for n in range(8)]
    make_dataset(tmp_path, "lake", frames)
    _, report, _ = run(tmp_path, "lake", split={"shares": {"train": 0.5, "val": 0.5}})
    assert report["split"]["shares"]["category sign"] == {"train": 0.5, "val": 0.5}


def test_a_scene_between_two_splits_goes_into_none(tmp_path):
    place = np.eye(4)
    place[:2, 3] = 1000.0, 1.0
    lake = make_dataset(
        tmp_path,
        "lake",
        [*scenes([0], split="train"), *scenes([1], split="val"), *scenes([3], split="test")],
    )
    bridge = [make_frame("log", 5, 0, global_from_ego=place), make_frame("log", 5, 1)]
    place_2 = np.eye(4)
    place_2[:2, 3] = 2000.0, 1.0
    bridge.append(make_frame("log", 5, 2, global_from_ego=place_2))
    lake.append(bridge)
    lake.manifest().write(tmp_path / "lake.json")
    scores, _, dataset = run(tmp_path, "lake", split={"one_frame_per_log": True})
    assert scores["split_torn"] == 3
    assert dict(splits_of(dataset))["scene-05"] == ""


def test_near_duplicates_by_embedding_stay_together(tmp_path):
    lake = make_dataset(tmp_path, "lake", scenes(range(4)))
    keys = lake.keys()
    scene = [int(key.scene[-2:]) for key in keys]
    vectors = {k: np.float32([s % 3, 1.0 + s]) for k, s in zip(keys, scene, strict=True)}
    vectors[keys[0]] = vectors[keys[6]]
    lake.add_embedding("detector", vectors)
    lake.manifest().write(tmp_path / "lake.json")
    scores, report, _ = run(tmp_path, "lake", split={"embedding": "detector"})
    assert report["split"]["joined"]["look_alike"] == 1
    assert scores["split_groups"] == 3


def test_scenes_that_look_alike_stay_together_and_leak_where_they_were_put_apart(tmp_path):
    """The street of scene 0 was recorded again for scene 3: other noise, and no common pose."""

    def street(scene, index):
        place = scene % 3 + 10 * index
        points = np.random.default_rng(place).uniform(-39, 39, (80, 4))
        points[:, 2] = 1.0
        points += np.random.default_rng(scene).normal(0.0, 1e-3, points.shape)
        return LidarSweep(SENSOR, points.astype(np.float32))

    def frames(**changes):
        return [
            make_frame("log", scene, index, lidar=street(scene, index), **changes)
            for scene in range(4)
            for index in range(2)
        ]

    make_dataset(tmp_path, "lake", frames())
    _, report, dataset = run(tmp_path, "lake", split={"look_alike": {}})
    assert report["split"]["joined"]["same_look"] == 1
    found = dict(splits_of(dataset))
    assert found["scene-00"] == found["scene-03"]
    apart = frames(split="train")
    apart[-2:] = [dataclasses.replace(frame, split="val") for frame in apart[-2:]]
    make_dataset(tmp_path, "apart", apart)
    with pytest.raises(DataError, match=r"SPLIT009.*log/scene-00 and log/scene-03"):
        run(tmp_path, "apart", split={"look_alike": {}})


def test_one_scene_cannot_be_divided_but_its_frames_can(tmp_path):
    frames = [make_frame("log", 0, 60 * index, boxes=boxes_of("car")) for index in range(8)]
    make_dataset(tmp_path, "lake", frames)
    with pytest.raises(DataError, match="all 8 frames are in one scene.*'frame'"):
        run(tmp_path, "lake", split={})
    scores, _, _ = run(tmp_path, "lake", split={"unit": "frame", "shares": {"a": 3, "b": 1}})
    assert (scores["split_a"], scores["split_b"]) == (6, 2)


MERGE = {"categories": {"cyclist": "bicycle", "car": ""}, "tags": ["second"]}


def test_versions_are_merged_with_an_account_of_every_category(tmp_path):
    one = make_dataset(tmp_path, "one", scenes(range(2)))
    two = make_dataset(tmp_path, "two", scenes(range(3, 5), "other"), ["CC-BY-NC-SA-4.0"])
    rule = {
        "lake_uri": str(tmp_path / "merged"),
        "sources": [{"reference": two.reference, **MERGE, "condition": "frame_id <> '0401'"}],
    }
    scores, report, dataset = run(tmp_path, "one", merge=rule, tag="mix")
    assert (scores["merged_added"], dataset.num_frames) == (7, 7)
    assert report["merge"]["categories"] == [
        {"source": one.reference, "before": "car", "after": "car", "num_boxes": 8},
        {"source": one.reference, "before": "cyclist", "after": "cyclist", "num_boxes": 2},
        {"source": two.reference, "before": "car", "after": "", "num_boxes": 6},
        {"source": two.reference, "before": "cyclist", "after": "bicycle", "num_boxes": 2},
    ]
    counts = dataset.query("SELECT category, count(*) FROM boxes GROUP BY 1 ORDER BY 1").to_pydict()
    assert list(counts.values()) == [["bicycle", "car", "cyclist"], [2, 8, 2]]
    assert len(dataset.rows_where("list_contains(tags, 'second')")) == 3
    assert dataset.licences == ("CC-BY-4.0", "CC-BY-NC-SA-4.0")
    assert report["licences"]["commercial"] is False
    assert report["licences"]["carry"] == ["CC-BY-NC-SA-4.0"]
    page = (tmp_path / "report" / "curation.md").read_text()
    assert "| CC-BY-NC-SA-4.0 | no | yes | under the same licence |" in page
    assert "| **together** | no | yes | under CC-BY-NC-SA-4.0 |" in page
    assert "* must be named: CC-BY-4.0, CC-BY-NC-SA-4.0" in page
    assert "| car | (left out) | 6 |" in page
    scores, _, again = run(tmp_path, "one", merge=rule)
    assert again.version == dataset.version
    assert scores["merged_added"] == 0
    with pytest.raises(ConfigError, match="'CC-BY-NC-SA-4.0' forbids commercial use"):
        run(tmp_path, "one", merge=rule, use="commercial")


def image_of(name, content):
    return CameraImage(CalibratedSensor(name, "camera", np.eye(4), np.eye(3)), content, 4, 3)


def test_merged_frames_hold_all_that_they_held(tmp_path):
    images = {"camera": image_of("front", b"abc"), "other_cameras": (image_of("back", b"defg"),)}
    frame = make_frame("log", 0, 0, **images)
    make_dataset(tmp_path, "one", [frame])
    two = make_dataset(tmp_path, "two", scenes([3]))
    rule = {"lake_uri": str(tmp_path / "merged"), "sources": [{"reference": two.reference}]}
    _, _, dataset = run(tmp_path, "one", merge=rule)
    merged = next(dataset.iterate(camera=True, other_cameras=True))
    assert [image.encoded for image in merged.cameras] == [b"abc", b"defg"]
    assert merged.sensor_digest() == frame.sensor_digest()


def test_a_merge_that_was_killed_before_its_tag_ends_as_if_not_killed(tmp_path):
    make_dataset(tmp_path, "one", scenes(range(2)))
    two = make_dataset(tmp_path, "two", scenes(range(2, 4)), ["MIT"])
    source = {"reference": two.reference, **MERGE}
    rule = {"lake_uri": str(tmp_path / "merged"), "sources": [source]}
    _, _, whole = run(tmp_path, "one", merge=rule)
    ((tag, version),) = whole.tags().items()
    lance.dataset(whole.uri).tags.delete(tag)
    scores, _, again = run(tmp_path, "one", merge=rule)
    assert (again.version, again.tags()) == (version, {tag: version})
    assert (scores["merged_added"], scores["merged_present"]) == (0, 8)


def test_conflicts_are_named_and_nothing_is_merged(tmp_path):
    make_dataset(tmp_path, "one", scenes(range(3)))
    other = [make_frame("log", 0, 0, seed=5), make_frame("log", 1, 0, seed=10, boxes=boxes_of())]
    two = make_dataset(tmp_path, "two", [*other, make_frame("log", 2, 0, seed=20)])
    rule = {"lake_uri": str(tmp_path / "merged"), "sources": [{"reference": two.reference}]}
    with pytest.raises(DataError) as refused:
        run(tmp_path, "one", merge=rule)
    assert "2 frames cannot be merged, nothing was written: log/scene-00/0: sensor data of" in str(
        refused.value
    )
    assert f"log/scene-01/{3600 * SECOND}: labels of {two.reference} differ" in str(refused.value)
    assert Dataset.open(str(tmp_path / "merged")).num_frames == 0
    scores, report, dataset = run(tmp_path, "one", merge=rule | {"on_conflict": "first"})
    assert (scores["merged_conflicts"], scores["merged_added"]) == (2, 6)
    assert len(report["merge"]["conflicts"]) == 2
    assert dataset.query("SELECT count(*) AS n FROM boxes")["n"][0].as_py() == 14


def test_a_mix_whose_terms_forbid_the_use_is_not_made(tmp_path):
    make_dataset(tmp_path, "one", scenes(range(2)))
    two = make_dataset(tmp_path, "two", scenes(range(3, 5)), ["CC-BY-NC-SA-4.0"])
    rule = {"lake_uri": str(tmp_path / "merged"), "sources": [{"reference": two.reference}]}
    with pytest.raises(ConfigError, match="'CC-BY-NC-SA-4.0' forbids commercial use"):
        run(tmp_path, "one", merge=rule, use="commercial")
    assert Dataset.open(str(tmp_path / "merged")).num_frames == 0
    scores, _, _ = run(tmp_path, "one", merge=rule, use="research")
    assert scores["merged_added"] == 8


def test_names_that_a_source_does_not_have_are_told(tmp_path):
    two = make_dataset(tmp_path, "two", scenes(range(2)))
    source = {"reference": two.reference, "categories": {"tram": "bus"}}
    rule = {"lake_uri": str(tmp_path / "merged"), "sources": [source]}
    with pytest.raises(DataError, match="no category is called 'tram'; there are 'car', 'cyclist'"):
        run(tmp_path, merge=rule)


def test_two_versions_are_compared(tmp_path):
    lake = make_dataset(tmp_path, "lake", scenes(range(2)))
    keys = lake.keys()
    lake.append(scenes([2]))
    old = lake.take([0], lidar=False)[0].boxes
    names = old.category.copy()
    names[0] = "van"
    lake.relabel({keys[0]: old.replace(category=names).select([0, 1])})
    lake.manifest().write(tmp_path / "later.json")
    scores, report, _ = run(tmp_path, "later", "lake")
    assert {n: v for n, v in scores.items() if v} == {
        "frames_added": 2,
        "frames_relabelled": 1,
        "boxes_added": 4,
        "boxes_removed": 1,
        "boxes_recategorized": 1,
    }
    assert report["comparison"]["boxes"]["categories"] == {"car -> van": 1}
    shifts = {shift["of"]: shift for shift in report["comparison"]["shifts"]}
    assert shifts["condition"]["changes"][0] == {"name": "clear", "before": 2, "after": 4}
    assert shifts["condition"]["distance"] == pytest.approx(1 / 6, abs=1e-6)
    assert "| boxes | 4 | 1 | 1 | 0 |" in (tmp_path / "report" / "curation.md").read_text()


def test_boxes_are_followed_by_their_place():
    before = boxes_of("car", "car", "van")
    moved = before.center_m.copy()
    moved[0, 0] += 0.5
    moved[2, 0] += 50.0
    found = compare_boxes(before, before.replace(center_m=moved))
    assert (found.adjusted, found.added, found.removed, found.recategorized) == (1, 1, 1, 0)
    assert compare_boxes(before, before).adjusted == 0
    assert compare_boxes(Boxes.empty(), before).added == 3


def test_boxes_in_images_are_followed_by_their_overlap():
    corners = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    before = Boxes2d.make(corners, ["car", "car", "van"], camera=["left", "left", "left"])
    moved = corners + np.array([[2.0], [9.0], [0.0]]) * [1, 0, 1, 0]  # overlaps of 2/3, 1/19 and 1
    after = Boxes2d.make(moved, ["car", "car", "truck"], camera=["left", "left", "left"])
    found = compare_boxes(before, after)
    assert (found.adjusted, found.added, found.removed, found.recategorized) == (1, 1, 1, 1)
    assert found.categories == {"van -> truck": 1}
    elsewhere = compare_boxes(before, before.replace(camera=np.full(3, "right", dtype=object)))
    assert (elsewhere.added, elsewhere.removed) == (3, 3)


def test_total_variation_of_hand_worked_shares():
    assert total_variation(np.array([1.0, 1.0]), np.array([3.0, 1.0])) == pytest.approx(0.25)
    assert total_variation(np.zeros(2), np.array([1.0, 0.0])) == 1.0
    assert total_variation(np.zeros(2), np.zeros(2)) == 0.0


def test_nothing_to_curate_is_told(tmp_path):
    with pytest.raises(ConfigError, match="curate needs --dataset"):
        run(tmp_path)


def test_scenes_that_all_start_at_zero_are_told_apart_or_refused(tmp_path):
    place = np.eye(4)
    place[:2, 3] = 5.0, 5.0
    make_dataset(tmp_path, "lake", scenes(range(4), global_from_ego=place))
    scores, _, _ = run(tmp_path, "lake", split={})
    assert scores["split_groups"] == 4
    with pytest.raises(DataError, match=r"all 4 .*near_in_space \(3 pairs; split.near_m\)"):
        run(tmp_path, "lake", split={"keep": False, "one_frame_per_log": True})
