"""A detector's network as an ONNX file. Voxelisation and decoding stay outside the graph."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx

from admlops.detection.config import NETWORK_INPUTS

if TYPE_CHECKING:
    from admlops.models.detector import Detector

OPSET = 20
"""Within the ranges of all targets; ScatterElements with a maximum needs 18."""

MODULE_PATH = "admlops.module"
"""Key of a node's metadata: the path of the torch module that it comes from."""
MODULE_CLASS = "admlops.class"
"""Key of a node's metadata: the class of that module."""
_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"


def export_onnx(detector: "Detector", path: Path, opset: int = OPSET) -> onnx.ModelProto:
    """Write the network as ONNX and return it.

    Numbers of points and pillars are dynamic; nodes carry the path of their torch module; nothing
    in the file depends on when or where it was written.
    """
    import torch

    from admlops.models.encoder import warm_inputs

    num_points = torch.export.Dim("num_points", min=2, max=2**24)
    num_pillars = torch.export.Dim("num_pillars", min=2, max=2**24)
    network = detector.network.cpu().eval()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            warm_inputs(),
            dynamo=True,
            opset_version=opset,
            input_names=list(NETWORK_INPUTS),
            output_names=list(detector.config.output_names),
            dynamic_shapes=({0: num_points}, {0: num_points}, {0: num_pillars}),
            optimize=True,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("the dynamo exporter returned nothing")
    model = program.model_proto
    _name_modules(model)
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return model


def module_path(node: onnx.NodeProto) -> str:
    """Return "path (Class)" of the torch module that a node comes from, "" where unknown."""
    entries = {entry.key: entry.value for entry in node.metadata_props}
    path, kind = entries.get(MODULE_PATH), entries.get(MODULE_CLASS)
    return f"{path} ({kind})" if path and kind else path or ""


def _name_modules(model: onnx.ModelProto) -> None:
    """Replace the exporter's metadata, which holds paths of this machine, by module names."""
    for node in model.graph.node:
        entries = {entry.key: entry.value for entry in node.metadata_props}
        scopes, classes = _as_list(entries.get(_SCOPES)), _as_list(entries.get(_CLASSES))
        del node.metadata_props[:]
        if len(scopes) > 1 and len(scopes) == len(classes) and "." in classes[-2]:
            pairs = {
                MODULE_PATH: scopes[-2] or "(network)",
                MODULE_CLASS: classes[-2].rpartition(".")[2],
            }
            for key, value in pairs.items():
                node.metadata_props.add(key=key, value=value)
    for value in (*model.graph.value_info, *model.graph.initializer):
        del value.metadata_props[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]


def _as_list(text: str | None) -> list[str]:
    """Return the strings of the list that the exporter wrote as Python text."""
    import ast

    value: Any = ast.literal_eval(text) if text else []
    return [str(item) for item in value]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says on every run and nobody can act on."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)  # "torchvision is not installed"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", category=UserWarning, message=".*axis name.*")
        try:
            yield
        finally:
            logger.setLevel(level)
