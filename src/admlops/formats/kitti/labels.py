"""KITTI label and result files as flat columns, parsed strictly and fast.

A row is ``type truncation occlusion alpha left top right bottom height width length x y z
rotation_y`` and, in result files, ``score``; lengths in metres in the rectified camera frame (x
right, y down, z forward), x y z is the middle of the box's bottom.
Source: KITTI object development kit, readme.txt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.pose import wrap_angle

CAMERA_HEIGHT_M = 1.65
"""Height of KITTI's cameras above the road. Source: Geiger et al., "Vision meets robotics"."""

_NUM_NUMBERS = 14
_POWERS_OF_TEN = np.array([float(f"1e{power}") for power in range(23)])
_NOT_A_NUMBER, _NOT_FINITE, _WRONG_COUNT = 1, 2, 3
_REASONS = {
    _NOT_A_NUMBER: "a value after the type is not a number",
    _NOT_FINITE: "a value is not finite",
    _WRONG_COUNT: "a row has 15 values, or 16 with a score",
}


@dataclass(frozen=True, slots=True)
class LabelTable:
    """The N rows of F label files, in file and row order.

    Attributes:
        frame_names: (F) file names without suffix.
        offsets: (F + 1,) int64; the rows of frame f are offsets[f] to offsets[f + 1].
        type_names: distinct types, lower case, for example "car", "dontcare", "person_sitting".
        type_index: (N,) int64 into `type_names`.
        truncation: (N,) float64 as written: 0 to 1, -1 where unknown.
        occlusion: (N,) int64 as written: 0 to 3, -1 where unknown.
        alpha_rad: (N,) float64 observation angle; -10 where unknown.
        box2d_px: (N, 4) float64 left top right bottom.
        size_hwl_m: (N, 3) float64 height, width, length.
        bottom_m: (N, 3) float64 middle of the bottom, rectified camera frame.
        rotation_y_rad: (N,) float64 about the camera's y axis.
        score: (N,) float64; NaN in rows without one.
    """

    frame_names: tuple[str, ...]
    offsets: NDArray[np.int64]
    type_names: tuple[str, ...]
    type_index: NDArray[np.int64]
    truncation: NDArray[np.float64]
    occlusion: NDArray[np.int64]
    alpha_rad: NDArray[np.float64]
    box2d_px: NDArray[np.float64]
    size_hwl_m: NDArray[np.float64]
    bottom_m: NDArray[np.float64]
    rotation_y_rad: NDArray[np.float64]
    score: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.type_index)

    def as_7(self) -> NDArray[np.float64]:
        """Return (N, 7) boxes x y z length width height yaw in the ego frame.

        The ego frame is the rectified camera frame with permuted axes, its origin moved down to
        the road by `CAMERA_HEIGHT_M`.
        """
        rows = np.empty((len(self), 7))
        height_m = self.size_hwl_m[:, 0]
        rows[:, 0] = self.bottom_m[:, 2]
        rows[:, 1] = -self.bottom_m[:, 0]
        rows[:, 2] = CAMERA_HEIGHT_M - self.bottom_m[:, 1] + height_m / 2.0
        rows[:, 3] = self.size_hwl_m[:, 2]
        rows[:, 4] = self.size_hwl_m[:, 1]
        rows[:, 5] = height_m
        rows[:, 6] = wrap_angle(-(self.rotation_y_rad + np.pi / 2.0))
        return rows

    @classmethod
    def _from_numbers(
        cls,
        frame_names: tuple[str, ...],
        offsets: NDArray[np.int64],
        types: tuple[tuple[str, ...], NDArray[np.int64]],
        numbers: NDArray[np.float64],
    ) -> Self:
        return cls(
            frame_names=frame_names,
            offsets=offsets,
            type_names=types[0],
            type_index=types[1],
            truncation=numbers[:, 0],
            occlusion=np.clip(numbers[:, 1], -1.0, 99.0).astype(np.int64),
            alpha_rad=numbers[:, 2],
            box2d_px=numbers[:, 3:7],
            size_hwl_m=numbers[:, 7:10],
            bottom_m=numbers[:, 10:13],
            rotation_y_rad=numbers[:, 13],
            score=numbers[:, 14],
        )


def list_label_names(folder: Path) -> list[str]:
    """Return the names, without suffix and sorted, of the ``.txt`` files in a folder.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        return sorted(path.stem for path in folder.iterdir() if path.suffix == ".txt")
    except OSError as error:
        raise DataError(f"{folder}: label folder cannot be read ({error.strerror})") from error


def read_label_folder(folder: Path, names: Sequence[str] | None = None) -> LabelTable:
    """Read ``folder/<name>.txt`` for each name, or all of them in name order.

    Raises:
        DataError: a file is absent or a row is wrong; names file and line.
    """
    chosen = tuple(list_label_names(folder) if names is None else names)
    contents = []
    for name in chosen:
        try:
            contents.append((folder / f"{name}.txt").read_bytes())
        except OSError as error:
            where = folder / f"{name}.txt"
            raise DataError(f"{where}: label file cannot be read ({error.strerror})") from error
    return parse_labels(contents, chosen, str(folder))


def parse_labels(contents: Sequence[bytes], names: Sequence[str], folder: str = "") -> LabelTable:
    """Parse the contents of label files; any line ending is taken, blank lines are skipped.

    Raises:
        DataError: a row is wrong; names file and line.
    """
    sizes = np.array([len(content) + 1 for content in contents], dtype=np.int64)
    starts = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(sizes)])
    text = np.frombuffer(b"\n".join([*contents, b""]), dtype=np.uint8)
    offsets, spans, numbers, slow, problem = _parse(text, starts)
    if problem[0]:
        where = _locate(problem[1], starts, names, text, folder)
        raise DataError(f"{where}: {_REASONS[int(problem[0])]}; mend or remove the row")
    for row in np.flatnonzero(slow):
        tokens = text[spans[row, 0] : spans[row, 2]].tobytes().split()[1:]
        numbers[row, : len(tokens)] = [float(token) for token in tokens]
        if np.isinf(numbers[row]).any():
            where = _locate(spans[row, 0], starts, names, text, folder)
            raise DataError(f"{where}: {_REASONS[_NOT_FINITE]}; mend or remove the row")
    types = _name_types(text, spans)
    return LabelTable._from_numbers(tuple(names), offsets, types, numbers)


def _locate(
    position: int,
    starts: NDArray[np.int64],
    names: Sequence[str],
    text: NDArray[np.uint8],
    folder: str,
) -> str:
    file = int(np.searchsorted(starts, position, side="right")) - 1
    before = text[starts[file] : position].tobytes()
    line = before.replace(b"\r\n", b"\n").replace(b"\r", b"\n").count(b"\n") + 1
    return f"{Path(folder) / names[file]}.txt line {line}"


def _name_types(
    text: NDArray[np.uint8], spans: NDArray[np.int64]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return distinct lower-case type names in alphabetic order, and the (N,) index of each row."""
    _, first, inverse = np.unique(spans[:, 3], return_index=True, return_inverse=True)
    written = [
        text[spans[row, 0] : spans[row, 1]].tobytes().decode(errors="replace").lower()
        for row in first
    ]
    names = tuple(sorted(set(written)))
    position = np.array([names.index(name) for name in written], dtype=np.int64)
    return names, position[inverse.reshape(-1)] if written else np.empty(0, dtype=np.int64)


@njit(cache=True, nogil=True)
def _is_space(byte: int) -> bool:
    return byte == 32 or byte == 9


@njit(cache=True, nogil=True)
def _is_line_end(byte: int) -> bool:
    return byte == 10 or byte == 13


@njit(cache=True, nogil=True)
def _parse_number(text: NDArray[np.uint8], start: int, end: int) -> tuple[float, int]:
    """Return a number and 0, or -1 where only a slow parser is exact, or a problem.

    Exact while the digits fit 2**53 and the power of ten is at most 22.
    Source: Clinger, "How to read floating point numbers accurately", 1990.
    """
    at = start
    sign = 1.0
    if text[at] == 45 or text[at] == 43:
        sign = -1.0 if text[at] == 45 else 1.0
        at += 1
    digits, num_digits, exponent, seen_point = 0, 0, 0, False
    while at < end:
        byte = text[at]
        if 48 <= byte <= 57:
            if digits > 900_719_925_474_098:
                return 0.0, -1
            digits = digits * 10 + (byte - 48)
            num_digits += 1
            exponent -= 1 if seen_point else 0
        elif byte == 46 and not seen_point:
            seen_point = True
        else:
            break
        at += 1
    if num_digits == 0:
        return 0.0, 1
    if at < end:
        return 0.0, -1 if (text[at] == 101 or text[at] == 69) else 1
    if exponent < -22:
        return 0.0, -1
    return sign * (digits / _POWERS_OF_TEN[-exponent]), 0


@njit(cache=True, nogil=True)
def _is_exponent_form(text: NDArray[np.uint8], start: int, end: int) -> bool:
    """Whether a token is digits with at most one point and, if any, a whole exponent."""
    at = start + 1 if text[start] == 45 or text[start] == 43 else start
    points = 0
    while at < end and (48 <= text[at] <= 57 or text[at] == 46):
        points += 1 if text[at] == 46 else 0
        at += 1
    if points > 1:
        return False
    if at == end:
        return True
    at += 1
    if at < end and (text[at] == 45 or text[at] == 43):
        at += 1
    digits = at
    while at < end and 48 <= text[at] <= 57:
        at += 1
    return at == end and at > digits


@njit(cache=True, nogil=True)
def _parse(text: NDArray[np.uint8], starts: NDArray[np.int64]) -> Any:  # noqa: ANN401 - numba tuple
    """Return offsets (F + 1), spans (N, 4), numbers (N, 15), slow (N) and problem (2).

    A span holds the start of the row, the ends of its type and of the row, and the type's hash.
    A problem is its kind (0: none) and the position of the row's start.
    """
    limit = 1
    for byte in text:
        limit += 1 if _is_line_end(byte) else 0
    offsets = np.zeros(len(starts), dtype=np.int64)
    spans = np.zeros((limit, 4), dtype=np.int64)
    numbers = np.full((limit, _NUM_NUMBERS + 1), np.nan)
    slow = np.zeros(limit, dtype=np.bool_)
    problem = np.zeros(2, dtype=np.int64)
    row = 0
    for file in range(len(starts) - 1):
        at = starts[file]
        while at < starts[file + 1]:
            if _is_space(text[at]) or _is_line_end(text[at]):
                at += 1
                continue
            spans[row, 0] = at
            at, kind = _parse_row(text, at, spans[row], numbers[row], slow[row : row + 1])
            if kind:
                problem[0], problem[1] = kind, spans[row, 0]
                return offsets, spans[:row], numbers[:row], slow[:row], problem
            row += 1
        offsets[file + 1] = row
    return offsets, spans[:row], numbers[:row], slow[:row], problem


@njit(cache=True, nogil=True)
def _parse_row(
    text: NDArray[np.uint8],
    at: int,
    span: NDArray[np.int64],
    numbers: NDArray[np.float64],
    slow: NDArray[np.bool_],
) -> tuple[int, int]:
    mark = np.int64(1469598103934665603)
    while not (_is_space(text[at]) or _is_line_end(text[at])):
        mark = (mark ^ np.int64(text[at])) * np.int64(1099511628211)
        at += 1
    span[1], span[3] = at, mark
    count = 0
    while not _is_line_end(text[at]):
        if _is_space(text[at]):
            at += 1
            continue
        start = at
        while not (_is_space(text[at]) or _is_line_end(text[at])):
            at += 1
        value, status = _parse_number(text, start, at)
        if status == -1 and _is_exponent_form(text, start, at):
            slow[0] = True
        elif status != 0:
            return at, _NOT_A_NUMBER
        if count > _NUM_NUMBERS:
            return at, _WRONG_COUNT
        numbers[count] = value
        count += 1
    span[2] = at
    return at, 0 if count >= _NUM_NUMBERS else _WRONG_COUNT
