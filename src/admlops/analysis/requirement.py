"""What a dataset must hold: minimum numbers of boxes by category, range and condition."""

from collections.abc import Iterator
from itertools import pairwise, product
from typing import Self

from pydantic import Field, model_validator

from admlops.config import Config

ANY_CONDITION = "any"
"""Stands for every frame, whatever its tags."""


class RequirementRow(Config):
    """Categories x ranges x conditions, each cell with the same minimum."""

    categories: tuple[str, ...] = Field(min_length=1)
    """Categories of boxes."""
    range_edges_m: tuple[float, ...] = Field(default=(0.0, 20.0, 40.0, 60.0), min_length=2)
    """Edges of the distances of box centres on the ground, from near to far."""
    conditions: tuple[str, ...] = Field(default=(ANY_CONDITION,), min_length=1)
    """Tags of frames; "night+rain" asks for both, "any" for every frame."""
    min_boxes: int = Field(default=50, ge=1)
    """Boxes that each cell must hold."""
    min_scenes: int = Field(default=1, ge=1)
    """Scenes that they must come from."""

    @model_validator(mode="after")
    def _edges_rise(self) -> Self:
        if any(low >= high for low, high in pairwise(self.range_edges_m)):
            raise ValueError("range_edges_m must rise")
        return self


class RequirementCell(Config):
    """One cell of a requirement."""

    category: str
    """Category of the boxes."""
    range_m: tuple[float, float]
    """Nearest and farthest distance."""
    condition: str
    """Tag, tags joined by "+", or "any"."""
    min_boxes: int
    """Boxes that it must hold."""
    min_scenes: int
    """Scenes that they must come from."""


class Requirement(Config):
    """What a dataset must hold."""

    name: str = "default"
    """Name in reports."""
    splits: tuple[str, ...] = ()
    """Splits that count; empty for all labelled frames."""
    rows: tuple[RequirementRow, ...] = (
        RequirementRow(
            categories=("car", "pedestrian", "cyclist"),
            range_edges_m=(0.0, 20.0, 40.0),
            conditions=("clear", "night", "rain"),
            min_boxes=30,
            min_scenes=2,
        ),
    )
    """Rows, whose cells are all required."""

    def cells(self) -> Iterator[RequirementCell]:
        """Yield every cell, row by row."""
        for row in self.rows:
            ranges = list(pairwise(row.range_edges_m))
            for condition, category, span in product(row.conditions, row.categories, ranges):
                yield RequirementCell(
                    category=category,
                    range_m=span,
                    condition=condition,
                    min_boxes=row.min_boxes,
                    min_scenes=row.min_scenes,
                )
