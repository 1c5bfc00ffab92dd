"""Conditions of triggers: a closed grammar of typed nodes, nothing in it is executed as code.

Each node answers yes, no, or not known (Kleene's three-valued logic): what is not measured fires
nothing, and neither does its negation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from admlops.analysis.requirement import ANY_CONDITION, RequirementCell
from admlops.collection.signals import Observation, Signal
from admlops.config import Config
from admlops.structures.boxes import Boxes

ANY_CATEGORY = "any"
"""Stands for all categories."""


class _Lasting(Config):
    """What every node has."""

    for_s: float = Field(default=0.0, ge=0)
    """It must have held without a break for so long."""


class SignalIs(_Lasting):
    """A signal lies below one value, or above another, or between both."""

    signal: Signal
    """Name of the signal."""
    above: float | None = None
    """It is greater."""
    below: float | None = None
    """It is less."""

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.above is None and self.below is None:
            raise ValueError("give above, below or both")
        if self.above is not None and self.below is not None and self.above >= self.below:
            raise ValueError("above must be less than below")
        return self


class Seen(_Lasting):
    """A detector sees an object of a category, near enough."""

    category: str
    """Its category; "any" for all."""
    within_m: float = Field(default=1000.0, gt=0)
    """Distance on the ground from the vehicle's origin to the nearest side of its box."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Least score of a prediction."""


class InRegion(_Lasting):
    """The vehicle is inside a polygon on the map."""

    region_deg: tuple[tuple[float, float], ...] = Field(min_length=3)
    """Corners as latitude, longitude in order; it must not cross the 180th meridian."""


class HasTag(_Lasting):
    """The drive has a tag."""

    tag: str
    """The tag, for example "night"."""


class BelowRequirement(_Lasting):
    """A detector sees an object of which the dataset holds less than it must."""

    below_requirement: Literal[True]
    """The gaps are measured on the dataset when collecting begins."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Least score of a prediction."""


class AllOf(_Lasting):
    """All conditions hold."""

    all_of: tuple["Condition", ...] = Field(min_length=1)
    """The conditions."""


class AnyOf(_Lasting):
    """At least one condition holds."""

    any_of: tuple["Condition", ...] = Field(min_length=1)
    """The conditions."""


class NoneOf(_Lasting):
    """No condition holds, and all are known."""

    none_of: tuple["Condition", ...] = Field(min_length=1)
    """The conditions."""


_KINDS: Mapping[str, type[_Lasting]] = {
    "signal": SignalIs,
    "category": Seen,
    "region_deg": InRegion,
    "tag": HasTag,
    "below_requirement": BelowRequirement,
    "all_of": AllOf,
    "any_of": AnyOf,
    "none_of": NoneOf,
}


def _kind_of(value: Any) -> str | None:  # noqa: ANN401 - whatever the file holds
    """Return which node a value is, by the field that only this kind has."""
    for name, kind in _KINDS.items():
        if isinstance(value, kind) or (isinstance(value, Mapping) and name in value):
            return name
    return None


Condition = Annotated[
    Annotated[SignalIs, Tag("signal")]
    | Annotated[Seen, Tag("category")]
    | Annotated[InRegion, Tag("region_deg")]
    | Annotated[HasTag, Tag("tag")]
    | Annotated[BelowRequirement, Tag("below_requirement")]
    | Annotated[AllOf, Tag("all_of")]
    | Annotated[AnyOf, Tag("any_of")]
    | Annotated[NoneOf, Tag("none_of")],
    Discriminator(
        _kind_of,
        custom_error_type="no_condition",
        custom_error_message="a condition has one of the fields " + ", ".join(_KINDS),
    ),
]

for _node in (AllOf, AnyOf, NoneOf):
    _node.model_rebuild()


class Judge:
    """Follows one condition through a drive."""

    def __init__(self, condition: Condition, gaps: Sequence[RequirementCell] = ()) -> None:
        """Start with nothing known.

        Args:
            condition: the condition.
            gaps: cells of the requirement that the dataset does not fill.
        """
        self._condition = condition
        self._gaps = gaps
        self._since_ns: int | None = None
        self._parts = [Judge(part, gaps) for part in parts_of(condition)]

    def update(self, seen: Observation) -> bool | None:
        """Return whether the condition holds; None if that is not known."""
        # every part is asked every time: they remember for how long they have held
        answers = [part.update(seen) for part in self._parts]
        holds = self._ask(seen, answers)
        if not holds:
            self._since_ns = None
            return holds
        if self._since_ns is None or seen.time_ns < self._since_ns:
            self._since_ns = seen.time_ns
        return seen.time_ns - self._since_ns >= round(self._condition.for_s * 1e9)

    def _ask(self, seen: Observation, answers: list[bool | None]) -> bool | None:
        node = self._condition
        if isinstance(node, AllOf):
            return _all(answers)
        if isinstance(node, AnyOf | NoneOf):
            unlike = _all(None if answer is None else not answer for answer in answers)
            return unlike if isinstance(node, NoneOf) or unlike is None else not unlike
        if isinstance(node, SignalIs):
            return _compare(node, seen.signals.get(node.signal))
        if isinstance(node, InRegion):
            return (
                None
                if seen.position_deg is None
                else is_inside(seen.position_deg, np.array(node.region_deg))
            )
        if isinstance(node, HasTag):
            return node.tag in seen.tags
        if seen.boxes is None:
            return None
        if isinstance(node, Seen):
            return _sees(node, seen.boxes)
        return any(_fills(cell, seen.boxes, seen.tags, node.min_score) for cell in self._gaps)


def parts_of(condition: Condition) -> tuple[Condition, ...]:
    """Return the conditions that one is made of."""
    if isinstance(condition, AllOf):
        return condition.all_of
    if isinstance(condition, AnyOf):
        return condition.any_of
    return condition.none_of if isinstance(condition, NoneOf) else ()


def nodes_of(condition: Condition) -> Iterator[Condition]:
    """Yield a condition and all that it is made of."""
    yield condition
    for part in parts_of(condition):
        yield from nodes_of(part)


def _all(answers: Iterable[bool | None]) -> bool | None:
    """Return no if one is no, else not known if one is not known, else yes."""
    known = list(answers)
    if False in known:
        return False
    return None if None in known else True


def _compare(node: SignalIs, value: float | None) -> bool | None:
    if value is None:
        return None
    return (node.above is None or value > node.above) and (node.below is None or value < node.below)


def ground_distances_m(boxes: Boxes) -> NDArray[np.float64]:
    """Return (N,) distances on the ground from the ego origin to the boxes; 0 inside of one."""
    cosine, sine = np.cos(boxes.yaw_rad), np.sin(boxes.yaw_rad)
    x, y = boxes.center_m[:, 0], boxes.center_m[:, 1]
    along, aside = np.abs(cosine * x + sine * y), np.abs(cosine * y - sine * x)
    beyond = np.stack([along, aside], axis=1) - boxes.size_m[:, :2] / 2.0
    return np.linalg.norm(beyond.clip(0.0), axis=1)


def _is_sure(boxes: Boxes, min_score: float) -> NDArray[np.bool_]:
    """Return (N,) which boxes are labels or predictions with enough score."""
    return np.isnan(boxes.score) | (boxes.score >= min_score)


def _sees(node: Seen, boxes: Boxes) -> bool:
    chosen = _is_sure(boxes, node.min_score) & (ground_distances_m(boxes) <= node.within_m)
    if node.category != ANY_CATEGORY:
        chosen &= boxes.category == node.category
    return bool(chosen.any())


def _fills(cell: RequirementCell, boxes: Boxes, tags: frozenset[str], min_score: float) -> bool:
    asked = frozenset() if cell.condition == ANY_CONDITION else frozenset(cell.condition.split("+"))
    if not asked <= tags:
        return False
    range_m = np.hypot(boxes.center_m[:, 0], boxes.center_m[:, 1])
    low, high = cell.range_m
    inside = (range_m >= low) & (range_m < high) & (boxes.category == cell.category)
    return bool((inside & _is_sure(boxes, min_score)).any())


def is_inside(point: tuple[float, float], corners: NDArray[np.float64]) -> bool:
    """Return whether a point is inside a polygon, by counting crossed sides.

    Args:
        point: two coordinates.
        corners: (K, 2) in order.
    """
    first, second = corners, np.roll(corners, -1, axis=0)
    crosses = (first[:, 0] > point[0]) != (second[:, 0] > point[0])
    start, end = first[crosses], second[crosses]
    share = (point[0] - start[:, 0]) / (end[:, 0] - start[:, 0])
    return bool((start[:, 1] + share * (end[:, 1] - start[:, 1]) > point[1]).sum() % 2)
