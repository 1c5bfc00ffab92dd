"""A compiled pipeline: KFP's two YAML documents, and the few places in them that matter here."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from admlops.errors import ConfigError
from admlops.steps.step import STEPS

_WORD_FLAG = "--function_to_execute"


@dataclass(frozen=True, slots=True)
class Executor:
    """One container of a pipeline; tasks that differ only in their inputs share it.

    Attributes:
        label: its name in both documents, for example "exec-train".
        word: the component's function; a step's word where the component is ours.
        container: its part of the pipeline document, in KFP's field names.
        platform: its part of the platform document; empty where there is none.
        num_retries: for every task that uses it.
    """

    label: str
    word: str
    container: dict[str, Any]
    platform: Mapping[str, Any]
    num_retries: Mapping[str, int]

    @property
    def is_step(self) -> bool:
        """Whether the component is one of our steps."""
        return self.word in STEPS


@dataclass(frozen=True, slots=True)
class CompiledPipeline:
    """The documents of a compiled pipeline, in KFP's field names.

    Attributes:
        header: the comment lines in front.
        spec: the pipeline document (PipelineSpec).
        platform: the platform document (PlatformSpec); empty where there is none.
    """

    header: str
    spec: dict[str, Any]
    platform: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read KFP YAML.

        Raises:
            ConfigError: it is no YAML, or no pipeline.
        """
        try:
            documents = list(yaml.safe_load_all(text))
        except yaml.YAMLError as error:
            raise ConfigError(f"compiled pipeline: not valid YAML ({error})") from error
        if not documents or not isinstance(documents[0], dict) or "root" not in documents[0]:
            raise ConfigError("compiled pipeline: the first document has no `root`; compile it")
        lines = text.splitlines(keepends=True)
        # the defaults are below too; here KFP prints them in an order that changes by process
        comments = lines[: _num_comments(lines)]
        header = "".join(re.sub(r" \[Default: .*\]$", "", line) for line in comments)
        return cls(header, documents[0], documents[1] if len(documents) > 1 else {})

    def render(self) -> str:
        """Return the YAML as KFP writes it, after checking it against KFP's schemas.

        Raises:
            ConfigError: a field has a name or type that KFP does not know.
        """
        try:
            json_format.ParseDict(self.spec, pipeline_spec_pb2.PipelineSpec())
            json_format.ParseDict(self.platform, pipeline_spec_pb2.PlatformSpec())
        except json_format.ParseError as error:
            raise ConfigError(f"compiled pipeline: KFP's schema forbids it: {error}") from error
        documents = [self.spec, self.platform] if self.platform else [self.spec]
        return self.header + str(yaml.dump_all(documents, sort_keys=True))

    def render_manifest(self, namespace: str) -> str:
        """Return a `Pipeline` and a `PipelineVersion` for ``kubectl apply``.

        A version cannot be changed once it exists, so its name ends in a digest of its content:
        the same pipeline gives the same version, a changed one a new version beside it.

        Raises:
            ConfigError: as for `render`.
        """
        digest = hashlib.sha256(self.render().encode()).hexdigest()[:10]
        name = str(self.spec["pipelineInfo"]["name"])
        description = self.spec["pipelineInfo"].get("description", "")
        shared = {"description": description} if description else {}
        version: dict[str, Any] = {"displayName": f"{name} {digest}", "pipelineName": name}
        version |= {"pipelineSpec": self.spec, **shared}
        if self.platform:
            version["platformSpec"] = self.platform
        documents = [
            _manifest("Pipeline", name, namespace, {"displayName": name, **shared}),
            _manifest("PipelineVersion", f"{name}-{digest}", namespace, version),
        ]
        return str(yaml.dump_all(documents, sort_keys=True))

    def executors(self) -> Iterator[Executor]:
        """Yield every executor that runs a container, in the order of their names."""
        platforms = self.platform.get("platforms", {}).get("kubernetes", {})
        platform = platforms.get("deploymentSpec", {}).get("executors", {})
        for label, executor in sorted(self.spec["deploymentSpec"]["executors"].items()):
            if "container" in executor:
                retries = {
                    name: int(task.get("retryPolicy", {}).get("maxRetryCount", 0))
                    for name, task, used in self.tasks()
                    if used == label
                }
                container = executor["container"]
                yield Executor(label, _word(container), container, platform.get(label, {}), retries)

    def tasks(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Yield path, task and executor label ("" for a group) of every task at any depth."""
        components = self.spec.get("components", {})
        graphs = {"root": self.spec["root"], **components}
        for where, graph in graphs.items():
            for name, task in graph.get("dag", {}).get("tasks", {}).items():
                component = components.get(task["componentRef"]["name"], {})
                path = name if where == "root" else f"{where.removeprefix('comp-')}/{name}"
                yield path, task, component.get("executorLabel", "")


def _manifest(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "pipelines.kubeflow.org/v2beta1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def _num_comments(lines: list[str]) -> int:
    return next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))


def _word(container: Mapping[str, Any]) -> str:
    arguments = container.get("args", [])
    if _WORD_FLAG in arguments:
        return str(arguments[arguments.index(_WORD_FLAG) + 1])
    return ""
