"""The base class of every config: frozen, closed, and clear about what is wrong with it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from admlops.errors import ConfigError, DataError


class Config(BaseModel):
    """A complete, immutable set of settings; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "") -> Self:
        """Return the config that `values` describes.

        Numbers may be floats where integers are meant (KFP hands them over so).

        Raises:
            ConfigError: names each wrong field, what it holds and what is allowed.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error, where)) from error

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a config from a YAML or JSON file.

        Raises:
            ConfigError: the file is absent, is not a mapping, or holds a wrong field.
        """
        try:
            values = yaml.safe_load(path.read_bytes())
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not valid YAML ({error})") from error
        if not isinstance(values, Mapping):
            raise ConfigError(f"{path}: expected a mapping of field names to values")
        return cls.parse(values, where=str(path))

    @classmethod
    def read_record(cls, path: Path, what: str) -> Self:
        """Read what a step has written as JSON, a manifest for example.

        Args:
            path: the file.
            what: what it should be, for messages: "label request".

        Raises:
            DataError: the file is absent or damaged.
        """
        try:
            return cls.parse(json.loads(path.read_bytes()))
        except OSError as error:
            raise DataError(f"{path}: {what} cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError, ConfigError) as error:
            raise DataError(f"{path}: not a {what}: {error}") from error

    def to_json_dict(self) -> dict[str, Any]:
        """Return plain JSON types, complete with defaults."""
        return self.model_dump(mode="json")

    def replace(self, **changes: Any) -> Self:  # noqa: ANN401 - any field's value
        """Return a validated copy in which `changes` replace fields."""
        return self.parse(self.model_dump() | changes, where=f"{type(self).__name__}.replace")


def read_json_object(path: Path, advice: str) -> dict[str, Any]:
    """Return the JSON object in a file that a step has written.

    Args:
        path: the file.
        advice: what to do where it is absent or damaged: "run evaluate again".

    Raises:
        DataError: the file is absent, or holds no JSON object.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {advice}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON ({error}); {advice}") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a JSON object; {advice}")
    return values


def _explain(cls: type[Config], error: ValidationError, where: str) -> str:
    lines = [
        f"{where + ': ' if where else ''}{cls.__name__} has {error.error_count()} wrong field(s)"
    ]
    for item in error.errors(include_url=False):
        field = ".".join(str(part) for part in item["loc"]) or "(whole)"
        lines.append(f"  {field}: {_message(item)}{_hint(cls, item)}")
    return "\n".join(lines)


def _message(item: Any) -> str:  # noqa: ANN401 - pydantic's error details
    """Return pydantic's message in words of YAML."""
    message = str(item["msg"]).removeprefix("Value error, ")
    return message.replace("a valid tuple", "a list").replace("a valid dictionary", "a mapping")


def _hint(cls: type[Config], item: Any) -> str:  # noqa: ANN401 - pydantic's error details
    if item["type"] == "extra_forbidden" and len(item["loc"]) == 1:
        return f"; fields are {', '.join(cls.model_fields)}"
    if item["type"] == "missing" or isinstance(item["input"], Mapping):
        return ""  # a cut mapping names nothing, and might show what is nobody's business
    return f", got {item['input']!r:.80}"
