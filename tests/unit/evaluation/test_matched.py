import numpy as np
import pytest

from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.matched import average_precision
from admlops.evaluation.measures import Matcher, Measure
from admlops.structures.boxes import Boxes


def cars(x_m, score=None) -> Boxes:
    boxes = Boxes.make(
        [[x, 0, 0.8] for x in x_m], [[4, 2, 1.6]] * len(x_m), [0.0] * len(x_m), ["car"] * len(x_m)
    )
    return boxes if score is None else boxes.replace(score=np.array(score))


def scored(labels: list[Boxes], predictions: list[Boxes]) -> float:
    names = [str(number) for number in range(len(labels))]
    matcher = Matcher((Measure("car", "bev", 0.5),), {})
    (matches,) = matcher.match(
        FlatBoxes.from_frames(names, labels), FlatBoxes.from_frames(names, predictions)
    )
    return average_precision(matches, 0)


def test_perfect_answers_score_one() -> None:
    assert (
        scored([cars([10, 20]), cars([30])], [cars([20, 10], [0.9, 0.1]), cars([30], [0.5])]) == 1
    )


def test_a_surer_mistake_in_another_frame_costs_precision() -> None:
    # best first: wrong, right, right; precision 1/2 up to recall 1/2, then 2/3
    labels = [cars([10]), cars([10])]
    predictions = [cars([10, 40], [0.5, 0.9]), cars([10], [0.4])]
    assert scored(labels, predictions) == pytest.approx(2 / 3)


def test_half_of_the_labels_found_is_half_of_the_recall() -> None:
    assert scored([cars([10, 20])], [cars([10], [0.5])]) == pytest.approx(0.5)


def test_without_labels_there_is_no_score() -> None:
    assert np.isnan(scored([cars([])], [cars([10], [0.5])]))
