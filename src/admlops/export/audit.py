"""Which nodes of an ONNX model which runtime cannot run, where they come from, and what to do.

The audit needs no weights that mean anything: it can be made before a model is trained.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import onnx
import yaml

from admlops.config import Config
from admlops.errors import ConfigError
from admlops.export.onnx_file import module_path
from admlops.export.operator_table import FOLDER, OperatorEntry, OperatorTable, Target, load_table

_DEFAULT_DOMAINS = ("", "ai.onnx")


class AuditFinding(Config):
    """One node that one runtime cannot run."""

    target: str
    """Runtime and version of the table."""
    node: str
    """Name of the node."""
    operator: str
    """Its operator."""
    module: str
    """Path and class of the torch module that it comes from; empty where the file does not say."""
    reason: str
    """What is not supported."""
    rewrite: str
    """What to do."""

    def __str__(self) -> str:
        """Return the finding on one line."""
        place = f" in {self.module}" if self.module else ""
        return (
            f"{self.target}: {self.operator} ({self.node}){place}: {self.reason}. "
            f"To mend it, {self.rewrite}"
        )


class Audit(Config):
    """What is known of a model's operators."""

    opset: int
    """The model's opset."""
    operators: dict[str, int]
    """How many nodes each operator has."""
    dynamic_inputs: dict[str, tuple[str, ...]]
    """Inputs with dynamic dimensions, and these dimensions' names."""
    tables: tuple[str, ...]
    """The tables that the model was compared with."""
    findings: tuple[AuditFinding, ...]
    """Nodes that a runtime cannot run; empty means that all run everything."""
    notes: tuple[str, ...]
    """Restrictions in words, of operators that the model uses."""

    def of(self, target: Target) -> tuple[AuditFinding, ...]:
        """Return the findings of one runtime."""
        return tuple(f for f in self.findings if f.target.rpartition("-")[0] == target)


@dataclass(frozen=True, slots=True)
class _Tensors:
    """What is known of a graph's tensors by name."""

    types: Mapping[str, str]
    dynamic: frozenset[str]
    constants: frozenset[str]


def audit_model(model: onnx.ModelProto, targets: Sequence[Target]) -> Audit:
    """Compare every node of a model with the operator table of each target."""
    tables = [load_table(target) for target in targets]
    inferred = onnx.shape_inference.infer_shapes(model)
    tensors = _tensors(inferred.graph)
    opset = next(o.version for o in model.opset_import if o.domain in _DEFAULT_DOMAINS)
    nodes = list(_all_nodes(inferred.graph))
    findings = [
        _finding(table, node, reason)
        for table in tables
        for node in nodes
        for reason in _reasons(node, table, tensors, opset)
    ]
    findings += [finding for table in tables for finding in _opset_findings(table, opset)]
    used = sorted({node.op_type for node in nodes})
    entries = [(table.name, name, table.operators.get(name)) for table in tables for name in used]
    return Audit(
        opset=opset,
        operators={name: sum(node.op_type == name for node in nodes) for name in used},
        dynamic_inputs={
            value.name: names
            for value in model.graph.input
            if (names := _dynamic_dimensions(value))
        },
        tables=tuple(table.name for table in tables),
        findings=tuple(findings),
        notes=tuple(f"{table} {name}: {e.note}" for table, name, e in entries if e and e.note),
    )


def require_supported(audit: Audit, target: Target) -> None:
    """Refuse a model that a runtime cannot run.

    Raises:
        ConfigError: names each node, its module and what to do.
    """
    findings = audit.of(target)
    if findings:
        lines = "\n".join(f"  {finding}" for finding in findings)
        raise ConfigError(f"{target} cannot run {len(findings)} node(s) of the network:\n{lines}")


def _reasons(
    node: onnx.NodeProto, table: OperatorTable, tensors: _Tensors, opset: int
) -> Iterator[str]:
    if node.domain not in _DEFAULT_DOMAINS:
        yield f"operators of the domain {node.domain!r} are not standard"
        return
    entry = table.operators.get(node.op_type)
    if entry is None:
        yield "the operator is not supported"
        return
    since = onnx.defs.get_schema(node.op_type, opset).since_version
    first, last = entry.opsets
    if not first <= since <= last:
        yield f"version {since} of the operator is not supported, {first} to {last} are"
    kind = tensors.types.get(node.input[0]) if node.input else None
    allowed = table.type_groups[entry.types]
    if kind and allowed and kind not in allowed:
        yield f"element type {kind} is not supported, {', '.join(allowed)} are"
    yield from _attribute_reasons(node, entry)
    if entry.static and any(name in tensors.dynamic for name in node.input):
        yield "dynamic dimensions are not supported"
    for number in entry.constant_inputs:
        name = node.input[number] if number < len(node.input) else ""
        if name and name not in tensors.constants:
            yield f"input {number} ({name}) must be a constant"


def _attribute_reasons(node: onnx.NodeProto, entry: OperatorEntry) -> Iterator[str]:
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        text = value.decode() if isinstance(value, bytes) else str(value)
        allowed = entry.attributes.get(attribute.name)
        if allowed and text not in allowed:
            yield f"{attribute.name}={text} is not supported, {', '.join(allowed)} are"


def _opset_findings(table: OperatorTable, opset: int) -> Iterator[AuditFinding]:
    first, last = table.opsets
    if not first <= opset <= last:
        yield AuditFinding(
            target=table.name,
            node="(model)",
            operator="(all)",
            module="",
            reason=f"opset {opset} is not supported, {first} to {last} are",
            rewrite=f"export with an opset from {first} to {last}",
        )


def _finding(table: OperatorTable, node: onnx.NodeProto, reason: str) -> AuditFinding:
    rewrites = _rewrites()
    return AuditFinding(
        target=table.name,
        node=node.name or node.output[0],
        operator=node.op_type,
        module=module_path(node),
        reason=reason,
        rewrite=rewrites.get(node.op_type, rewrites[""]),
    )


@cache
def _rewrites() -> dict[str, str]:
    rewrites: dict[str, str] = yaml.safe_load((FOLDER / "rewrites.yaml").read_text())
    return rewrites


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a graph and of the graphs inside its nodes (If, Loop)."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _all_nodes(attribute.g)


def _tensors(graph: onnx.GraphProto) -> _Tensors:
    values = [*graph.input, *graph.value_info, *graph.output]
    types = {value.name: _type_name(value.type.tensor_type.elem_type) for value in values}
    types |= {item.name: _type_name(item.data_type) for item in graph.initializer}
    constants = {item.name for item in graph.initializer}
    constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
    dynamic = frozenset(value.name for value in values if _dynamic_dimensions(value))
    return _Tensors(types, dynamic, frozenset(constants))


def _dynamic_dimensions(value: onnx.ValueInfoProto) -> tuple[str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_param or "?" for dim in dims if not dim.HasField("dim_value"))


def _type_name(number: int) -> str:
    if number == onnx.TensorProto.STRING:
        return "string"
    if number == onnx.TensorProto.UNDEFINED:
        return ""
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(number)).name
