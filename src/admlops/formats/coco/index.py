"""What a COCO file holds and where: images, names of categories, places of annotations.

Annotations, of which files have hundreds of megabytes, stay in the file until they are asked for.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.json_stream import Item, iterate_items, read_items
from admlops.structures.finding import Finding

_MAX_PX = 1e6


class ImageRecord(NamedTuple):
    """An image as it is listed."""

    id: int
    file_name: str
    width_px: int
    height_px: int


@dataclass
class CocoIndex:
    """A file that was read through once.

    Attributes:
        path: the file.
        images: those that can be read.
        names: of categories, by their number.
        findings: what is wrong with images and annotations.
        num_refused: images and annotations that were left out.
    """

    path: Path
    images: list[ImageRecord] = field(default_factory=list)
    names: dict[int, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    num_refused: int = 0
    _seen: dict[int, int] = field(default_factory=dict)
    _image_ids: "array[int]" = field(default_factory=lambda: array("q"))
    _places: "array[int]" = field(default_factory=lambda: array("q"))
    _rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _starts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))

    @classmethod
    def of(cls, path: Path) -> "CocoIndex":
        """Read a file through.

        Raises:
            DataError: it cannot be read, lists no images, or has a category without a name.
        """
        index = cls(path)
        take = {
            "images": index._add_image,
            "annotations": index._add_annotation,
            "categories": index._add_category,
        }
        for item in iterate_items(path):
            if item.member in take:
                take[item.member](item)
        if not index.images and not index.num_refused:
            raise DataError(f"{path}: no COCO file: it lists no images")
        index._sort()
        return index

    def annotations(self, number: int) -> list[dict[str, Any]]:
        """Return the annotations of an image by its place in `images`, in the file's order.

        Raises:
            DataError: the file cannot be read, or is not what it was.
        """
        own = self._rows[self._starts[number] : self._starts[number + 1]]
        places = np.frombuffer(self._places, np.int64).reshape(-1, 2) if len(own) else own
        found = read_items(self.path, places[own].tolist())
        if not all(map(_is_annotation, found)):
            raise DataError(f"{self.path}: changed while it was read; read it again")
        return found

    def _add_category(self, item: Item) -> None:
        category = item.value if isinstance(item.value, dict) else {}
        number, name = category.get("id"), category.get("name")
        if not isinstance(number, int) or not isinstance(name, str):
            raise DataError(f"{self.path}: a category has no id and name: {item.value!r:.80}")
        self.names[number] = name

    def _add_image(self, item: Item) -> None:
        image = item.value if isinstance(item.value, dict) else {}
        problem = _image_problem(image, self._seen)
        if problem:
            self._refuse("READ008" if problem.startswith("repeated") else "READ006", problem)
            return
        self._seen[image["id"]] = len(self.images)
        self.images.append(
            ImageRecord(image["id"], image["file_name"], image["width"], image["height"])
        )

    def _add_annotation(self, item: Item) -> None:
        if not _is_annotation(item.value):
            self._refuse("READ006", f"annotation {item.value!r:.80}")
            return
        self._image_ids.append(item.value["image_id"])
        self._places.extend((item.offset, item.size))

    def _sort(self) -> None:
        """Bring the places of annotations in the order of their images."""
        ids = np.array(list(self._seen), dtype=np.int64)
        order = np.argsort(ids)
        wanted = np.frombuffer(self._image_ids, np.int64) if self._image_ids else ids[:0]
        place = np.searchsorted(ids, wanted, sorter=order).clip(max=max(len(ids) - 1, 0))
        is_listed = ids[order[place]] == wanted if len(ids) else np.zeros(len(wanted), np.bool_)
        absent = np.unique(wanted[~is_listed])
        if len(absent):
            what = f"annotations of {len(absent)} images that are not listed, first {absent[0]}"
            self.findings.append(find("READ016", self.path.name, what))
        rows = np.flatnonzero(is_listed)
        numbers = order[place[rows]] if len(rows) else rows
        self._rows = rows[np.argsort(numbers, kind="stable")]
        counts = np.bincount(numbers, minlength=len(ids))
        self._starts = np.concatenate([[0], np.cumsum(counts)])

    def _refuse(self, rule_id: str, what: str) -> None:
        self.findings.append(find(rule_id, self.path.name, what))
        self.num_refused += 1


def _is_annotation(item: object) -> bool:
    box = item.get("bbox") if isinstance(item, dict) else None
    return (
        isinstance(item, dict)
        and _is_id(item.get("image_id"))
        and _is_id(item.get("category_id"))
        and isinstance(box, list)
        and len(box) == 4
        and all(map(_is_px, box))
    )


def _is_id(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 62


def _is_px(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return -_MAX_PX < value < _MAX_PX


def _image_problem(image: Mapping[str, Any], seen: Mapping[int, int]) -> str:
    """Return what is wrong with an image's record, "" where nothing is."""
    name = image.get("file_name")
    if not all(_is_id(image.get(key)) for key in ("id", "width", "height")):
        return f"image {image!r:.80} has no id and size"
    if not isinstance(name, str) or name.startswith("/") or ".." in Path(name).parts:
        return f"image {image['id']} has no file name below the folder of images"
    return f"repeated image {image['id']}" if image["id"] in seen else ""
