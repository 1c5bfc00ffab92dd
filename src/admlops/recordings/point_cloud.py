"""Unpacks sensor_msgs/PointCloud2 in whatever layout the driver chose."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError

TimeUnit = Literal["auto", "s", "us", "ns"]

MAX_POINTS = 20_000_000
_MAX_POINT_BYTES = 65_536

_DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
_INTENSITY_NAMES = ("intensity", "i", "reflectivity", "intensities")
_RING_NAMES = ("ring", "channel", "line", "laser_id")
_TIME_NAMES = ("time", "t", "timestamp", "time_stamp", "offset_time", "point_time_offset")
_NS_PER_UNIT = {"s": 1e9, "us": 1e3, "ns": 1.0}
_LONGEST_SWEEP_S = 1e6
"""A point's time beyond this is counted from the epoch and not from the stamp."""


@dataclass(frozen=True, slots=True)
class PointField:
    """One field of a point.

    Attributes:
        name: for example "x".
        offset: byte offset in a point.
        datatype: number of PointField.msg, 1 (int8) to 8 (float64).
        count: how many values; only the first is used.
    """

    name: str
    offset: int
    datatype: int
    count: int


@dataclass(frozen=True, slots=True)
class RawCloud:
    """A point cloud as it was recorded.

    Attributes:
        fields: what a point holds.
        width: points in a row.
        height: rows; 1 for an unordered cloud.
        point_step: bytes from one point to the next.
        row_step: bytes from one row to the next.
        is_bigendian: byte order.
        data: the points.
    """

    fields: tuple[PointField, ...]
    width: int
    height: int
    point_step: int
    row_step: int
    is_bigendian: bool
    data: bytes | memoryview

    @property
    def num_points(self) -> int:
        """Number of points, padding included."""
        return self.width * self.height if len(self.data) else 0


@dataclass(frozen=True, slots=True)
class PointCloud:
    """The points of a cloud that are real returns.

    Attributes:
        points: (N, 4) float32, x y z in metres in the sensor's frame and intensity as recorded.
        offset_ns: (N,) int64 time of each point after the header's stamp, or None.
        ring: (N,) int64 beam of each point, or None.
        full_scale: largest value that the type of the intensity can hold; 0 for floats.
    """

    points: NDArray[np.float32]
    offset_ns: NDArray[np.int64] | None
    ring: NDArray[np.int64] | None
    full_scale: float


def decode_cloud(raw: RawCloud, stamp_ns: int, time_unit: TimeUnit = "auto") -> PointCloud:
    """Return the points with finite coordinates that are not the origin (no return).

    Args:
        raw: the message.
        stamp_ns: its header's stamp.
        time_unit: of the field with the points' times. "auto": integers are nanoseconds, floats
            seconds.

    Raises:
        DataError: the layout contradicts itself or names no x, y, z.
    """
    table = _as_table(raw)
    xyz = np.empty((table.size, 3), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, name in enumerate("xyz"):
            xyz[:, axis] = table[name].reshape(-1)
    is_return = np.isfinite(xyz).all(axis=1) & (xyz != 0.0).any(axis=1)
    points = np.zeros((int(is_return.sum()), 4), dtype=np.float32)
    points[:, :3] = xyz[is_return]
    intensity = _column(table, _INTENSITY_NAMES)
    full_scale = 0.0
    if intensity is not None:
        with np.errstate(over="ignore", invalid="ignore"):
            values = intensity[is_return].astype(np.float32)
        points[:, 3] = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        if intensity.dtype.kind in "iu":
            full_scale = float(np.iinfo(intensity.dtype.str).max)
    times, ring = _column(table, _TIME_NAMES), _column(table, _RING_NAMES)
    return PointCloud(
        points=points,
        offset_ns=None if times is None else _offsets_ns(times[is_return], stamp_ns, time_unit),
        ring=None if ring is None or ring.dtype.kind == "f" else ring[is_return].astype(np.int64),
        full_scale=full_scale,
    )


def _as_table(raw: RawCloud) -> NDArray[np.void]:
    """Return a (height, width) view of structured points; no byte is copied."""
    dtype = _point_dtype(raw)
    size = raw.width * raw.height
    if size == 0:
        return np.empty((0, 0), dtype=dtype)
    if size > MAX_POINTS:
        raise DataError(f"a cloud of {size} points; at most {MAX_POINTS} are read")
    row_step = raw.row_step if raw.height > 1 else max(raw.row_step, raw.width * raw.point_step)
    if row_step < raw.width * raw.point_step:
        raise DataError(f"rows of {raw.width} points of {raw.point_step} bytes in {row_step} bytes")
    needed = row_step * (raw.height - 1) + raw.width * raw.point_step
    if len(raw.data) < needed:
        raise DataError(f"a cloud of {size} points in {len(raw.data)} of {needed} bytes")
    return np.ndarray((raw.height, raw.width), dtype, raw.data, strides=(row_step, raw.point_step))


def _point_dtype(raw: RawCloud) -> np.dtype[np.void]:
    if not 0 < raw.point_step <= _MAX_POINT_BYTES:
        raise DataError(f"points of {raw.point_step} bytes; 1 to {_MAX_POINT_BYTES} are read")
    order = ">" if raw.is_bigendian else "<"
    names, formats, offsets = [], [], []
    for item in raw.fields:
        if item.datatype not in _DATATYPES:
            raise DataError(f"field {item.name!r} has datatype {item.datatype}; 1 to 8 are known")
        code = _DATATYPES[item.datatype]
        if item.offset + int(code[1]) > raw.point_step:
            raise DataError(
                f"field {item.name!r} lies beyond the {raw.point_step} bytes of a point"
            )
        if item.name and item.name not in names:
            names.append(item.name)
            formats.append(order + code)
            offsets.append(item.offset)
    missing = [name for name in "xyz" if name not in names]
    if missing:
        found = ", ".join(names) or "none"
        raise DataError(f"a cloud without the field(s) {', '.join(missing)}; it has {found}")
    layout = {
        "names": names, "formats": formats, "offsets": offsets, "itemsize": raw.point_step
    }  # fmt: skip
    return np.dtype(layout)  # type: ignore[call-overload]


def _column(table: NDArray[np.void], names: tuple[str, ...]) -> NDArray[np.generic] | None:
    present = table.dtype.names or ()
    for name in names:
        if name in present:
            column: NDArray[np.generic] = table[name].reshape(-1)
            return column.astype(column.dtype.newbyteorder("="))
    return None


def _offsets_ns(
    times: NDArray[np.generic], stamp_ns: int, unit: TimeUnit
) -> NDArray[np.int64] | None:
    """Return times of points after the stamp; None where they say nothing."""
    if len(times) == 0:
        return np.empty(0, dtype=np.int64)
    is_integer = times.dtype.kind in "iu"
    scale = _NS_PER_UNIT[unit if unit != "auto" else "ns" if is_integer else "s"]
    values = times.astype(np.float64) * scale
    if not np.isfinite(values).all() or np.abs(values).max() > 2.0**62:
        return None
    if np.abs(values).max() > _LONGEST_SWEEP_S * 1e9:
        if is_integer:
            whole = times.astype(np.int64)
            scaled = whole - stamp_ns // int(scale)
            return scaled * int(scale) - stamp_ns % int(scale)
        seconds = times.astype(np.float64) * (scale * 1e-9) - stamp_ns // 1_000_000_000
        return np.rint(seconds * 1e9).astype(np.int64) - stamp_ns % 1_000_000_000
    return np.rint(values).astype(np.int64)
