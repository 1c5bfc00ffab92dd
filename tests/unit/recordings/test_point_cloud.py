import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.errors import DataError
from admlops.recordings.point_cloud import PointField, RawCloud, decode_cloud

STAMP_NS = 1_700_000_000_123_456_789
CODES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 8}


def make_raw(columns, codes, *, height=1, gap=0, row_padding=0, big=False, start=0):
    """Lay columns out with `gap` bytes before each field and `row_padding` after each row."""
    order = ">" if big else "<"
    offsets, at = [], start
    for code in codes.values():
        at += gap
        offsets.append(at)
        at += int(code[1])
    dtype = np.dtype(
        {
            "names": list(codes),
            "formats": [order + code for code in codes.values()],
            "offsets": offsets,
            "itemsize": at + gap,
        }
    )
    count = len(next(iter(columns.values())))
    table = np.zeros(count, dtype)
    for name, values in columns.items():
        table[name] = values
    rows = table.reshape(height, -1)
    data = b"".join(row.tobytes() + b"\xff" * row_padding for row in rows)
    fields = tuple(
        PointField(name, offset, CODES[code], 1)
        for (name, code), offset in zip(codes.items(), offsets, strict=True)
    )
    step = dtype.itemsize
    return RawCloud(
        fields, rows.shape[1], height, step, step * rows.shape[1] + row_padding, big, data
    )


XYZI = {"x": [1, -2, 3, 4], "y": [5, 6, 7, 8], "z": [-1, 0, 1, 2], "intensity": [0, 10, 20, 30]}


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("height", [1, 2])
@pytest.mark.parametrize(("gap", "padding", "start"), [(0, 0, 0), (3, 7, 5)])
@pytest.mark.parametrize("code", ["f4", "f8", "i2", "i4"])
def test_every_layout_gives_the_same_points(code, gap, padding, start, height, big):
    codes = {"x": code, "y": code, "z": code, "intensity": "u1"}
    raw = make_raw(
        XYZI, codes, height=height, gap=gap, row_padding=padding, big=big, start=start
    )  # fmt: skip
    cloud = decode_cloud(raw, STAMP_NS)
    assert cloud.points.tolist() == np.column_stack(list(XYZI.values())).tolist()
    assert cloud.full_scale == 255
    assert cloud.offset_ns is None
    assert cloud.ring is None


def test_fields_in_another_order_and_unknown_ones_are_found_by_name():
    codes = {"range": "u4", "z": "f4", "ring": "u2", "y": "f4", "x": "f4", "reflectivity": "u2"}
    columns = {
        "x": [1.5],
        "y": [2.5],
        "z": [3.5],
        "ring": [63],
        "reflectivity": [500],
        "range": [9],
    }
    cloud = decode_cloud(make_raw(columns, codes), STAMP_NS)
    assert cloud.points.tolist() == [[1.5, 2.5, 3.5, 500]]
    assert cloud.ring is not None
    assert cloud.ring.tolist() == [63]
    assert cloud.full_scale == 65535


def test_padding_by_nan_infinity_and_the_origin_is_left_out():
    nan, inf = np.nan, np.inf
    columns = {"x": [1, nan, 2, 0, 3], "y": [0, 0, inf, 0, 0], "z": [0, 0, 0, 0, nan]}
    columns["ring"] = [0, 1, 2, 3, 4]
    codes = {"x": "f4", "y": "f4", "z": "f4", "ring": "u1"}
    cloud = decode_cloud(make_raw(columns, codes), STAMP_NS)
    assert cloud.points.tolist() == [[1, 0, 0, 0]]
    assert cloud.ring is not None
    assert cloud.ring.tolist() == [0]


@pytest.mark.parametrize(
    ("name", "code", "values", "unit", "expected_ns"),
    [
        ("time", "f4", [0.0, 0.05], "auto", [0, 50_000_000]),
        ("time", "f4", [-0.1, 0.0], "auto", [-100_000_000, 0]),
        ("t", "u4", [0, 99_999_000], "auto", [0, 99_999_000]),
        ("offset_time", "u4", [0, 70_000], "us", [0, 70_000_000]),
        (
            "timestamp",
            "f8",
            [1_700_000_000.125, 1_700_000_000.0],
            "auto",
            [1_543_211, -123_456_789],
        ),
        ("t", "f8", [STAMP_NS * 1e-9 * 1e6] * 2, "us", [0, 0]),
    ],
)
def test_times_of_points_are_counted_from_the_stamp(name, code, values, unit, expected_ns):
    columns = {"x": [1, 2], "y": [0, 0], "z": [0, 0], name: values}
    codes = {"x": "f4", "y": "f4", "z": "f4", name: code}
    cloud = decode_cloud(make_raw(columns, codes), STAMP_NS, unit)
    assert cloud.offset_ns is not None
    np.testing.assert_allclose(cloud.offset_ns, expected_ns, atol=500)


def test_absolute_nanoseconds_are_exact():
    fields = tuple(PointField(n, o, 7, 1) for n, o in zip("xyz", (0, 4, 8), strict=True))
    raw = RawCloud((*fields, PointField("timestamp", 12, 8, 1)), 1, 1, 20, 20, False, b"")
    data = np.array([1, 2, 3], "<f4").tobytes() + np.array([STAMP_NS + 1], "<f8").tobytes()
    raw = RawCloud(raw.fields, 1, 1, 20, 20, False, data)
    cloud = decode_cloud(raw, STAMP_NS, "ns")
    assert cloud.offset_ns is not None
    assert abs(int(cloud.offset_ns[0])) <= 1_000  # float64 holds the epoch to 256 ns


def test_a_cloud_without_points_is_empty_and_not_an_error():
    raw = make_raw({"x": [1.0], "y": [1.0], "z": [1.0]}, {"x": "f4", "y": "f4", "z": "f4"})
    empty = RawCloud(raw.fields, 0, 1, raw.point_step, 0, False, b"")
    assert len(decode_cloud(empty, STAMP_NS).points) == 0
    assert empty.num_points == 0


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"data": b"short"}, "5 of"),
        ({"row_step": 3}, "in 3 bytes"),
        ({"point_step": 5}, "beyond the 5 bytes"),
        ({"width": 2**31}, "at most"),
        ({"point_step": 2**31}, "points of 2147483648 bytes"),
        ({"point_step": 0}, "points of 0 bytes"),
        ({"fields": ()}, "without the field"),
    ],
)
def test_a_layout_that_contradicts_itself_is_refused(change, match):
    codes = {"x": "f4", "y": "f4", "z": "f4", "intensity": "f4"}
    raw = make_raw(XYZI, codes, height=2)
    values = {name: getattr(raw, name) for name in raw.__slots__} | change
    with pytest.raises(DataError, match=match):
        decode_cloud(RawCloud(**values), STAMP_NS)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 40) | st.integers(0, 2**32 - 1),
    st.integers(0, 5) | st.integers(0, 2**32 - 1),
    st.integers(0, 40) | st.integers(0, 2**32 - 1),
    st.integers(0, 200) | st.integers(0, 2**32 - 1),
    st.lists(  # x, y and z are always among the fields: the layout is what is wrong
        st.builds(
            PointField,
            st.sampled_from(["x", "y", "z", "t", "ring", "", "intensity"]),
            st.integers(0, 40),
            st.integers(0, 9),
            st.integers(0, 2),
        ),
        max_size=8,
    ),
    st.binary(max_size=200),
)
def test_any_layout_is_read_or_refused(width, height, point_step, row_step, fields, data):
    xyz = tuple(PointField(name, 4 * at, 7, 1) for at, name in enumerate("xyz"))
    raw = RawCloud((*xyz, *fields), width, height, point_step, row_step, False, data)
    try:
        cloud = decode_cloud(raw, STAMP_NS)
    except DataError:
        return
    assert np.isfinite(cloud.points).all()
