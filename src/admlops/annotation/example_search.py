"""Finds the boxes of a dataset that show something best, by SQL over its labels."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from admlops.lake.query import quoted
from admlops.lake.store import Dataset

BY_DAY: Final = "list_contains(tags, 'night')"
"""Sorts pictures in which something can be seen first."""
_CANDIDATES = 12


@dataclass(frozen=True, slots=True)
class Search:
    """A condition on boxes and the order in which they are worth showing.

    Attributes:
        title: what such a box shows, in a few words.
        lesson: what an annotator learns from it.
        condition: SQL about one box.
        order: SQL; the best box comes first.
        is_labelled: whether such an object is to be labelled.
    """

    title: str
    lesson: str
    condition: str
    order: str
    is_labelled: bool = True


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where boxes are looked for.

    Attributes:
        boxes: SELECT that gives them, to which " AND ..." can be added.
        place: columns that tell a box from others of its frame.
    """

    boxes: str
    place: tuple[str, ...]


def search_boxes(
    dataset: Dataset, shelf: Shelf, spellings: Iterable[str], searches: Sequence[Search]
) -> Iterator[tuple[Search, dict[str, Any]]]:
    """Yield the first box of each search that no earlier search has taken.

    A box is a dict of `row`, `category` and the columns of its place.
    """
    taken: set[tuple[object, ...]] = set()
    answered: set[int] = set()
    for found in dataset.query(_make_sql(shelf, spellings, searches)).to_pylist():
        place = (found["row"], *(found[name] for name in shelf.place))
        if found["search"] not in answered and place not in taken:
            taken.add(place)
            answered.add(found["search"])
            yield searches[found["search"]], found


def texts(names: Iterable[str]) -> str:
    """Return names as a list of SQL texts."""
    return ", ".join(map(quoted, names))


def _make_sql(shelf: Shelf, spellings: Iterable[str], searches: Sequence[Search]) -> str:
    """Return one query for all searches, best boxes first, so that the labels are read once."""
    place = ", ".join(shelf.place)
    parts = " UNION ALL ".join(
        f"SELECT {number} AS search, row_number() OVER (ORDER BY {BY_DAY}, {search.order}, "
        f"log, scene, timestamp_ns, {place}) AS position, log, scene, timestamp_ns, {place}, "
        f"category FROM named WHERE {search.condition} QUALIFY position <= {_CANDIDATES}"
        for number, search in enumerate(searches)
    )
    return (
        f"WITH named AS MATERIALIZED ({shelf.boxes} AND category IN ({texts(spellings)})) "
        f"SELECT search, row, {place}, category FROM ({parts}) "
        "JOIN frames USING (log, scene, timestamp_ns) ORDER BY search, position"
    )
