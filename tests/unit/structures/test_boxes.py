import numpy as np
import pytest

from admlops.structures.boxes import Boxes


def two_boxes() -> Boxes:
    return Boxes.make(
        [[1, 2, 3], [4, 5, 6]], [[4, 2, 1.5]] * 2, [0, 1], ["car", "truck"], score=[0.5, 0.9]
    )


def test_absent_columns_are_marked() -> None:
    boxes = two_boxes()
    assert np.isnan(boxes.box2d_px).all()
    assert boxes.box2d_px.shape == (2, 4)
    assert boxes.num_points.tolist() == [-1, -1]
    assert boxes.track_id.tolist() == ["", ""]


def test_empty_boxes_concatenate_and_select() -> None:
    boxes = Boxes.concatenate([Boxes.empty(), two_boxes(), Boxes.empty()])
    assert len(boxes) == 2
    assert len(boxes.select([])) == 0
    assert len(Boxes.concatenate([])) == 0
    assert boxes.select(boxes.score > 0.6).category.tolist() == ["truck"]
    assert boxes.select(slice(0, 1)).as_7().tolist() == [[1, 2, 3, 4, 2, 1.5, 0]]
    assert Boxes.empty().as_7().shape == (0, 7)


def test_replace_keeps_the_other_columns() -> None:
    moved = two_boxes().replace(yaw_rad=[2.0, 3.0])
    assert moved.yaw_rad.tolist() == [2, 3]
    assert moved.score.tolist() == [0.5, 0.9]


def test_wrong_row_count_and_unknown_column_are_refused() -> None:
    with pytest.raises(ValueError, match="reshape"):
        Boxes.make([[1, 2, 3]], [[4, 2, 1.5]] * 2, [0, 1], ["car", "truck"])
    with pytest.raises(ValueError, match="no field.*colour"):
        Boxes.make([[1, 2, 3]], [[4, 2, 1.5]], [0], ["car"], colour=[1])
