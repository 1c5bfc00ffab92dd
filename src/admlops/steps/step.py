"""The table of steps, and how one is found by its word.

The module ``admlops.steps.<word>`` holds the function ``<word>(inputs, outputs, config)`` and its
three argument types ``<Word>Inputs``, ``<Word>Outputs`` (frozen dataclasses of paths; an optional
one is ``Path | None = None``) and ``<Word>Config``. It returns scores, flat figures by name.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from admlops.config import Config
from admlops.errors import ConfigError

Scores = dict[str, float]

STEP_WORDS: dict[str, str] = {
    "collect": "data",
    "ingest": "data",
    "check": "data",
    "analyze": "data",
    "annotate": "data",
    "mine": "data",
    "train": "train",
    "predict": "train",
    "evaluate": "data",
    "export": "export",
    "build": "export",
    "verify": "export",
    "gate": "data",
    "publish": "export",
    "report": "data",
}
"""Each step's word and the image that its component runs in."""


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
    if word not in STEP_WORDS:
        raise ConfigError(f"no step is called {word!r}; steps are {', '.join(STEP_WORDS)}")
    module = import_module(f"admlops.steps.{word}")
    prefix = word.capitalize()
    return Step(
        word=word,
        run=getattr(module, word),
        inputs_type=getattr(module, f"{prefix}Inputs"),
        outputs_type=getattr(module, f"{prefix}Outputs"),
        config_type=getattr(module, f"{prefix}Config"),
    )
