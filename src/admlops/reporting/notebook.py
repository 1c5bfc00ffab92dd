"""What a notebook shows of our values: pictures, tables and pages. Needs no notebook to be made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

_CELL = "text-align: left; padding: 2px 14px 2px 0"
MAX_ROWS = 40
"""Rows of a table that are shown."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture, shown where it is a cell's value.

    Attributes:
        uri: data URI, as the functions that draw return it; None says that nothing is there.
        width: width in the page, in CSS.
    """

    uri: str | None
    width: str = "auto"

    def _repr_html_(self) -> str:
        if self.uri is None:
            return "<p>nothing to draw</p>"
        return f'<img src="{escape(self.uri)}" style="width: {self.width}; max-width: 100%">'


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures beside each other, with their titles.

    Attributes:
        pictures: title and data URI of each.
        width: width of each in the page, in CSS.
    """

    pictures: Sequence[tuple[str, str]]
    width: str = "31%"

    def _repr_html_(self) -> str:
        images = "".join(
            f'<img src="{escape(uri)}" alt="{escape(title)}" '
            f'style="width: {self.width}; min-width: 280px">'
            for title, uri in self.pictures
        )
        return f'<div style="display: flex; flex-wrap: wrap; gap: 12px">{images}</div>'


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of values.

    Attributes:
        columns: their names.
        rows: a value per column each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, values: pa.Table | Sequence[Mapping[str, Any]]) -> Self:
        """Return the table of a query's result, or of mappings that share their keys."""
        if isinstance(values, pa.Table):
            columns, rows = tuple(values.column_names), values.to_pylist()
        else:
            columns, rows = tuple(values[0]) if values else (), list(values)
        return cls(columns, tuple(tuple(row[name] for name in columns) for row in rows))

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="{_CELL}">{escape(name)}</th>' for name in self.columns)
        body = "".join(
            "<tr>" + "".join(f'<td style="{_CELL}">{_words(v)}</td>' for v in row) + "</tr>"
            for row in self.rows[:MAX_ROWS]
        )
        more = len(self.rows) - MAX_ROWS
        note = f"<p>and {more} more</p>" if more > 0 else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of ours, complete in itself, in a frame of its own that may run no script.

    Attributes:
        path: the HTML file.
        height_px: height of the frame.
    """

    path: Path
    height_px: int = 640

    def _repr_html_(self) -> str:
        text = escape(self.path.read_text())
        style = f"width: 100%; height: {self.height_px}px; border: 1px solid #e4e7eb"
        return f'<iframe sandbox="" srcdoc="{text}" style="{style}"></iframe>'


def _words(value: Any) -> str:  # noqa: ANN401 - whatever a cell holds
    if value is None:
        return ""
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))
