"""The table of steps, and how one is found by its word.

The module ``admlops.steps.<word>`` holds the function ``<word>(inputs, outputs, config)`` and its
three argument types ``<Word>Inputs``, ``<Word>Outputs`` (frozen dataclasses of paths; an optional
one is ``Path | None = None``, one of several is ``tuple[Path, ...]``) and ``<Word>Config``. It
returns scores, flat figures by name.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from admlops.config import Config
from admlops.errors import ConfigError

Scores = dict[str, float]
Stage = Literal["data", "train", "export"]


@dataclass(frozen=True, slots=True)
class StepSummary:
    """What is known of a step without importing it: its image's stage and one sentence."""

    stage: Stage
    summary: str


STEPS: dict[str, StepSummary] = {
    "collect": StepSummary("data", "Simulate drives, fetch an open dataset, or register a folder."),
    "read": StepSummary("data", "Read one shard of a source into the lake, for ingest to merge."),
    "ingest": StepSummary("data", "Read a dataset format into the lake; quarantine bad frames."),
    "check": StepSummary("data", "Examine data against rules, and against a model's settings."),
    "analyze": StepSummary("data", "Show distributions, repetitions, coverage, gaps and changes."),
    "curate": StepSummary("data", "Merge, divide, compare and tag dataset versions."),
    "autolabel": StepSummary("data", "Fuse and track models' boxes; decide which need a person."),
    "annotate": StepSummary("data", "Fulfil a label request; make a new dataset version."),
    "mine": StepSummary("data", "Pick the unlabelled frames that are worth labelling next."),
    "train": StepSummary("train", "Train a detector on a dataset version."),
    "predict": StepSummary("train", "Detect objects in a dataset, or in one cloud through Triton."),
    "join": StepSummary("data", "Put the predictions of shards together."),
    "evaluate": StepSummary("data", "Score predictions against labels, with slices."),
    "export": StepSummary("export", "Write a trained detector as ONNX and audit its operators."),
    "build": StepSummary("export", "Build the exported network for a runtime."),
    "verify": StepSummary("export", "Compare every runtime with torch, and measure latency."),
    "gate": StepSummary("data", "Decide whether a model may be published."),
    "publish": StepSummary("export", "Make, prove and activate an immutable Triton release."),
    "report": StepSummary("data", "Write one HTML page about a run."),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its function and the types of its three arguments."""

    word: str
    run: Callable[[Any, Any, Any], Scores]
    inputs_type: type
    outputs_type: type
    config_type: type[Config]


def load_step(word: str) -> Step:
    """Import and return a step.

    Raises:
        ConfigError: there is no step of that word.
    """
    if word not in STEPS:
        raise ConfigError(f"no step is called {word!r}; steps are {', '.join(STEPS)}")
    module = import_module(f"admlops.steps.{word}")
    prefix = word.capitalize()
    return Step(
        word=word,
        run=getattr(module, word),
        inputs_type=getattr(module, f"{prefix}Inputs"),
        outputs_type=getattr(module, f"{prefix}Outputs"),
        config_type=getattr(module, f"{prefix}Config"),
    )


def run_step(
    word: str,
    inputs: Mapping[str, str | Sequence[str] | None],
    outputs: Mapping[str, str | None],
    config: Mapping[str, Any],
) -> Scores:
    """Run a step on paths by name; what a component and the command line call.

    Raises:
        ConfigError: a path is missing or unknown, or the config is wrong.
    """
    step = load_step(word)
    return step.run(
        _paths(step.inputs_type, inputs, word),
        _paths(step.outputs_type, outputs, word),
        step.config_type.parse(config, where=word),
    )


def _paths(kind: type, given: Mapping[str, str | Sequence[str] | None], word: str) -> Any:  # noqa: ANN401
    known = {field.name: field for field in dataclasses.fields(kind)}
    present = {
        name: Path(value) if isinstance(value, str) else tuple(map(Path, value))
        for name, value in given.items()
        if value
    }
    for name in present.keys() - known.keys():
        raise ConfigError(f"{word}: no path is called {name!r}; paths are {', '.join(known)}")
    for name, field in known.items():
        if name not in present and field.default is dataclasses.MISSING:
            raise ConfigError(f"{word}: the path {name!r} is required")
    return kind(**present)
