"""What a runtime's version can run: a table of ONNX operators, read from a file.

Tables lie in ``operators/<target>-<version>.yaml``. Those of ONNX Runtime and OpenVINO are written
by `admlops.export.probe` from the installed runtimes; the one of TensorRT follows NVIDIA's support
matrix. A table names what is supported; an operator that it does not name is not.
"""

from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from admlops.config import Config
from admlops.errors import ConfigError

Target = Literal["onnxruntime", "openvino", "tensorrt"]
TARGETS: tuple[Target, ...] = ("onnxruntime", "openvino", "tensorrt")

FOLDER = Path(__file__).with_name("operators")


class OperatorEntry(Config):
    """How far one operator is supported."""

    types: str = "all"
    """Name of the group of element types that its tensors may have."""
    opsets: tuple[int, int] = (1, 10_000)
    """First and last version of the operator (not of the model) that is supported."""
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Attribute to the values that it may have; attributes not named here are free."""
    static: bool = False
    """Whether the inputs must have static dimensions."""
    constant_inputs: tuple[int, ...] = ()
    """Numbers of inputs that must be initializers or constants."""
    note: str = ""
    """A restriction that is not checked, in words."""


class OperatorTable(Config):
    """All operators that one version of a runtime supports."""

    target: Target
    """The runtime."""
    version: str
    """Its version, major and minor."""
    source: str
    """Where the table comes from."""
    opsets: tuple[int, int]
    """First and last opset of models that the runtime reads."""
    type_groups: dict[str, tuple[str, ...]]
    """Element types by the name of their group."""
    operators: dict[str, OperatorEntry]
    """Supported operators of the default ONNX domain."""

    @property
    def name(self) -> str:
        """Return target and version, as the file is called."""
        return f"{self.target}-{self.version}"


@cache
def load_table(target: Target) -> OperatorTable:
    """Return the newest table of a target.

    Raises:
        ConfigError: there is none.
    """
    files = sorted(FOLDER.glob(f"{target}-*.yaml"), key=_version_key)
    if not files:
        raise ConfigError(f"no operator table for {target!r}; targets are {', '.join(TARGETS)}")
    return read_table(files[-1])


def read_table(path: Path) -> OperatorTable:
    """Read one table."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    values: Any = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506 - a safe loader
    entries = {name: entry or {} for name, entry in values["operators"].items()}
    return OperatorTable.parse(values | {"operators": entries}, where=path.name)


def write_table(table: OperatorTable, path: Path) -> None:
    """Write a table as it is kept in the repository: one line per operator."""
    head = table.model_dump(mode="json", exclude={"operators"})
    lines = [yaml.safe_dump(head, sort_keys=False, default_flow_style=None, width=10_000)]
    lines.append("operators:\n")
    for name, entry in sorted(table.operators.items()):
        values = entry.model_dump(mode="json", exclude_defaults=True)
        text = yaml.safe_dump(values, default_flow_style=True, width=10_000).strip()
        lines.append(f"  {name}: {text}\n")
    path.write_text("".join(lines))


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.stem.rpartition("-")[2].split("."))
