"""Examines a compiled pipeline against the table of rules; compilation fails where one fires."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from admlops.errors import ConfigError
from admlops.kubeflow.compiled import CompiledPipeline, Executor
from admlops.kubeflow.lint_rules import lint_finding
from admlops.kubeflow.placement import SHM_PATH
from admlops.structures.finding import Finding, Rule

MAX_PARAMETER_BYTES = 32 * 1024
_MAX_NUMBERS = 1000
_UNCACHED = frozenset({"gate", "publish", "deploy", "monitor"})
_SECRET_NAME = re.compile(
    r"(pass(word|wd|phrase)|secret|(^|[_.-])token|api_?key|access_?key|private_?key|credentials?)$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----|\bgh[pousr]_\w{30,}"
    r"|\bhf_\w{30,}|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.|^\w[\w+.-]*://[^/\s:@]+:[^/\s@]+@"
)
_INLINE_DATA = re.compile(r"^data:[\w/+.-]*;base64,|^[A-Za-z0-9+/]{1024,}={0,2}$")


def lint(compiled: CompiledPipeline, gpu_steps: Collection[str] = ()) -> list[Finding]:
    """Return everything that a compiled pipeline should not hold.

    Args:
        compiled: its two documents.
        gpu_steps: steps that must be given a GPU; one that asks for an accelerator is always one.
    """
    findings: list[Finding] = []
    words: dict[str, str] = {}
    for executor in compiled.executors():
        words[executor.label] = executor.word
        findings += _lint_image(executor)
        if executor.word in gpu_steps or _accelerator(executor):
            findings += _lint_gpu(executor)
    for path, task, label in compiled.tasks():
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        if cached and words.get(label) in _UNCACHED:
            findings.append(lint_finding("CACHE001", f"task {path}", "caching is on"))
    for where, name, value in _constants(compiled):
        findings += _lint_value(where, name, value)
    return findings


def refuse(findings: Sequence[Finding], pipeline: str) -> None:
    """Do nothing where there are no findings.

    Raises:
        ConfigError: lists all findings; what is the same in many places stands on one line.
    """
    places: dict[tuple[Rule, str], list[str]] = {}
    for finding in findings:
        places.setdefault((finding.rule, finding.what), []).append(finding.where)
    if places:
        lines = [str(Finding(rule, "; ".join(at), what)) for (rule, what), at in places.items()]
        listed = "\n  ".join(lines)
        raise ConfigError(f"{pipeline}: {len(findings)} lint finding(s)\n  {listed}")


def _lint_image(executor: Executor) -> Iterator[Finding]:
    image = str(executor.container.get("image", ""))
    _, _, tag = image.rpartition("/")[2].partition("@")[0].partition(":")
    if tag == "latest":
        yield lint_finding("IMAGE001", executor.label, f"the image is {image}")
    if not tag and "@sha256:" not in image:
        yield lint_finding("IMAGE002", executor.label, f"the image is {image or 'missing'}")


def _accelerator(executor: Executor) -> Mapping[str, Any]:
    return dict(executor.container.get("resources", {}).get("accelerator", {}))


def _lint_gpu(executor: Executor) -> Iterator[Finding]:
    platform, where = executor.platform, executor.label
    selector = platform.get("nodeSelector", {})
    if not (selector.get("labels") or selector.get("nodeSelectorJson")):
        yield lint_finding("GPU001", where, "it has no node selector")
    if not platform.get("tolerations"):
        yield lint_finding("GPU002", where, "it has no toleration")
    accelerator = _accelerator(executor)
    kind = accelerator.get("resourceType") or accelerator.get("type")
    count = accelerator.get("resourceCount") or accelerator.get("count")
    if not kind or str(count or "0") == "0":
        what = f"its accelerator is {kind or 'not named'}, its limit {count or 'absent'}"
        yield lint_finding("GPU003", where, what)
    if not any(_is_shm(mount) for mount in platform.get("emptyDirMounts", [])):
        yield lint_finding("GPU004", where, f"nothing with a size is mounted at {SHM_PATH}")
    if int(platform.get("activeDeadlineSeconds", 0)) <= 0:
        yield lint_finding("GPU005", where, "it has no timeout")
    for task, retries in executor.num_retries.items():
        if retries <= 0:
            yield lint_finding("GPU006", f"task {task}", "it has no retries")


def _is_shm(mount: Mapping[str, Any]) -> bool:
    in_memory = mount.get("medium") == "Memory" and mount.get("mountPath") == SHM_PATH
    return in_memory and bool(mount.get("sizeLimit"))


def _constants(compiled: CompiledPipeline) -> Iterator[tuple[str, str, Any]]:
    """Yield place, name and value of all that is written into the documents."""
    graphs = {"root": compiled.spec["root"], **compiled.spec.get("components", {})}
    for where, graph in graphs.items():
        parameters = graph.get("inputDefinitions", {}).get("parameters", {})
        for name, parameter in parameters.items():
            if "defaultValue" in parameter:
                yield f"{where}, parameter {name}", name, parameter["defaultValue"]
    for path, task, _ in compiled.tasks():
        for name, parameter in task.get("inputs", {}).get("parameters", {}).items():
            runtime = parameter.get("runtimeValue", {})
            if "constant" in runtime:
                yield f"task {path}, parameter {name}", name, runtime["constant"]
    for executor in compiled.executors():
        for variable in executor.container.get("env", []):
            name = variable["name"]
            yield f"{executor.label}, variable {name}", name, variable.get("value", "")


def _lint_value(where: str, name: str, value: Any) -> Iterator[Finding]:  # noqa: ANN401 - JSON
    num_bytes = len(json.dumps(value).encode())
    if num_bytes > MAX_PARAMETER_BYTES:
        what = f"it holds {num_bytes} bytes, {MAX_PARAMETER_BYTES} are allowed"
        yield lint_finding("PARAM001", where, what)
    for path, leaf in _leaves(name, value):
        place = where if path == name else f"{where}, field {path.removeprefix(f'{name}.')}"
        if isinstance(leaf, list):
            yield lint_finding("PARAM001", place, f"it lists {len(leaf)} numbers")
        elif _is_secret(path.rpartition(".")[2], leaf):
            yield lint_finding("SECRET001", place, "it holds what looks like a secret")
        elif _INLINE_DATA.search(leaf):
            yield lint_finding("PARAM001", place, f"it holds inline data ({len(leaf)} characters)")


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str | list[Any]]]:  # noqa: ANN401
    """Yield every text, and every list of more numbers than settings have, with its path."""
    if isinstance(value, str):
        yield path, value
        if value[:1] in ("{", "["):
            yield from _leaves(path, _read_json(value))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{path}.{name}", item)
    elif isinstance(value, list):
        if sum(isinstance(item, int | float) for item in value) > _MAX_NUMBERS:
            yield path, value
        for item in value:
            yield from _leaves(path, item)


def _read_json(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None


def _is_secret(name: str, value: str) -> bool:
    named = bool(_SECRET_NAME.search(name)) and bool(value.strip())
    return named or bool(_SECRET_VALUE.search(value))
