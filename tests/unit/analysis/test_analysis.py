"""Distributions, coverage and requests, counted by hand on a few boxes."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from admlops.analysis.analysis import Analysis, analyze_dataset, render_analysis
from admlops.analysis.charts import largest_series
from admlops.analysis.coverage import measure_coverage, request_collection
from admlops.analysis.distributions import count_distributions
from admlops.analysis.drives import describe_drives
from admlops.analysis.histogram import Histogram
from admlops.analysis.requirement import Requirement, RequirementRow
from admlops.analysis.visibility import views_of_boxes
from admlops.errors import ConfigError
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.lake.store import Dataset
from admlops.steps.analyze import AnalyzeConfig, AnalyzeInputs, AnalyzeOutputs, analyze
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey


def _frame(index: int, names: list[str] | None, ranges_m=(), tags=("clear",), **more) -> Frame:
    boxes = None
    if names is not None:
        center = np.array([[3 / 5 * r, 4 / 5 * r, 0.8] for r in ranges_m]).reshape(-1, 3)
        size = np.tile([4.0, 2.0, 1.5], (len(names), 1))
        points = np.array([0, 3, 12, 700])[: len(names)]
        yaw = np.deg2rad([-175.0, -5.0, 5.0, 95.0])[: len(names)]
        boxes = Boxes.make(center, size, yaw, names, num_points=points, occlusion=points * 0)
    key = FrameKey("log", f"scene_{index // 2}", index)
    return Frame(key, str(index), np.eye(4), boxes=boxes, tags=tags, **more)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    names = ["car", "car", "pedestrian", "truck"]
    frames = [
        _frame(0, names, (5.0, 15.0, 25.0, 95.0), split="train"),
        _frame(1, names[:2], (5.0, 35.0), split="train"),
        _frame(2, [], (), ("night", "rain"), split="val"),
        _frame(3, names[:1], (20.0,), ("night", "rain"), split="val"),
        _frame(4, None, (), (), split="pool"),
    ]
    made = Dataset.create(str(tmp_path / "lake"))
    made.append(frames)
    return made


def test_totals_and_histograms_by_hand(dataset: Dataset) -> None:
    found = count_distributions(dataset)
    assert (found.num_frames, found.num_labelled_frames) == (5, 4)
    assert (found.num_scenes, found.num_boxes) == (3, 7)
    category = found.histogram("category")
    assert dict(zip(category.labels, category.counts["boxes"], strict=True)) == {
        "car": 5,
        "pedestrian": 1,
        "truck": 1,
    }
    assert found.histogram("range").counts["car"] == (2, 1, 1, 1, 0, 0, 0, 0, 0, 0)
    assert found.histogram("range").counts["truck"][-1] == 1
    yaw = found.histogram("yaw")
    assert dict(zip(yaw.labels, yaw.counts["car"], strict=True))["-180..-150"] == 3
    assert dict(zip(yaw.labels, yaw.counts["truck"], strict=True))["90..120"] == 1
    points = found.histogram("points")
    assert dict(zip(points.labels, points.counts["car"], strict=True))["0"] == 3
    assert dict(zip(points.labels, points.counts["truck"], strict=True))["500+"] == 1
    assert found.histogram("occlusion").counts["car"][0] == 5
    assert found.histogram("boxes_per_frame").counts["frames"][:3] == (1, 1, 2)
    splits = found.histogram("splits")
    assert splits.labels == ("pool", "train", "val")
    assert splits.counts == {"labelled": (0, 2, 2), "unlabelled": (1, 0, 0)}
    conditions = found.histogram("conditions")
    assert conditions.labels == ("clear", "night", "rain", "untagged")
    assert conditions.counts["val"] == (0, 2, 2, 0)
    assert found.sizes[0].length_m == (4.0, 4.0, 4.0)


def test_coverage_and_request_by_hand(dataset: Dataset) -> None:
    row = RequirementRow(
        categories=("car", "tram"),
        range_edges_m=(0.0, 20.0, 40.0),
        conditions=("clear", "night+rain", "any"),
        min_boxes=3,
        min_scenes=1,
    )
    coverage = measure_coverage(dataset, Requirement(rows=(row,)))
    found = {
        (c.cell.condition, c.cell.category, c.cell.range_m[0]): (c.num_boxes, c.num_scenes)
        for c in coverage.cells
    }
    assert found["clear", "car", 0.0] == (3, 1)
    assert found["clear", "car", 20.0] == (1, 1)
    assert found["night+rain", "car", 20.0] == (1, 1)
    assert found["any", "car", 20.0] == (2, 2)
    assert found["any", "tram", 0.0] == (0, 0)
    assert len(coverage.cells) == 12
    assert coverage.share_met == pytest.approx(2 / 12)
    request = request_collection(coverage, "lake@2")
    assert not request.is_met
    far = next(i for i in request.items if (i.condition, i.category) == ("clear", "car"))
    assert (far.num_boxes, far.num_frames) == (2, 4)  # 1 box in 2 frames: 2 more take 4
    assert far.text.startswith("2 more car boxes 20 to 40 m away in clear daylight")
    drives = {drive.condition: drive for drive in request.drives}
    assert "at night and in rain" in drives["night+rain"].text
    assert drives["clear"].num_frames == 4


def test_splits_limit_what_counts(dataset: Dataset) -> None:
    row = RequirementRow(categories=("car",), range_edges_m=(0.0, 50.0), min_boxes=4)
    assert measure_coverage(dataset, Requirement(rows=(row,))).gaps == ()
    train = measure_coverage(dataset, Requirement(rows=(row,), splits=("val",)))
    assert train.gaps[0].num_missing_boxes == 3


def test_a_met_requirement_asks_for_nothing(dataset: Dataset) -> None:
    row = RequirementRow(categories=("car",), range_edges_m=(0.0, 50.0), min_boxes=1)
    analysis = analyze_dataset(dataset, Requirement(rows=(row,)))
    assert analysis.request.is_met
    assert "hold what they must" in analysis.sentence
    assert "What to record next" not in render_analysis(analysis)


def test_an_empty_dataset_has_gaps_only(tmp_path: Path) -> None:
    analysis = analyze_dataset(Dataset.create(str(tmp_path / "lake")), Requirement())
    assert analysis.distributions.num_frames == 0
    assert len(analysis.coverage.gaps) == 18
    assert "0 of 18 cells" in render_analysis(analysis)


def test_the_step_writes_json_html_and_request(tmp_path: Path, dataset: Dataset) -> None:
    dataset.manifest().write(tmp_path / "dataset.json")
    requirement = tmp_path / "requirement.yaml"
    requirement.write_text("name: <b>urban</b>\nrows:\n- categories: [car]\n  min_boxes: 9\n")
    outputs = AnalyzeOutputs(tmp_path / "analysis")
    config = AnalyzeConfig(requirement_file=str(requirement))
    scores = analyze(AnalyzeInputs(tmp_path / "dataset.json"), outputs, config)
    assert scores["num_boxes"] == 7
    assert scores["num_gaps"] == 3
    read = Analysis.read(outputs.analysis)
    assert read.dataset == dataset.reference
    request = json.loads((outputs.analysis / "request.json").read_text())
    assert request["requirement"] == "<b>urban</b>"
    page = (outputs.analysis / "analysis.html").read_text()
    assert "<b>urban</b>" not in page
    assert "&lt;b&gt;urban&lt;/b&gt;" in page
    for outside in ("http:", "https:", 'src="/', "@import", "<script"):
        assert outside not in page


def test_a_wrong_requirement_names_the_field(tmp_path: Path, dataset: Dataset) -> None:
    dataset.manifest().write(tmp_path / "dataset.json")
    wrong = tmp_path / "requirement.yaml"
    wrong.write_text("rows:\n- categories: [car]\n  range_edges_m: [20, 10]\n")
    config = AnalyzeConfig(requirement_file=str(wrong))
    outputs = AnalyzeOutputs(tmp_path / "analysis")
    with pytest.raises(ConfigError, match="range_edges_m must rise"):
        analyze(AnalyzeInputs(tmp_path / "dataset.json"), outputs, config)


def _drive(number: int, scene: str, x_m: float, source: str, names: list[str], **more) -> Frame:
    """A frame of a drive along x, ten frames a second, at nine in the morning."""
    pose = np.eye(4)
    pose[:2, 3] = x_m, 7.0
    tracks = np.array([f"t{row}" for row in range(len(names))], dtype=object)
    boxes = Boxes.make(
        np.zeros((len(names), 3)), np.ones((len(names), 3)), np.zeros(len(names)), names
    ).replace(track_id=tracks)
    start_ns = 1_700_039_000_000_000_000
    key = FrameKey("log", scene, start_ns + number * 100_000_000)
    return Frame(key, str(number), pose, boxes=boxes, source=source, split="train", **more)


def test_drives_by_hand(tmp_path: Path) -> None:
    """Three frames at 12 m/s, two parked, and a scene without poses that tells no speed."""
    frames = [_drive(n, "moving", 1.2 * n, "/data/a", ["car", "person"]) for n in range(3)]
    frames += [_drive(n, "parked", 5.0, "/data/b", ["car"]) for n in range(2)]
    frames.append(dataclasses.replace(_frame(0, ["car"], (5.0,)), source="/data/b"))
    dataset = Dataset.create(str(tmp_path / "lake"))
    dataset.append(frames)
    found = describe_drives(dataset)
    by_name = {item.name: item for item in found.histograms}
    assert by_name["ego_speed"].counts == {"train": (1, 0, 0, 2, 0, 0, 0)}
    assert by_name["hour"].labels[3] == "9-12"
    assert by_name["hour"].counts == {"train": (0, 0, 0, 5, 0, 0, 0, 0)}
    assert by_name["track_length"].counts == {
        "car": (0, 2, 0, 0, 0, 0, 0),
        "person": (0, 1, 0, 0, 0, 0, 0),
    }
    assert by_name["camera_views"].counts["car"] == (0, 0, 0, 0, 6)
    assert by_name["sources"].counts == {"a": (3, 3), "b": (3, 0)}
    assert "category_2d" not in by_name
    first, second = found.sources
    assert (first.source, first.num_frames, first.num_boxes) == ("/data/a", 3, 6)
    assert (first.num_categories, first.num_tracks) == (2, 2)
    assert first.median_speed_mps == pytest.approx(12.0)
    assert first.hours == second.hours == (9, 9)
    assert (second.source, second.num_frames, second.num_boxes) == ("/data/b", 3, 3)
    assert (second.num_categories, second.num_tracks, second.median_speed_mps) == (1, 1, 0.0)
    assert found.co_occurrence.categories == ("car", "person")
    assert found.co_occurrence.num_frames == ((6, 3), (3, 3))


def test_nothing_is_known_of_drives_in_an_empty_dataset(tmp_path: Path) -> None:
    found = describe_drives(Dataset.create(str(tmp_path / "lake")))
    assert (found.histograms, found.sources) == ((), ())
    assert found.co_occurrence.categories == ()


def test_views_of_boxes_by_hand() -> None:
    """A front camera of 90 degrees, one to the left, and boxes ahead, to the left and behind."""
    ahead = np.array([[0.0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
    left = make_transform(rotation_about_z(np.pi / 2), [0.0, 0.0, 0.0]) @ ahead
    matrix = np.array([[50.0, 0, 50], [0, 50, 50], [0, 0, 1]])
    cameras = [
        CameraImage(CalibratedSensor(name, "camera", pose, matrix), b"", 100, 100)
        for name, pose in (("front", ahead), ("left", left))
    ]
    center = [[20.0, 0, 1], [0, 20, 1], [14, 14, 1], [-20, 0, 1]]
    boxes = Boxes.make(np.array(center), np.ones((4, 3)), np.zeros(4), ["car"] * 4)
    both = Frame(FrameKey("a", "", 0), "", np.eye(4), camera=cameras[0], boxes=boxes)
    both = dataclasses.replace(both, other_cameras=(cameras[1],))
    front = dataclasses.replace(both, other_cameras=(), boxes=boxes.select(np.array([1, 0])))
    blind = dataclasses.replace(both, camera=None, other_cameras=())
    unlabelled = dataclasses.replace(both, boxes=None)
    found = views_of_boxes([both, front, blind, unlabelled])
    # the box at 45 degrees is at the rim of both images
    assert [views.tolist() for views in found] == [[1, 1, 2, 0], [0, 1], [-1, -1, -1, -1], []]


def test_categories_beyond_the_colours_are_drawn_as_one() -> None:
    counts = {f"kind {number}": (number, 1) for number in range(12)}
    shown = largest_series(Histogram(name="", title="", unit="", labels=("a", "b"), counts=counts))
    assert list(shown) == [f"kind {number}" for number in (10, 11, 5, 6, 7, 8, 9)] + ["others"]
    assert shown["others"] == (0 + 1 + 2 + 3 + 4, 5)


def test_the_step_compares_with_an_earlier_version(tmp_path: Path, dataset: Dataset) -> None:
    dataset.manifest().write(tmp_path / "earlier.json")
    key = dataset.keys()[0]
    boxes = dataset.take([0], lidar=False)[0].boxes
    assert boxes is not None
    names = boxes.category.copy()
    names[0] = "<van>"
    dataset.relabel({key: boxes.replace(category=names)})
    dataset.append([_frame(9, ["car"], (5.0,))])
    dataset.manifest().write(tmp_path / "later.json")
    inputs = AnalyzeInputs(tmp_path / "later.json", tmp_path / "earlier.json")
    outputs = AnalyzeOutputs(tmp_path / "analysis")
    scores = analyze(inputs, outputs, AnalyzeConfig())
    assert (scores["frames_added"], scores["frames_relabelled"]) == (1, 1)
    assert (scores["boxes_added"], scores["boxes_recategorized"]) == (1, 1)
    page = (outputs.analysis / "analysis.html").read_text()
    assert "car -&gt; &lt;van&gt;: 1" in page
    comparison = Analysis.read(outputs.analysis).comparison
    assert comparison is not None
    shift = next(item for item in comparison.shifts if item.of == "category")
    changed = [(item.name, item.before, item.after) for item in shift.largest_changes]
    assert changed == [("<van>", 0, 1)]  # one car became a van, another came
