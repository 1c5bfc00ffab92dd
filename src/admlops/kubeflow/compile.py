"""Pipelines by name, and their compilation to YAML."""

import inspect
import tempfile
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kfp import compiler

from admlops.errors import ConfigError
from admlops.files import write_atomically
from admlops.kubeflow.compiled import CompiledPipeline
from admlops.kubeflow.distribution import distribute
from admlops.kubeflow.lint import lint, refuse
from admlops.kubeflow.placement import place
from admlops.kubeflow.profile import ClusterProfile
from admlops.recipes import Recipe

_SHARDS = "_shards"
_PIPELINES = ("train_and_publish", "closed_loop", "iterate_dataset")


def pipeline_names() -> tuple[str, ...]:
    """Return the names of all pipelines."""
    return _PIPELINES


def load_pipeline(name: str) -> Any:  # noqa: ANN401 - kfp's GraphComponent is untyped
    """Import a pipeline.

    Raises:
        ConfigError: there is no pipeline of that name.
    """
    if name not in _PIPELINES:
        raise ConfigError(f"no pipeline is called {name!r}; pipelines are {', '.join(_PIPELINES)}")
    return getattr(import_module(f"admlops_pipelines.{name}"), name)


def pipeline_arguments(pipeline: Any, recipe: Recipe) -> dict[str, Any]:  # noqa: ANN401
    """Return the arguments that a recipe gives a pipeline.

    Those are a config per `<step>_config` and a list of shards per `<step>_shards`.
    """
    names = inspect.signature(pipeline.pipeline_func).parameters
    return {
        name: recipe.shards(name.removesuffix(_SHARDS))
        if name.endswith(_SHARDS)
        else recipe.config(name.removesuffix("_config"))
        for name in names
    }


def compile_pipeline(
    name: str,
    recipe: Recipe,
    folder: Path,
    profile: ClusterProfile | None = None,
    manifest: bool = False,
) -> Path:
    """Write `<folder>/<name>.yaml`, with the recipe's configs as defaults, and return its path.

    With a profile, every task is placed on that cluster; without, it says nothing of one. As a
    manifest it is what ``kubectl apply`` takes, in the profile's namespace.

    Raises:
        ConfigError: the pipeline breaks rules of `lint_rules`; all findings are listed.
    """
    pipeline = load_pipeline(name)
    with tempfile.TemporaryDirectory() as draft:
        path = Path(draft) / f"{name}.yaml"
        compiler.Compiler().compile(
            pipeline, str(path), pipeline_parameters=pipeline_arguments(pipeline, recipe)
        )
        compiled = CompiledPipeline.parse(path.read_text())
    if profile:
        tag = version("admlops")
        compiled = place(distribute(compiled, profile, tag), profile, tag)
    refuse(lint(compiled, profile.gpu_steps() if profile else ()), name)
    target = folder / f"{name}.yaml"
    namespace = profile.namespace if profile else "kubeflow"
    text = compiled.render_manifest(namespace) if manifest else compiled.render()
    write_atomically(target, text)
    return target
