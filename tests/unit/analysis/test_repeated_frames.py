"""Repeated frames: counted by hand per source and across splits, and shown with pictures."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from admlops.analysis.analysis import analyze_dataset, render_analysis
from admlops.analysis.duplicate_pictures import picture_pairs
from admlops.analysis.duplicates import describe_duplicates
from admlops.analysis.requirement import Requirement
from admlops.lake.store import Dataset
from admlops.likeness.duplicates import DuplicateRule
from admlops.steps.analyze import AnalyzeConfig, AnalyzeInputs, AnalyzeOutputs, analyze
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

EYE = np.eye(4)
RULE = DuplicateRule()


def encode(place: int, format_name: str = "PNG", quality: int = 75) -> bytes:
    """The picture of a place: posts of random brightness."""
    posts = np.random.default_rng(place).integers(0, 255, (8, 34), dtype=np.uint8)
    pixels = np.repeat(np.repeat(posts, 16, axis=0), 8, axis=1)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=format_name, quality=quality)
    return buffer.getvalue()


def make_frame(log, time_s, place, split="train", source="/data/a", x_m=None, **changes) -> Frame:
    """A frame at a place; the pose is unknown, or x_m along a road that starts at 100 m."""
    pose = np.eye(4)
    if x_m is not None:
        pose[0, 3] = 100.0 + x_m
    encoded = place if isinstance(place, bytes) else encode(place)
    image = CameraImage(CalibratedSensor("front", "camera", EYE, EYE[:3, :3]), encoded, 272, 128)
    key = FrameKey(log, "0", round(time_s * 1e9))
    frame = Frame(key, str(time_s), pose, camera=image, split=split, source=source)
    return dataclasses.replace(frame, **changes)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Seven frames of source a, four of b, one of c: six of them repeat others.

    a: three of a drive past different places; a copy of its first in val; three of a parked
    vehicle. b: the drive's second place as a JPEG in val, twice its third (pool and train), and a
    place of its own. c: labels without sensors.
    """
    made = Dataset.create(str(tmp_path / "lake"))
    made.append(
        [
            *(make_frame("drive", t, 10 + t, x_m=3.0 * t) for t in range(3)),
            make_frame("copy", 0, 10, "val"),
            *(make_frame("parked", t, encode(40, "JPEG", 90 - t), x_m=0.1 * t) for t in range(3)),
            make_frame("other", 0, encode(11, "JPEG"), "val", "/data/b"),
            make_frame("other", 1, encode(12, "JPEG", 60), "pool", "/data/b"),
            make_frame("other", 2, encode(12, "JPEG", 90), "train", "/data/b"),
            make_frame("other", 3, 77, "train", "/data/b"),
            make_frame("labels", 0, 0, "train", "/data/c", camera=None),
        ]
    )
    return made


def test_repeats_by_hand(dataset: Dataset) -> None:
    found = describe_duplicates(dataset, RULE)
    counts = {
        item.source: (
            item.num_frames,
            item.num_exact,
            item.num_standing,
            item.num_alike,
            item.num_shared,
        )
        for item in (found.total, *found.by_source)
    }
    # the copy is earlier than the drive by its log's name: it is the drive's first that repeats
    assert counts == {"": (11, 1, 2, 3, 5), "/data/a": (7, 1, 2, 0, 2), "/data/b": (4, 0, 0, 3, 3)}
    assert found.total.num_repeats == 6
    assert found.total.share_repeated == 6 / 11


def test_what_splits_and_sources_share_by_hand(dataset: Dataset) -> None:
    found = describe_duplicates(dataset, RULE)
    assert {item.names: (item.num_groups, item.num_frames) for item in found.splits} == {
        ("train", "val"): (2, (2, 2)),
        ("pool", "train"): (1, (1, 2)),
    }
    assert [item.names for item in found.leaks] == [("train", "val")]
    assert found.num_leaks == 2
    assert {item.names: (item.num_groups, item.num_frames) for item in found.sources} == {
        ("/data/a", "/data/b"): (2, (2, 3)),
    }
    assert "6 of 11 frames with sensor data (54.5%) repeat an earlier one." in found.sentence
    assert "held by two splits (train and val)" in found.sentence


def test_examples_name_the_frames_those_between_splits_first(dataset: Dataset) -> None:
    found = describe_duplicates(dataset, RULE).examples
    assert [(pair.frames, pair.kind, pair.splits) for pair in found] == [
        (("drive/0/1000000000", "other/0/0"), "alike", ("train", "val")),
        (("copy/0/0", "drive/0/0"), "exact", ("val", "train")),
        (("drive/0/2000000000", "other/0/1000000000"), "alike", ("train", "pool")),
        (("parked/0/0", "parked/0/1000000000"), "standing", ("train", "train")),
    ]
    keys = [str(key) for key in dataset.keys()]  # noqa: SIM118 - no dict
    assert all(tuple(keys[row] for row in pair.rows) == pair.frames for pair in found)
    assert [pair.is_leak for pair in found] == [True, True, False, False]
    assert found[0].changed_share < RULE.max_changed_share


def test_without_a_look_copies_alone_are_found(dataset: Dataset) -> None:
    found = describe_duplicates(dataset, None)
    assert (found.total.num_exact, found.total.num_repeats) == (1, 1)
    assert "nobody looked for near duplicates" in found.sentence
    assert [item.names for item in found.leaks] == [("train", "val")]


def test_a_moving_drive_past_equal_walls_repeats_nothing(tmp_path: Path) -> None:
    frames = [make_frame("d", t, encode(5, "JPEG", 90 - t), x_m=2.0 * t) for t in range(4)]
    made = Dataset.create(str(tmp_path / "lake"))
    made.append(frames)
    found = describe_duplicates(made, RULE)
    assert found.total.num_repeats == 0
    assert found.sentence == "None of 4 frames with sensor data repeats another."


def test_the_order_of_rows_does_not_matter(dataset: Dataset, tmp_path: Path) -> None:
    turned = Dataset.create(str(tmp_path / "turned"))
    turned.append(list(dataset.iterate(range(dataset.num_frames - 1, -1, -1), camera=True)))
    one, other = (describe_duplicates(made, RULE) for made in (dataset, turned))
    exclude = {"examples": {"__all__": {"rows"}}}
    assert one.model_dump(exclude=exclude) == other.model_dump(exclude=exclude)


def test_broken_images_are_copies_of_each_other_and_no_more(tmp_path: Path) -> None:
    made = Dataset.create(str(tmp_path / "lake"))
    made.append([make_frame("d", t, b"no image") for t in range(2)] + [make_frame("d", 2, b"nor")])
    found = describe_duplicates(made, RULE)
    assert (found.total.num_exact, found.total.num_alike) == (1, 0)
    assert picture_pairs(made, found.examples) == [("", "")]


def test_clouds_are_drawn_where_there_are_no_images(tmp_path: Path) -> None:
    def cloud(time_s: int) -> Frame:
        points = np.random.default_rng(3).uniform(-20, 20, (400, 4)).astype(np.float32)
        points[:, 3] = 0.1 * time_s
        sweep = LidarSweep(CalibratedSensor("top", "lidar", EYE), points)
        return make_frame("d", time_s, 0, camera=None, lidar=sweep)

    made = Dataset.create(str(tmp_path / "lake"))
    made.append([cloud(0), cloud(1)])
    found = describe_duplicates(made, RULE)
    assert found.total.num_alike == 1
    ((first, second),) = picture_pairs(made, found.examples)
    assert first.startswith("data:image/jpeg;base64,")
    assert first == second


def test_the_page_shows_pairs_and_escapes_names(dataset: Dataset) -> None:
    analysis = analyze_dataset(dataset, Requirement(), RULE)
    page = render_analysis(analysis, picture_pairs(dataset, analysis.duplicates.examples))
    assert "Repeated frames" in page
    assert page.count('<figure class="pair">') == 4
    assert "splits leak" in page
    assert "drive/0/1000000000" in page


def test_the_step_reports_repeats_and_leaks(dataset: Dataset, tmp_path: Path) -> None:
    dataset.manifest().write(tmp_path / "dataset.json")
    inputs = AnalyzeInputs(tmp_path / "dataset.json")
    outputs = AnalyzeOutputs(tmp_path / "analysis")
    scores = analyze(inputs, outputs, AnalyzeConfig())
    assert (scores["num_duplicates"], scores["num_split_leaks"]) == (6, 2)
    scores = analyze(inputs, outputs, AnalyzeConfig(duplicates=None))
    assert (scores["num_duplicates"], scores["num_split_leaks"]) == (1, 1)
    assert (outputs.analysis / "analysis.html").read_text().count("<img") > 4
