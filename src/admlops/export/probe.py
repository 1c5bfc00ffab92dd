"""Writes the operator tables of the installed ONNX Runtime and OpenVINO.

``python -m admlops.export.probe`` rewrites the files after a runtime was updated. ONNX Runtime
lists its kernels; OpenVINO's frontend is asked, with a model of one node, about each operator.
"""

import io
from typing import Any

import onnx
from onnx import TensorProto, helper

from admlops.detection.backends import import_openvino
from admlops.export.operator_table import (
    FOLDER,
    OperatorEntry,
    OperatorTable,
    Target,
    write_table,
)

_OPSET = 24
"""Operators are probed as of this opset; newer ones are previews for the runtimes."""
_REFUSAL = "No conversion rule found for operations"
_FLOAT_FIRST = ("tensor(float)", "tensor(int64)", "tensor(bool)")


def probe_onnxruntime() -> OperatorTable:
    """Return the table of the installed ONNX Runtime, for its CPU provider."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kernels = [
        kernel
        for kernel in state.get_all_opkernel_def()
        if kernel.domain == "" and kernel.provider == "CPUExecutionProvider"
    ]
    groups: dict[tuple[str, ...], str] = {}
    entries = {"Constant": OperatorEntry()}
    for schema in _schemas():
        fitting = [kernel for kernel in kernels if _serves(kernel, schema)]
        if fitting:
            types = _first_input_types(schema, fitting)
            group = groups.setdefault(types, f"g{len(groups)}") if types else "all"
            first = min(k.version_range[0] for k in kernels if k.op_name == schema.name)
            entries[schema.name] = OperatorEntry(types=group, opsets=(first, _OPSET))
        elif schema.has_function or schema.has_context_dependent_function:
            entries[schema.name] = OperatorEntry(note="expanded into other operators")
    return OperatorTable(
        target="onnxruntime",
        version=_short(onnxruntime.__version__),
        source="kernel registry of the installed package, CPUExecutionProvider",
        opsets=(7, _OPSET),
        type_groups={name: types for types, name in groups.items()} | {"all": ()},
        operators=entries,
    )


def _serves(kernel: Any, schema: onnx.defs.OpSchema) -> bool:  # noqa: ANN401 - the runtime's type
    first, last = kernel.version_range
    return kernel.op_name == schema.name and first <= schema.since_version <= last


def _first_input_types(
    schema: onnx.defs.OpSchema,
    kernels: list[Any],
) -> tuple[str, ...]:
    """Return the tensor types that the first input may have; none where kernels do not say."""
    if not schema.inputs:
        return ()
    key = schema.inputs[0].type_str
    names = {name for kernel in kernels for name in kernel.type_constraints.get(key, ())}
    return tuple(sorted(_plain(name) for name in names if name.startswith("tensor(")))


def probe_openvino() -> OperatorTable:
    """Return the table of the installed OpenVINO's ONNX frontend."""
    openvino = import_openvino()
    entries = {schema.name: OperatorEntry() for schema in _schemas() if _openvino_knows(schema)}
    return OperatorTable(
        target="openvino",
        version=_short(openvino.__version__),
        source="ONNX frontend of the installed package, asked with one node per operator",
        opsets=(7, _OPSET),
        type_groups={"all": _OPENVINO_TYPES},
        operators=entries,
    )


_OPENVINO_TYPES = (
    *("float32", "float16", "bfloat16", "float64", "bool", "int8", "uint8", "int16", "uint16"),
    *("int32", "uint32", "int64", "uint64", "int4", "uint4", "string"),
)


def _openvino_knows(schema: onnx.defs.OpSchema) -> bool:
    try:
        import_openvino().Core().read_model(io.BytesIO(_one_node_model(schema)))
    except (RuntimeError, TypeError) as error:
        return _REFUSAL not in str(error)
    return True


def _one_node_model(schema: onnx.defs.OpSchema) -> bytes:
    names = [f"x{number}" for number in range(max(schema.min_input, 0))]
    inputs = [
        helper.make_tensor_value_info(name, _element_type(schema, number), ["a", "b"])
        for number, name in enumerate(names)
    ]
    outputs = [f"y{number}" for number in range(max(schema.min_output, 1))]
    node = helper.make_node(schema.name, names, outputs)
    results = [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "one", inputs, results)
    opset = helper.make_opsetid("", schema.since_version)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    data: bytes = model.SerializeToString()
    return data


def _element_type(schema: onnx.defs.OpSchema, number: int) -> int:
    wanted = schema.inputs[min(number, len(schema.inputs) - 1)].types
    kind = next((name for name in _FLOAT_FIRST if name in wanted), "tensor(float)")
    return {"tensor(float)": TensorProto.FLOAT, "tensor(int64)": TensorProto.INT64}.get(
        kind, TensorProto.BOOL
    )


def _schemas() -> list[onnx.defs.OpSchema]:
    """Return the schemas of the default domain as of the probed opset, by name."""
    names = sorted({s.name for s in onnx.defs.get_all_schemas() if s.domain == ""})
    found = []
    for name in names:
        try:
            schema = onnx.defs.get_schema(name, _OPSET)
        except onnx.defs.SchemaError:  # newer than the probed opset
            continue
        if not schema.deprecated:
            found.append(schema)
    return found


def _plain(kind: str) -> str:
    name = kind.removeprefix("tensor(").removesuffix(")")
    return {"float": "float32", "double": "float64"}.get(name, name)


def _short(version: str) -> str:
    return ".".join(version.split("-", maxsplit=1)[0].split(".")[:2])


def main() -> None:
    """Rewrite the tables of the installed runtimes, removing those of other versions."""
    for table in (probe_onnxruntime(), probe_openvino()):
        target: Target = table.target
        for old in FOLDER.glob(f"{target}-*.yaml"):
            old.unlink()
        write_table(table, FOLDER / f"{table.name}.yaml")
        print(table.name, len(table.operators), "operators")


if __name__ == "__main__":
    main()
