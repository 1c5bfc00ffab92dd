import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.formats.kitti.labels import parse_labels
from admlops.formats.kitti.writer import label_rows
from admlops.geometry.pose import wrap_angle
from admlops.structures.boxes import Boxes

finite = {"allow_nan": False, "allow_infinity": False}
box = st.tuples(
    st.floats(-100, 100, **finite),
    st.floats(-100, 100, **finite),
    st.floats(-5, 5, **finite),
    st.floats(0.1, 20, **finite),
    st.floats(0.1, 5, **finite),
    st.floats(0.1, 5, **finite),
    st.floats(-np.pi, np.pi, **finite),
)


@settings(deadline=None)  # the first call compiles
@given(st.lists(box, max_size=5))
def test_boxes_come_back_from_their_rows(rows):
    rows_7 = np.array(rows, dtype=np.float64).reshape(-1, 7)
    boxes = Boxes.make(rows_7[:, :3], rows_7[:, 3:6], rows_7[:, 6], ["car"] * len(rows))
    table = parse_labels([label_rows(boxes).encode()], ["000000"])
    assert np.abs(table.as_7()[:, :6] - rows_7[:, :6]).max(initial=0) < 1e-4
    assert np.abs(wrap_angle(table.as_7()[:, 6] - rows_7[:, 6])).max(initial=0) < 1e-4


def test_a_row_is_what_the_development_kit_says():
    # A car 10 m ahead and 2 m to the left that faces away: rotation_y is -90 degrees.
    boxes = Boxes.make(
        [[10.0, 2.0, 0.75]],
        [[4.0, 1.8, 1.5]],
        [0.0],
        ["person_sitting"],
        occlusion=[1],
        truncation=[0.25],
        box2d_px=[[1.0, 2.0, 30.0, 40.0]],
    )
    regions = np.array([[5.0, 6.0, 7.0, 8.0]])
    first, second = label_rows(boxes, regions).splitlines()
    words = first.split()
    assert words[:3] == ["Person_sitting", "0.25", "1"]
    alpha = -np.pi / 2 + np.arctan2(2.0, 10.0)
    expected = [alpha, 1, 2, 30, 40, 1.5, 1.8, 4.0, -2.0, 1.65, 10.0, -np.pi / 2]
    assert np.allclose([float(word) for word in words[3:]], expected, atol=1e-6)
    assert second == "DontCare -1 -1 -10 5.00 6.00 7.00 8.00 -1 -1 -1 -1000 -1000 -1000 -10"


def test_predictions_carry_their_score():
    boxes = Boxes.make([[10.0, 2.0, 0.75]], [[4.0, 1.8, 1.5]], [0.0], ["car"], score=[0.5])
    row = label_rows(boxes)
    assert row.split()[-1] == "0.500000"
    assert len(row.split()) == 16
    assert row.split()[1:3] == ["-1.00", "-1"]


def test_no_boxes_are_no_rows():
    assert label_rows(Boxes.empty()) == ""
