"""KITTI label files: strict, exact and tolerant of line endings."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from admlops.errors import DataError
from admlops.formats.kitti.labels import list_label_names, parse_labels, read_label_folder

CAR = b"Car 0.25 1 -1.57 10.5 20 110.5 80.25 1.5 1.8 4.2 2.0 1.65 20.0 -1.5707963267948966"


def test_every_column_is_in_its_place() -> None:
    table = parse_labels([CAR + b" 0.75\n"], ["000000"])
    assert table.type_names == ("car",)
    assert table.truncation.tolist() == [0.25]
    assert table.occlusion.tolist() == [1]
    assert table.alpha_rad.tolist() == [-1.57]
    assert table.box2d_px.tolist() == [[10.5, 20.0, 110.5, 80.25]]
    assert table.size_hwl_m.tolist() == [[1.5, 1.8, 4.2]]
    assert table.bottom_m.tolist() == [[2.0, 1.65, 20.0]]
    assert table.rotation_y_rad.tolist() == [-math.pi / 2]
    assert table.score.tolist() == [0.75]


def test_boxes_move_to_the_ego_frame() -> None:
    """A car on the road that looks away from the camera has yaw 0 and its bottom at z 0."""
    row = parse_labels([CAR], ["000000"]).as_7()[0]
    np.testing.assert_allclose(row, [20.0, -2.0, 0.75, 4.2, 1.8, 1.5, 0.0], atol=1e-12)


def test_rows_without_a_score_have_none() -> None:
    assert np.isnan(parse_labels([CAR], ["000000"]).score[0])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n", b"\r", b"\n\n", b"  \t\r\n"])
def test_any_line_ending_is_taken(ending: bytes) -> None:
    table = parse_labels([ending.join([CAR, CAR, CAR])], ["000000"])
    assert len(table) == 3
    assert table.offsets.tolist() == [0, 3]


def test_files_are_told_apart_and_empty_ones_stay() -> None:
    table = parse_labels([CAR, b"", b"\n\n", CAR + b"\n" + CAR], ["a", "b", "c", "d"])
    assert table.offsets.tolist() == [0, 1, 1, 1, 3]
    assert table.frame_names == ("a", "b", "c", "d")


def test_no_files() -> None:
    table = parse_labels([], [])
    assert len(table) == 0
    assert table.as_7().shape == (0, 7)


def test_types_differ_in_case_only_once() -> None:
    rows = [CAR, CAR.replace(b"Car", b"CAR"), CAR.replace(b"Car", b"Van")]
    table = parse_labels([b"\n".join(rows)], ["000000"])
    assert table.type_names == ("car", "van")
    assert table.type_index.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (CAR.replace(b"20.0", b"2o.0"), "not a number"),
        (CAR.replace(b"20.0", b"nan"), "not a number"),
        (CAR.replace(b"20.0", b"inf"), "not a number"),
        (CAR.replace(b"20.0", b"1.2.3"), "not a number"),
        (CAR.replace(b"20.0", b"1e"), "not a number"),
        (CAR.replace(b"20.0", b"-"), "not a number"),
        (CAR.replace(b"20.0", b"1e999"), "not finite"),
        (CAR.rsplit(b" ", 1)[0], "15 values"),
        (CAR + b" 0.5 0.5", "15 values"),
        (b"Car", "15 values"),
    ],
)
def test_a_wrong_row_is_named(row: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as error:
        parse_labels([CAR, b"\r\n".join([CAR, b"", row])], ["000007", "000008"], "labels")
    assert str(error.value).startswith("labels/000008.txt line 3: ")


@given(st.lists(st.floats(-1e6, 1e6), min_size=14, max_size=14))
def test_numbers_are_read_exactly_however_they_are_written(values: list[float]) -> None:
    values[1] = 1.0
    for text in (
        " ".join(map(repr, values)),
        " ".join(f"{value:.17e}" for value in values),
        " ".join(f"{value:+.2f}" for value in values),
    ):
        table = parse_labels([f"Car {text}".encode()], ["000000"])
        expected = [float(token) for token in text.split()]
        found = np.concatenate(
            [
                table.truncation,
                [1.0],
                table.alpha_rad,
                table.box2d_px[0],
                table.size_hwl_m[0],
                table.bottom_m[0],
                table.rotation_y_rad,
            ]
        )
        assert found.tolist() == expected


def test_a_folder_is_read_in_name_order(tmp_path: Path) -> None:
    (tmp_path / "000002.txt").write_bytes(CAR)
    (tmp_path / "000001.txt").write_bytes(b"")
    (tmp_path / "notes.md").write_bytes(b"not a label")
    assert list_label_names(tmp_path) == ["000001", "000002"]
    assert read_label_folder(tmp_path).offsets.tolist() == [0, 0, 1]
    assert read_label_folder(tmp_path, ["000002"]).frame_names == ("000002",)


def test_absent_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"000009\.txt: label file cannot be read"):
        read_label_folder(tmp_path, ["000009"])
    with pytest.raises(DataError, match="label folder cannot be read"):
        list_label_names(tmp_path / "absent")
