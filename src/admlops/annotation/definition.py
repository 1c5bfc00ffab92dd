"""What a dataset is: categories, attributes, labelling rules, sensors, acceptance, counts needed.

One YAML file; the guideline, the schema of a delivery, the project files of labelling tools and
the checks of labels are made from it, so that none of them can say something else.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, model_validator

from admlops.analysis.requirement import Requirement
from admlops.annotation.labelling_rules import (
    AcceptanceRules,
    AttributeDefinition,
    CategoryDefinition,
    LabellingRules,
    SensorDefinition,
    Shape,
)
from admlops.config import Config
from admlops.errors import ConfigError

SHIPPED = ("urban_lidar",)
"""Definitions that come with the package."""


class DatasetDefinition(Config):
    """The definition of a dataset."""

    name: str = Field(min_length=1)
    """Name of the dataset, for people."""
    version: str = Field(min_length=1)
    """Version of the definition: a delivery names the one that it follows."""
    description: str = ""
    """What the dataset is for."""
    categories: tuple[CategoryDefinition, ...] = Field(min_length=1)
    """What is labelled."""
    attributes: tuple[AttributeDefinition, ...] = ()
    """What is said of a labelled object beside its box."""
    shapes: tuple[Shape, ...] = Field(default=("space_box",), min_length=1)
    """What is drawn: boxes in space, boxes in images, or both."""
    rules: LabellingRules = LabellingRules()
    """How boxes are drawn."""
    sensors: tuple[SensorDefinition, ...] = ()
    """What the vehicle sees with."""
    acceptance: AcceptanceRules = AcceptanceRules()
    """When a delivery is accepted."""
    requirement: Requirement | None = None
    """Counts needed; the same that `analyze` holds a dataset against."""
    requirement_file: str = ""
    """YAML file of the counts needed, beside the definition; replaces the field `requirement`."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a definition, and the requirement file that it names.

        Raises:
            ConfigError: a file is absent, is not a mapping, or holds a wrong field.
        """
        definition = super().load(path)
        if not definition.requirement_file:
            return definition
        requirement = Requirement.load(path.parent / definition.requirement_file)
        return definition.replace(requirement=requirement.model_dump())

    @model_validator(mode="after")
    def _names_are_known_and_unique(self) -> Self:
        spellings = [name for item in self.categories for name in (item.name, *item.aliases)]
        _refuse_repeated("categories (names and aliases)", spellings)
        _refuse_repeated("attributes", (item.name for item in self.attributes))
        _refuse_repeated("sensors", (item.name for item in self.sensors))
        _refuse_repeated("shapes", self.shapes)
        for attribute in self.attributes:
            self._refuse_unknown(f"attribute {attribute.name!r}", attribute.categories)
        self._refuse_unknown("rules.rider_categories", self.rules.rider_categories)
        for row in self.requirement.rows if self.requirement else ():
            self._refuse_unknown("requirement", row.categories)
        return self

    def _refuse_unknown(self, where: str, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self.category_names]
        if unknown:
            known = ", ".join(self.category_names)
            raise ValueError(f"{where} names {unknown[0]!r}; categories are {known}")

    @property
    def category_names(self) -> tuple[str, ...]:
        """Names of the categories, in the order of the file."""
        return tuple(item.name for item in self.categories)

    @property
    def vulnerable_names(self) -> tuple[str, ...]:
        """Names of the categories that are vulnerable road users."""
        return tuple(item.name for item in self.categories if item.is_vulnerable)

    @property
    def lasting_attributes(self) -> tuple[str, ...]:
        """Names of the attributes that have one value over a track."""
        return tuple(item.name for item in self.attributes if not item.is_mutable)

    @property
    def title(self) -> str:
        """Name and version, for headings and messages."""
        return f"{self.name} {self.version}"

    def category(self, name: str) -> CategoryDefinition:
        """Return the category of that name.

        Raises:
            ConfigError: there is none; the message lists those that are.
        """
        for item in self.categories:
            if item.name == name:
                return item
        known = ", ".join(self.category_names)
        raise ConfigError(f"{self.title}: no category {name!r}; categories are {known}")

    def attributes_of(self, category: str) -> tuple[AttributeDefinition, ...]:
        """Return the attributes that objects of a category carry."""
        return tuple(item for item in self.attributes if item.applies_to(category))

    def names_by_source(self) -> Mapping[str, str]:
        """Return our category name of every name and alias."""
        return {name: item.name for item in self.categories for name in (item.name, *item.aliases)}

    def min_points_of(self, category: str) -> int:
        """Return how many lidar points an object must hold to be labelled."""
        own = self.category(category).min_points
        return self.rules.min_points if own is None else own

    def max_range_of(self, category: str) -> float:
        """Return the distance on the ground, in metres, up to which objects are labelled."""
        own = self.category(category).max_range_m
        return self.rules.max_range_m if own is None else own

    def min_height_of(self, category: str) -> float:
        """Return the height in an image, px, from which on an object is labelled there."""
        own = self.category(category).min_height_px
        return self.rules.min_height_px if own is None else own


def load_definition(name_or_path: str) -> DatasetDefinition:
    """Return the shipped definition of that name, or the one in the file at that path.

    Raises:
        ConfigError: there is neither, or the file is wrong.
    """
    if name_or_path in SHIPPED:
        place = resources.files("admlops.annotation") / "definitions" / f"{name_or_path}.yaml"
        with resources.as_file(place) as path:
            return DatasetDefinition.load(path)
    path = Path(name_or_path)
    if not path.is_file():
        shipped = ", ".join(SHIPPED)
        raise ConfigError(
            f"{name_or_path}: no definition file here; shipped definitions are {shipped}"
        )
    return DatasetDefinition.load(path)


def load_requirement(name_or_path: str) -> Requirement:
    """Return the counts needed: those of a requirement file, or of a definition.

    Raises:
        ConfigError: there is no such file, it is wrong, or the definition needs no counts.
    """
    path = Path(name_or_path)
    if name_or_path not in SHIPPED and not _is_definition(path):
        return Requirement.load(path)
    definition = load_definition(name_or_path)
    if definition.requirement is None:
        raise ConfigError(
            f"{name_or_path}: the definition {definition.title} has no counts needed; add "
            "requirement or requirement_file"
        )
    return definition.requirement


def _is_definition(path: Path) -> bool:
    """Whether a file is meant as a definition: it has categories."""
    try:
        values = yaml.safe_load(path.read_bytes())
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return False  # whoever reads it says what is wrong
    return isinstance(values, Mapping) and "categories" in values


def _refuse_repeated(what: str, names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise ValueError(f"{what} hold {repeated[0]!r} more than once")
