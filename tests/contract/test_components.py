"""A component is the KFP signature of one step, nothing else."""

import ast
import dataclasses
from importlib import import_module
from pathlib import Path

import pytest

from admlops.steps.step import STEPS, load_step

FOLDER = Path(__file__).resolve().parents[2] / "components"
MAX_STATEMENTS = 6


def names(kind: type) -> dict[str, bool]:
    return {f.name: f.default is not dataclasses.MISSING for f in dataclasses.fields(kind)}


def test_every_step_has_a_component_and_the_other_way_round() -> None:
    files = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert files == set(STEPS)


@pytest.mark.parametrize("word", STEPS)
def test_signature_is_the_steps(word: str) -> None:
    step = load_step(word)
    spec = getattr(import_module(f"admlops_components.{word}"), word).component_spec
    inputs = {name: bool(value.optional) for name, value in (spec.inputs or {}).items()}
    assert inputs.pop("config") is False
    settings = {name for name in inputs if name in step.config_type.model_fields}
    assert not [name for name in settings if inputs.pop(name)], "settings that may be left out"
    outputs = set(spec.outputs or {}) - {"Output"}
    known = names(step.inputs_type)
    assert inputs.keys() <= known.keys()
    assert all(known[name] for name, optional in inputs.items() if optional)
    assert outputs <= names(step.outputs_type).keys()
    required = {name for name, optional in known.items() if not optional}
    assert required <= inputs.keys()
    needed = {name for name, optional in names(step.outputs_type).items() if not optional}
    assert needed <= outputs


@pytest.mark.parametrize("word", STEPS)
def test_body_is_short_and_documented(word: str) -> None:
    tree = ast.parse((FOLDER / f"{word}.py").read_text())
    (function,) = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert len(function.body) - 1 <= MAX_STATEMENTS
    text = ast.get_docstring(function) or ""
    for argument in function.args.args:
        assert f"{argument.arg}: " in text
