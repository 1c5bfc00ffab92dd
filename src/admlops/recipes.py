"""Named configurations: functions that return a complete config for every step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from admlops.config import Config
from admlops.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Recipe:
    """One config per pipeline parameter.

    A parameter is called like its step, or like its step with a suffix where a pipeline runs the
    step twice with other settings ("predict", "predict_pool").
    """

    name: str
    configs: Mapping[str, Config]

    def config(self, parameter: str) -> dict[str, Any]:
        """Return the config of a pipeline parameter as plain JSON types.

        Raises:
            ConfigError: the recipe has none for it.
        """
        if parameter not in self.configs:
            known = ", ".join(self.configs)
            raise ConfigError(f"recipe {self.name!r} has no config {parameter!r}; it has {known}")
        return self.configs[parameter].to_json_dict()

    def override(self, values: Mapping[str, Mapping[str, Any]]) -> "Recipe":
        """Return the recipe with fields of some configs replaced; nested mappings are merged.

        Raises:
            ConfigError: a parameter or field is unknown, or a value is not allowed.
        """
        configs = dict(self.configs)
        for parameter, changes in values.items():
            merged = _merge(self.config(parameter), changes)
            configs[parameter] = type(configs[parameter]).parse(merged, where=parameter)
        return Recipe(self.name, configs)


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        inner = merged.get(name)
        nested = isinstance(inner, dict) and isinstance(change, Mapping)
        merged[name] = _merge(inner, change) if nested else change  # type: ignore[arg-type]
    return merged
