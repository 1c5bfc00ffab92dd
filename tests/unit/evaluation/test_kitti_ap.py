"""KITTI's average precision in cases that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_text import flat, row, spread_scores, take_frames

from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.kitti import KittiEvaluator, KittiProtocol, KittiResult
from admlops.formats.kitti.labels import read_label_folder

CARS = KittiProtocol(categories=("car",))
AP_2D, AP_BEV, AP_3D, AOS = range(4)
EASY, MODERATE, HARD = range(3)


def score(
    labels: list[list[str]], predictions: list[list[str]], protocol: KittiProtocol = CARS
) -> KittiResult:
    evaluator = KittiEvaluator(protocol)
    evaluator.add(flat(labels), flat(predictions))
    return evaluator.result()


def r40(result: KittiResult) -> np.ndarray:
    return result.average_precision(40)[0]


def hundred(**values: float) -> list[list[str]]:
    return [[row(**values)] for _ in range(100)]


def found(low: float = 0.5, high: float = 0.9, **values: float) -> list[list[str]]:
    return [[row(score=s, **values)] for s in spread_scores(100, low, high)]


def test_every_label_found_and_nothing_else_gives_100() -> None:
    assert r40(score(hundred(), found())) == pytest.approx(100.0)


def test_one_label_reaches_recall_zero_only() -> None:
    """The official program samples precision once for each label found: 1 of 41, so 1 of 11."""
    result = score([[row()]], [[row(score=0.9), row(x_m=9, left_px=400, score=0.8)]])
    assert r40(result) == pytest.approx(0.0)
    assert result.average_precision(11)[0] == pytest.approx(100 / 11)


def test_a_wrong_prediction_with_a_better_score_halves_that() -> None:
    result = score([[row()]], [[row(score=0.8), row(x_m=9, left_px=400, score=0.9)]])
    assert result.average_precision(11)[0] == pytest.approx(50 / 11)


def test_wrong_predictions_below_all_right_ones_cost_nothing() -> None:
    predictions = [[*right, row(x_m=9, left_px=400, score=0.1)] for right in found()]
    assert r40(score(hundred(), predictions)) == pytest.approx(100.0)


def test_as_many_wrong_predictions_above_cost_half() -> None:
    predictions = [[*right, row(x_m=9, left_px=400, score=0.95)] for right in found()]
    assert r40(score(hundred(), predictions)) == pytest.approx(50.0)


def test_ties_are_counted_together_in_any_order() -> None:
    right, wrong = row(score=0.5), row(x_m=9, left_px=400, score=0.5)
    for frame in ([right, wrong], [wrong, right]):
        assert r40(score(hundred(), [frame] * 100)) == pytest.approx(50.0)


def test_half_the_labels_found_gives_half() -> None:
    predictions = found()[:50] + [[] for _ in range(50)]
    assert r40(score(hundred(), predictions)) == pytest.approx(50.0)


def test_dont_care_forgives_in_the_image_only() -> None:
    """Its place in space is -1000: nothing can lie in it there."""
    region = "DontCare -1 -1 -10 390 90 520 160 -1 -1 -1 -1000 -1000 -1000 -10"
    labels = [[*frame, region] for frame in hundred()]
    predictions = [[*right, row(x_m=9, left_px=400, score=0.95)] for right in found()]
    result = r40(score(labels, predictions))
    assert result[AP_2D] == pytest.approx(100.0)
    assert result[AP_BEV] == pytest.approx(50.0)
    assert result[AP_3D] == pytest.approx(50.0)


def test_a_neighbouring_category_is_neither_right_nor_wrong() -> None:
    labels = [[*frame, row("Van", x_m=9, left_px=400)] for frame in hundred()]
    predictions = [[*right, row(x_m=9, left_px=400, score=0.95)] for right in found()]
    assert r40(score(labels, predictions)) == pytest.approx(100.0)
    strict = KittiProtocol(categories=("car",), neighbours={})
    assert r40(score(labels, predictions, strict)) == pytest.approx(50.0)


def test_person_sitting_is_a_neighbour_of_pedestrian() -> None:
    protocol = KittiProtocol(categories=("pedestrian",))
    labels = [[row("Pedestrian"), row("Person_sitting", x_m=9, left_px=400)]] * 100
    predictions = [
        [row("Pedestrian", score=s), row("Pedestrian", x_m=9, left_px=400, score=0.95)]
        for s in spread_scores(100, 0.5, 0.9)
    ]
    assert r40(score(labels, predictions, protocol)) == pytest.approx(100.0)


def test_other_categories_do_not_count() -> None:
    labels = [[*frame, row("Tram", x_m=9, left_px=400)] for frame in hundred()]
    predictions = [[*right, row("Cyclist", score=0.99)] for right in found()]
    assert r40(score(labels, predictions)) == pytest.approx(100.0)


def test_small_predictions_are_not_judged() -> None:
    """Lower than 40 px at easy, than 25 px at moderate and hard."""
    predictions = [[*right, row(x_m=9, left_px=400, height_px=30, score=0.95)] for right in found()]
    result = r40(score(hundred(), predictions))
    assert result[:, EASY] == pytest.approx(100.0)
    assert result[:, MODERATE] == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({}, [100, 100, 100]),
        ({"height_px": 39.0}, [0, 100, 100]),
        ({"height_px": 24.0}, [0, 0, 0]),
        ({"occlusion": 1}, [0, 100, 100]),
        ({"occlusion": 2}, [0, 0, 100]),
        ({"occlusion": 3}, [0, 0, 0]),
        ({"truncation": 0.15}, [100, 100, 100]),
        ({"truncation": 0.2}, [0, 100, 100]),
        ({"truncation": 0.4}, [0, 0, 100]),
        ({"truncation": 0.6}, [0, 0, 0]),
    ],
)
def test_difficulties(values: dict[str, float], counted: list[int]) -> None:
    result = score(hundred(**values), found())
    assert result.num_labels[0].tolist() == counted
    expected = [100.0 if count else 0.0 for count in counted]
    assert r40(result)[AP_3D].tolist() == pytest.approx(expected)


def test_opposite_headings_have_no_orientation_similarity() -> None:
    result = r40(score(hundred(), found(turn_rad=np.pi)))
    assert result[AP_2D] == pytest.approx(100.0)
    assert result[AOS] == pytest.approx(0.0, abs=1e-9)
    assert r40(score(hundred(), found(turn_rad=np.pi / 2)))[AOS] == pytest.approx(50.0)


def test_one_unknown_angle_makes_orientation_unknown() -> None:
    predictions = found()
    predictions[0] = [row(score=0.9, turn_rad=-10)]
    result = score(hundred(), predictions)
    assert np.isnan(r40(result)[AOS]).all()
    assert result.to_json_dict()["car"]["aos"]["R40"] == [None, None, None]


def test_the_overlap_must_be_exceeded() -> None:
    """A shift by 0.5 m of a 2 m wide car is an overlap of 0.6."""
    shifted = found(x_m=0.5 * np.cos(0), turn_rad=np.pi / 2)
    turned = hundred(turn_rad=np.pi / 2)
    loose = KittiProtocol(categories=("car",), overlaps={"car": 0.59})
    tight = KittiProtocol(categories=("car",), overlaps={"car": 0.61})
    assert r40(score(turned, shifted, loose))[AP_BEV] == pytest.approx(100.0)
    assert r40(score(turned, shifted, tight))[AP_BEV] == pytest.approx(0.0)


def test_no_predictions_or_no_labels_give_zero() -> None:
    empty: list[list[str]] = [[] for _ in range(100)]
    for labels, predictions in ((hundred(), empty), (empty, found()), (empty, empty), ([], [])):
        result = score(labels, predictions)
        assert not result.precision.any()
        assert result.num_frames == len(labels)


def test_any_category_can_be_scored() -> None:
    protocol = KittiProtocol(categories=("truck", "car"), overlaps={"truck": 0.3})
    labels = [[row("Truck")] for _ in range(100)]
    predictions = [[row("truck", score=s)] for s in spread_scores(100, 0.1, 0.9)]
    result = score(labels, predictions, protocol)
    assert r40(result) == pytest.approx(100.0)
    assert result.average_precision(40)[1] == pytest.approx(0.0)


def test_frames_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="same frames"):
        KittiEvaluator(CARS).add(flat([[]]), flat([[], []]))


def test_labels_as_predictions_give_100(real_data: Path) -> None:
    labels = FlatBoxes.from_label_table(
        read_label_folder(real_data / "kitti_eval_reference/label_2")
    )
    rng = np.random.default_rng(0)
    known = replace(
        labels,
        score=rng.uniform(0.1, 1.0, len(labels)),
        alpha_rad=np.maximum(labels.alpha_rad, -9.0),
    )
    evaluator = KittiEvaluator(KittiProtocol(categories=("car", "pedestrian")))
    evaluator.add(labels, known)
    result = evaluator.result()
    enough = np.broadcast_to((result.num_labels > 80)[:, None, :], (2, 4, 3))
    assert enough.sum() >= 16
    assert result.average_precision(40)[enough] == pytest.approx(100.0)


@pytest.mark.parametrize("chunk_frames", [1, 50, 447])
def test_chunks_and_the_order_of_frames_and_rows_change_nothing(
    real_data: Path, chunk_frames: int
) -> None:
    folder = real_data / "kitti_eval_reference"
    labels = FlatBoxes.from_label_table(read_label_folder(folder / "label_2"))
    predictions = FlatBoxes.from_label_table(read_label_folder(folder / "detections"))
    whole = KittiEvaluator(KittiProtocol())
    whole.add(labels, predictions)
    rng = np.random.default_rng(7)
    order = rng.permutation(labels.num_frames)
    shuffled = KittiEvaluator(KittiProtocol())
    for start in range(0, len(order), chunk_frames):
        chosen = order[start : start + chunk_frames]
        shuffled.add(take_frames(labels, chosen, None), take_frames(predictions, chosen, rng))
    np.testing.assert_allclose(shuffled.result().precision, whole.result().precision, atol=1e-12)
