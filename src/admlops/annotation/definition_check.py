"""Labels against the definition of their dataset: ANNO001 to ANNO010, and ANNO043."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.automatic import AUTOMATIC_ATTRIBUTES
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.labelling_rules import AttributeDefinition
from admlops.checks.findings import FindingLog
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import NUM_POINTS_UNKNOWN, Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

UNDEFINED_VALUE = "__undefined__"
"""What CVAT writes for a choice that nobody made: the attribute counts as absent."""
IGNORE_CATEGORY = "ignore"
"""Category of regions in which nothing is labelled; it needs no place in a definition."""
_AXES = ("length", "width", "height")


@dataclass(frozen=True, slots=True)
class BoxDefect:
    """One place where a box breaks a rule.

    Attributes:
        rule_id: a key of `checks.rules.RULES`.
        index: number of the box in its frame.
        what: what was found, with numbers.
    """

    rule_id: str
    index: int
    what: str


@dataclass(frozen=True)
class BoxRules:
    """The definition, laid out for whole arrays of boxes."""

    definition: DatasetDefinition

    def find_defects(self, boxes: Boxes) -> list[BoxDefect]:
        """Return what is wrong with boxes, by number of the box and then by rule."""
        known = self._known(boxes.category)
        defects = [
            *self._unknown_categories(boxes.category, known),
            *self._attribute_defects(boxes.category, boxes.attributes, known),
            *self._few_points(boxes, known),
            *self._odd_sizes(boxes, known),
            *self._too_far(boxes, known),
        ]
        return sorted(defects, key=lambda item: (item.index, item.rule_id, item.what))

    def find_defects_2d(self, boxes: Boxes2d) -> list[BoxDefect]:
        """Return what is wrong with boxes in images: categories, attributes and least height."""
        known = self._known(boxes.category)
        defects = [
            *self._unknown_categories(boxes.category, known),
            *self._attribute_defects(boxes.category, boxes.attributes, known),
            *self._low(boxes, known),
        ]
        return sorted(defects, key=lambda item: (item.index, item.rule_id, item.what))

    def _known(self, category: NDArray[np.object_]) -> NDArray[np.bool_]:
        """Return (N,) whether each category is the definition's; regions to ignore are not."""
        return np.isin(category.astype(str), list(self.definition.category_names))

    def _unknown_categories(
        self, category: NDArray[np.object_], known: NDArray[np.bool_]
    ) -> Iterator[BoxDefect]:
        allowed = ", ".join(self.definition.category_names)
        aliases = self.definition.names_by_source()
        for index in np.flatnonzero(~known & (category != IGNORE_CATEGORY)).tolist():
            name = str(category[index])
            hint = f"; {name!r} is an alias of {aliases[name]!r}" if name in aliases else ""
            yield BoxDefect("ANNO001", index, f"{name!r} is none of {allowed}{hint}")

    def _attribute_defects(
        self,
        category: NDArray[np.object_],
        attributes: NDArray[np.object_],
        known: NDArray[np.bool_],
    ) -> Iterator[BoxDefect]:
        for index in np.flatnonzero(known).tolist():
            text = str(attributes[index])
            for rule_id, what in self._judge_attributes(str(category[index]), text):
                yield BoxDefect(rule_id, index, what)

    @cached_property
    def _judge_attributes(self) -> Callable[[str, str], tuple[tuple[str, str], ...]]:
        """The judgement of one category and text; few pairs make up millions of boxes."""
        return lru_cache(maxsize=4096)(self._judge)

    def _judge(self, category: str, text: str) -> tuple[tuple[str, str], ...]:
        given = parse_attributes(text)
        if given is None:
            return (("ANNO009", f"attributes are {text!r:.60}"),)
        allowed = {item.name: item for item in self.definition.attributes_of(category)}
        found: list[tuple[str, str]] = []
        for name, value in given.items():
            if name in AUTOMATIC_ATTRIBUTES:
                continue
            if name not in allowed:
                names = ", ".join(allowed) or "none"
                what = f"{name!r} is no attribute of {category} (attributes are {names})"
                found.append(("ANNO002", what))
            elif not allowed[name].allows(value):
                found.append(("ANNO003", _describe_value(allowed[name], value)))
        missing = [
            name for name, item in allowed.items() if item.is_mandatory and name not in given
        ]
        found += [("ANNO004", f"{name!r} of a {category} is missing") for name in missing]
        return tuple(found)

    def _few_points(self, boxes: Boxes, known: NDArray[np.bool_]) -> Iterator[BoxDefect]:
        needed = self._per_box(boxes, self.definition.min_points_of)
        few = known & (boxes.num_points != NUM_POINTS_UNKNOWN) & (boxes.num_points < needed)
        for index in np.flatnonzero(few).tolist():
            what = f"{boxes.num_points[index]} points, at least {needed[index]:.0f} are needed"
            yield BoxDefect("ANNO005", index, what)

    def _odd_sizes(self, boxes: Boxes, known: NDArray[np.bool_]) -> Iterator[BoxDefect]:
        spans = self._spans_m
        anything = np.array([[-np.inf, np.inf]] * 3)
        span = np.array([spans.get(str(name), anything) for name in boxes.category])
        span = span.reshape(-1, 3, 2)
        odd = known[:, None] & ((boxes.size_m < span[..., 0]) | (boxes.size_m > span[..., 1]))
        for index, axis in np.argwhere(odd).tolist():
            low, high = span[index, axis]
            size_m = boxes.size_m[index, axis]
            what = f"{_AXES[axis]} {size_m:.2f} m of a {boxes.category[index]} is not within "
            yield BoxDefect("ANNO006", index, f"{what}{low:g} to {high:g} m")

    def _too_far(self, boxes: Boxes, known: NDArray[np.bool_]) -> Iterator[BoxDefect]:
        limit_m = self._per_box(boxes, self.definition.max_range_of)
        range_m = np.hypot(boxes.center_m[:, 0], boxes.center_m[:, 1])
        for index in np.flatnonzero(known & (range_m > limit_m)).tolist():
            what = f"{range_m[index]:.1f} m away; labels end at {limit_m[index]:g} m"
            yield BoxDefect("ANNO007", index, what)

    def _low(self, boxes: Boxes2d, known: NDArray[np.bool_]) -> Iterator[BoxDefect]:
        needed = self._per_box(boxes, self.definition.min_height_of)
        height_px = boxes.box2d_px[:, 3] - boxes.box2d_px[:, 1]
        for index in np.flatnonzero(known & (height_px < needed)).tolist():
            what = f"{height_px[index]:.0f} px high, labelled from {needed[index]:g} px"
            yield BoxDefect("ANNO043", index, what)

    @cached_property
    def _spans_m(self) -> dict[str, NDArray[np.float64]]:
        """Least and greatest length, width and height (3, 2) of categories that have them."""
        return {
            item.name: np.array(item.size.spans_m)
            for item in self.definition.categories
            if item.size is not None
        }

    def _per_box(self, boxes: BoxTable, of: Callable[[str], float]) -> NDArray[np.float64]:
        """Return (N,) a category's number for every box; 0 for categories not known."""
        numbers = {name: float(of(name)) for name in self.definition.category_names}
        return np.array([numbers.get(str(name), 0.0) for name in boxes.category])


@dataclass(slots=True)
class DefinitionCheck:
    """Holds the labels of every frame against a definition, one after the other."""

    definition: DatasetDefinition
    log: FindingLog
    num_boxes: int = 0
    _rules: BoxRules = field(init=False)
    _values: dict[tuple[str, str, str, str], object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Lay the definition out."""
        self._rules = BoxRules(self.definition)

    def look(self, frame: Frame) -> None:
        """Check the labels and sensors of one frame; payloads may be empty."""
        if not frame.is_keyframe:
            return
        self._look_at_sensors(frame)
        if frame.boxes is not None:
            self.num_boxes += len(frame.boxes)
            self._report(frame, "box", frame.boxes, self._rules.find_defects(frame.boxes))
            self._look_at_tracks(frame, frame.boxes)
        if frame.boxes_2d is not None:
            self.num_boxes += len(frame.boxes_2d)
            defects = self._rules.find_defects_2d(frame.boxes_2d)
            self._report(frame, "2D box", frame.boxes_2d, defects)
            self._look_at_tracks(frame, frame.boxes_2d)

    def _report(
        self, frame: Frame, noun: str, boxes: Boxes | Boxes2d, defects: list[BoxDefect]
    ) -> None:
        for item in defects:
            where = f"{frame.key} {noun} {item.index} ({boxes.category[item.index]})"
            self.log.add(item.rule_id, where, item.what)

    def _look_at_sensors(self, frame: Frame) -> None:
        present = {image.sensor.name for image in frame.cameras}
        if frame.lidar is not None:
            present.add(frame.lidar.sensor.name)
        missing = [item.name for item in self.definition.sensors if item.name not in present]
        if missing:
            found = ", ".join(sorted(present)) or "none"
            what = f"no sensor {', '.join(missing)}; sensors are {found}"
            self.log.add("ANNO010", str(frame.key), what)

    def _look_at_tracks(self, frame: Frame, boxes: Boxes | Boxes2d) -> None:
        lasting = self.definition.lasting_attributes
        if not lasting:
            return
        for index in np.flatnonzero((boxes.track_id != "") & (boxes.attributes != "")).tolist():
            given = parse_attributes(str(boxes.attributes[index])) or {}
            for name in lasting:
                if name not in given:
                    continue
                place = (frame.key.log, frame.key.scene, str(boxes.track_id[index]), name)
                first = self._values.setdefault(place, given[name])
                if first != given[name]:
                    where = f"{frame.key} box {index} ({boxes.category[index]})"
                    what = f"{name!r} of track {place[2]} is {given[name]!r}, before it {first!r}"
                    self.log.add("ANNO008", where, what)


def parse_attributes(text: str) -> dict[str, Any] | None:
    """Return the attributes that a text holds, without those left undefined; None if it is bad."""
    if not text:
        return {}
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    return {name: value for name, value in values.items() if value != UNDEFINED_VALUE}


def _describe_value(attribute: AttributeDefinition, value: object) -> str:
    return f"{attribute.name!r} is {value!r:.60}; allowed are {', '.join(attribute.allowed)}"
