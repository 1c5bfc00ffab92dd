"""What is said of a box beside its shape, category and track, as names with plain values.

The exchange formats know named booleans, numbers, texts and vectors; columns of a table that are
not absent and the box's own attributes become such, and come back bit by bit.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from admlops.formats.label_file import BrokenLabelError
from admlops.structures.box_table import BoxTable, Column

Plain = bool | int | float | str | list[float | str]
Details = dict[str, Plain]

VERBATIM = "attributes"
"""Name under which a box's attributes are kept as JSON text, where names and values would not
bring back the same text."""
TRACK = "track_id"
_SHAPE = frozenset({"center_m", "size_m", "yaw_rad", "category", "camera", TRACK, VERBATIM})


def detail_columns(kind: type[BoxTable]) -> dict[str, Column]:
    """Return the columns that are details; of 2D boxes, the box is the shape."""
    columns = kind.columns
    shape = _SHAPE if "center_m" in columns else _SHAPE | {"box2d_px"}
    return {name: column for name, column in columns.items() if name not in shape}


def details_of(table: BoxTable, row: int) -> Details:
    """Return what is said of one box."""
    details: Details = {}
    columns = detail_columns(type(table))
    for name, column in columns.items():
        value = getattr(table, name)[row]
        if not _is_absent(value, column):
            details[name] = _plain(value)
    text = str(table.attributes[row])
    own = _read_plain_object(text)
    if own and not own.keys() & {*columns, *_SHAPE} and attributes_text(own) == text:
        return details | own
    if text:
        details[VERBATIM] = text
    return details


def columns_of(details: Sequence[Mapping[str, Any]], kind: type[BoxTable]) -> dict[str, Any]:
    """Return the columns of boxes with these details; the inverse of `details_of`.

    Raises:
        BrokenLabelError: a detail of a column's name does not hold what the column does.
    """
    columns = detail_columns(kind)
    values: dict[str, Any] = {}
    for name, column in columns.items():
        rows = [_column_value(name, item.get(name), column) for item in details]
        shape = (len(details), column.width) if column.width else (len(details),)
        values[name] = np.array(rows, dtype=column.dtype).reshape(shape)
    texts = [_attributes(item, columns) for item in details]
    values["attributes"] = np.array(texts, dtype=object).reshape(-1)
    return values


def attributes_text(values: Mapping[str, Any]) -> str:
    """Return attributes as the tables keep them: JSON with sorted keys, "" for none."""
    return json.dumps(dict(values), sort_keys=True) if values else ""


def _attributes(details: Mapping[str, Any], columns: Mapping[str, Column]) -> str:
    if isinstance(details.get(VERBATIM), str):
        return str(details[VERBATIM])
    known = {*columns, TRACK}
    return attributes_text({name: item for name, item in details.items() if name not in known})


def _is_absent(value: Any, column: Column) -> bool:  # noqa: ANN401 - any column's value
    if column.dtype is object or column.dtype is np.int64:
        return bool(value == column.absent)
    return bool(np.isnan(value).all())


def _plain(value: Any) -> Plain:  # noqa: ANN401 - any column's value
    if np.ndim(value):
        return [item if math.isfinite(item) else str(item) for item in value.tolist()]
    plain: Plain = value.item() if isinstance(value, np.generic) else value
    return plain


def _read_plain_object(text: str) -> Details:
    """Return an attribute text's names and values; nothing where it holds more than those."""
    try:
        values = json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or not all(map(_is_plain, values.values())):
        return {}
    return values


def _is_plain(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    if isinstance(value, list):
        return all(_is_number(item) or isinstance(item, str) for item in value)
    return isinstance(value, (bool, str)) or _is_number(value)


def _is_number(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and math.isfinite(value) if not isinstance(value, int) else is_number


def _column_value(name: str, value: Any, column: Column) -> Any:  # noqa: ANN401 - any value
    if value is None:
        return [column.absent] * column.width if column.width else column.absent
    if column.width:
        if not isinstance(value, list) or len(value) != column.width:
            raise BrokenLabelError(f"{name} is {value!r:.60}, expected {column.width} numbers")
        return [number(item, name) for item in value]
    if column.dtype is np.int64:
        whole = number(value, name)
        if not whole.is_integer() or abs(whole) > 2**53:
            raise BrokenLabelError(f"{name} is {value!r:.60}, expected a whole number")
        return int(whole)
    return number(value, name)


def number(value: Any, what: str) -> float:  # noqa: ANN401 - any JSON value
    """Return a JSON number, or text of one, as a float.

    Raises:
        BrokenLabelError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise BrokenLabelError(f"{what} is {value!r:.60}, expected a number")
    try:
        return float(value)
    except (ValueError, OverflowError) as error:
        raise BrokenLabelError(f"{what} is {value!r:.60}, expected a number") from error


def finite(value: Any, what: str) -> float:  # noqa: ANN401 - any JSON value
    """Return a finite number.

    Raises:
        BrokenLabelError: it is none.
    """
    result = number(value, what)
    if not math.isfinite(result):
        raise BrokenLabelError(f"{what} is {value!r:.60}, expected a finite number")
    return result
