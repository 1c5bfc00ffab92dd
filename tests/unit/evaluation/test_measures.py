"""Matching by score, slices and failures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_text import flat, row

from admlops.evaluation.failures import (
    FailureList,
    describe_missed,
    false_positives,
    missed_labels,
)
from admlops.evaluation.flat_boxes import FlatBoxes, observation_angle
from admlops.evaluation.frame_set import FrameSet
from admlops.evaluation.measures import (
    FORGIVEN,
    UNMATCHED,
    CategoryMatches,
    Matcher,
    Measure,
)
from admlops.evaluation.records import CategoryRecords
from admlops.evaluation.result import BootstrapConfig, MeasureValue
from admlops.evaluation.scoring import score_slices
from admlops.evaluation.slices import WHOLE, SliceConfig
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

CAR_BEV = Measure("car", "bev", 0.5)
CAR_2M = Measure("car", "distance", 2.0)


def match(
    labels: list[list[str]],
    predictions: list[list[str]],
    measure: Measure = CAR_BEV,
    min_points: int = 0,
) -> CategoryMatches:
    (found,) = Matcher((measure,), {"van": "car"}, min_points).match(
        flat(labels), flat(predictions)
    )
    return found


def scored_slices(
    labels: list[list[str]],
    predictions: list[list[str]],
    measures: tuple[Measure, ...] = (CAR_BEV,),
    *,
    config: SliceConfig | None = None,
    tags: list[tuple[str, ...]] | None = None,
    chunk_frames: int = 100,
) -> tuple[MeasureValue, ...]:
    matcher, frames = Matcher(measures, {}, 0), FrameSet()
    records = CategoryRecords(measures, config or SliceConfig())
    labelled_with = tags or [()] * len(labels)
    for start in range(0, len(labels), chunk_frames):
        part = slice(start, start + chunk_frames)
        names = [str(start + number) for number in range(len(labels[part]))]
        (matches,) = matcher.match(flat(labels[part]), flat(predictions[part]))
        records.add(matches, *frames.add(names, labelled_with[part]))
    metrics = [measure.metric for measure in measures]
    return score_slices([records], frames, metrics, BootstrapConfig(num_draws=3)).measures


def test_names_of_measures() -> None:
    assert CAR_BEV.name == "car_bev_ap50"
    assert Measure("cyclist", "3d", 0.25).name == "cyclist_3d_ap25"
    assert Measure("car", "distance", 0.5).name == "car_distance_ap_0.5m"


class TestMatching:
    def test_the_better_score_takes_the_label(self) -> None:
        matches = match([[row()]], [[row(score=0.3), row(x_m=0.1, score=0.6)]])
        assert matches.score.tolist() == [0.6, 0.3]
        assert matches.matches.tolist() == [[0, UNMATCHED]]

    def test_the_nearest_free_label_is_taken(self) -> None:
        labels = [[row(x_m=0.0), row(x_m=1.0)]]
        predictions = [[row(x_m=0.9, score=0.9), row(x_m=0.6, score=0.8)]]
        assert match(labels, predictions, CAR_2M).matches.tolist() == [[1, 0]]

    def test_a_distance_must_be_undercut(self) -> None:
        assert match([[row()]], [[row(x_m=2.0, score=1.0)]], CAR_2M).matches[0, 0] == UNMATCHED
        assert match([[row()]], [[row(x_m=1.9, score=1.0)]], CAR_2M).matches[0, 0] == 0

    def test_frames_do_not_mix(self) -> None:
        assert match([[row()], []], [[], [row(score=0.9)]]).matches.tolist() == [[UNMATCHED]]

    def test_neighbours_forgive_any_number(self) -> None:
        predictions = [[row(score=0.9), row(score=0.8), row(z_m=40, score=0.7)]]
        found = match([[row("Van")]], predictions).matches[0].tolist()
        assert found == [FORGIVEN, FORGIVEN, UNMATCHED]

    def test_a_label_goes_before_a_neighbour(self) -> None:
        labels = [[row("Van"), row(x_m=0.4)]]
        assert match(labels, [[row(score=0.9)]]).matches[0].tolist() == [1]

    def test_ignore_regions_forgive(self) -> None:
        region = "DontCare -1 -1 -10 390 90 520 160 -1 -1 -1 -1000 -1000 -1000 -10"
        predictions = [[row(x_m=9, left_px=400, score=0.5), row(x_m=9, left_px=700, score=0.4)]]
        assert match([[region]], predictions).matches[0].tolist() == [FORGIVEN, UNMATCHED]

    def test_labels_without_points_do_not_count(self) -> None:
        boxes = Boxes.make([[10, 0, 0], [30, 0, 0]], [[4, 2, 1.5]] * 2, [0, 0], ["car"] * 2)
        labels = FlatBoxes.from_frames(["a"], [boxes.replace(num_points=[0, 5])])
        predictions = FlatBoxes.from_frames(["a"], [boxes.replace(score=[0.9, 0.8])])
        (matches,) = Matcher((CAR_BEV,), {}, min_points=1).match(labels, predictions)
        assert matches.counted.tolist() == [False, True]
        assert matches.matches[0].tolist() == [FORGIVEN, 1]

    def test_outside_of_the_region_nothing_counts(self) -> None:
        matcher = Matcher((CAR_BEV,), {}, 0, region_m=(0.0, -20.0, 50.0, 20.0))
        labels = [[row(z_m=10), row(z_m=60), row(z_m=30, x_m=25)]]
        predictions = [[row(z_m=60, score=0.9), row(z_m=70, score=0.8), row(z_m=40, score=0.7)]]
        (matches,) = matcher.match(flat(labels), flat(predictions))
        assert matches.counted.tolist() == [True, False, False]
        assert matches.matches[0].tolist() == [FORGIVEN, FORGIVEN, UNMATCHED]

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.floats(-30, 30), st.floats(5, 60)), min_size=1, max_size=8))
    def test_labels_as_predictions_are_perfect(self, places: list[tuple[float, float]]) -> None:
        measures = tuple(Measure("car", metric, 0.3) for metric in ("bev", "3d", "2d", "distance"))
        rows = [row(x_m=x, z_m=z, left_px=index * 200) for index, (x, z) in enumerate(places)]
        scored = [f"{text} {0.1 + index / 100}" for index, text in enumerate(rows)]
        values = scored_slices([rows], [scored], measures)
        assert [item.value for item in values if item.slice == WHOLE] == [1.0] * 4

    def test_it_does_not_matter_how_frames_are_cut_into_chunks(self) -> None:
        labels = [[row(z_m=10 + number)] for number in range(6)]
        predictions = [
            [row(z_m=10 + number, score=0.9 - number / 10), row(x_m=9, score=0.3)]
            for number in range(6)
        ]
        whole = scored_slices(labels, predictions, (CAR_BEV, CAR_2M))
        cut = scored_slices(labels, predictions, (CAR_BEV, CAR_2M), chunk_frames=1)
        assert whole == cut
        assert whole[0].num_predictions == 12

    def test_nothing_at_all(self) -> None:
        matches = match([[], []], [[], []])
        assert len(matches.score) == 0
        assert missed_labels(matches, 0, 0.3).tolist() == []


class TestSlices:
    def test_each_slice_has_its_labels_and_wrong_predictions(self) -> None:
        labels = [[row(z_m=10), row(z_m=30, occlusion=1)], [row(z_m=31)]]
        predictions = [[row(z_m=10, score=0.9), row(z_m=33, x_m=9, score=0.8)], []]
        config = SliceConfig(range_edges_m=(0, 20, 40), point_edges=(1, 10), occlusions=(0, 1))
        tags = [("rain",), ("clear", "night")]
        values = scored_slices(labels, predictions, (CAR_BEV,), config=config, tags=tags)
        found = {item.slice: (item.num_labels, item.num_predictions, item.value) for item in values}
        assert found == {
            "all": (3, 2, pytest.approx(0.325)),
            "range_0_20m": (1, 1, 1.0),
            "range_20_40m": (2, 1, 0.0),
            "occlusion_0": (2, 2, 0.5),
            "occlusion_1": (1, 1, 0.0),
            "tag_clear": (1, 0, 0.0),
            "tag_night": (1, 0, 0.0),
            "tag_rain": (2, 2, 0.5),
        }

    def test_labels_with_points_are_sliced_by_their_number(self) -> None:
        config = SliceConfig(point_edges=(1, 10))
        assert config.points_bin(np.array([-1, 0, 1, 9, 10, 99])).tolist() == [-2, -1, 0, 0, 1, 1]
        assert SliceConfig(range_edges_m=()).range_bin(np.array([5.0])).tolist() == [-1]

    def test_a_hit_outside_the_slice_is_neither_right_nor_wrong(self) -> None:
        config = SliceConfig(range_edges_m=(0, 20, 40))
        values = scored_slices([[row(z_m=19.9)]], [[row(z_m=20.1, score=0.9)]], config=config)
        by_slice = {item.slice: (item.value, item.num_predictions) for item in values}
        assert by_slice["range_0_20m"] == (1.0, 1)
        assert "range_20_40m" not in by_slice  # no label to be found there


class TestFailures:
    def test_weak_finds_are_misses_and_confident_mistakes_are_listed(self) -> None:
        labels = [[row(z_m=10), row(z_m=30), row(z_m=60)]]
        predictions = [
            [row(z_m=10, score=0.9), row(z_m=30, score=0.1), row(z_m=45, score=0.4)],
        ]
        matches = match(labels, predictions)
        assert missed_labels(matches, 0, 0.3).tolist() == [1, 2]
        wrong = false_positives(matches, 0, 0.3)
        assert matches.score[wrong].tolist() == [0.4]

    def test_a_failure_carries_the_key_of_its_frame(self) -> None:
        matches = match([[row(x_m=-30, z_m=40)]], [[]])
        key = FrameKey("log", "scene", 7)
        failure = describe_missed(matches, np.array([0]), [key])[0]
        assert (failure.log, failure.scene, failure.timestamp_ns) == key
        assert failure.frame == "log/scene/7"
        assert failure.range_m == 50.0
        assert failure.kind == "missed"

    def test_the_worst_are_kept_over_all_chunks(self) -> None:
        failures = FailureList("bev", 0.3, 2)
        for number, score in enumerate((0.4, 0.9, 0.5, 0.8)):
            labels = [[row(z_m=60)]]
            matches = match(labels, [[row(z_m=20, score=score)]])
            failures.add(matches, [f"{number:06d}"])
        kept = failures.failures()
        assert (failures.num_missed, failures.num_false_positives) == (4, 4)
        wrong = [item.score for item in kept if item.kind == "false_positive"]
        assert wrong == [0.9, 0.8]
        assert [item.frame for item in kept if item.kind == "missed"] == ["000000", "000001"]
        nothing = FailureList("bev", 0.3, 0)
        nothing.add(matches, ["a"])
        assert nothing.failures() == ()
        assert nothing.num_missed == 1


class TestFlatBoxes:
    def test_lake_boxes_and_kitti_rows_are_the_same(self) -> None:
        table = flat([[row(x_m=3, z_m=4, turn_rad=0.5)], []])
        boxes = Boxes.make(
            table.boxes_7[:, :3], table.boxes_7[:, 3:6], table.boxes_7[:, 6], ["car"]
        )
        other = FlatBoxes.from_frames(["a", "b"], [boxes, Boxes.empty()])
        assert other.offsets.tolist() == table.offsets.tolist() == [0, 1, 1]
        np.testing.assert_allclose(other.boxes_7, table.boxes_7)
        assert other.category_names == ("car",)

    def test_the_observation_angle(self) -> None:
        """KITTI's alpha is rotation_y - atan2(x, z): a 3-4-5 bearing."""
        boxes = flat([[row(x_m=3, z_m=4, turn_rad=0.5)]]).boxes_7
        assert observation_angle(boxes)[0] == pytest.approx(0.5 - np.arctan2(3, 4))

    def test_no_frames(self) -> None:
        assert len(FlatBoxes.from_frames([], [])) == 0
        assert FlatBoxes.from_frames(["a"], [Boxes.empty()]).num_frames == 1
