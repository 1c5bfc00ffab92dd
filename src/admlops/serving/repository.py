"""The text of Triton's model configurations.

Source: Triton Inference Server, "Model Configuration" and "Ensemble Models".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from admlops.detection.config import NETWORK_INPUTS, NUM_POINT_FEATURES, POINT_FEATURES
from admlops.serving.stages import BOXES, LABELS, NUM_PILLARS, POINTS, SCORES

ENSEMBLE = "points_to_boxes"
"""Name of the model that clients call."""
NETWORK = "network"
"""Name of the model between voxelising and decoding."""

RELEASE, MOUNTING, CATEGORIES = "release", "ego_from_lidar", "categories"
"""Parameters of the ensemble: the release's id; in JSON the nominal calibration and the names."""

_TRITON_TYPES = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "int64": "TYPE_INT64",
    "int32": "TYPE_INT32",
    "object": "TYPE_STRING",
}


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a model.

    Attributes:
        name: its name.
        dtype: numpy dtype; object means strings.
        dims: its shape; -1 where it changes.
    """

    name: str
    dtype: DTypeLike
    dims: tuple[int, ...]

    def to_text(self) -> str:
        """Return the tensor's entry in a configuration."""
        kind = _TRITON_TYPES[np.dtype(self.dtype).name]
        dims = ", ".join(str(size) for size in self.dims)
        return f'  {{ name: "{self.name}" data_type: {kind} dims: [ {dims} ] }}'


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a repository: its name, inputs and outputs."""

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_text(self) -> str:
        """Return `config.pbtxt` of a model in the Python backend, on the CPU."""
        return (
            f'name: "{self.name}"\nbackend: "python"\n'
            + self._tensors_text()
            + "instance_group [ { kind: KIND_CPU count: 1 } ]\n"
        )

    def to_engine_text(self, architecture: str, file: str) -> str:
        """Return `config.pbtxt` of a TensorRT engine, on the GPU.

        Triton looks the file up by compute capability. There is none under its usual name
        (model.plan), so another GPU is told that it has no engine, and never loads a wrong one.

        Args:
            architecture: for example "sm90".
            file: name of the engine in the folder of the version.
        """
        digits = architecture.removeprefix("sm")
        capability = f"{digits[:-1]}.{digits[-1]}"
        return (
            f'name: "{self.name}"\nplatform: "tensorrt_plan"\n'
            + self._tensors_text()
            + "instance_group [ { kind: KIND_GPU count: 1 } ]\n"
            + f'cc_model_filenames {{ key: "{capability}" value: "{file}" }}\n'
        )

    def to_ensemble_text(self, steps: Sequence["ModelSpec"], parameters: Mapping[str, str]) -> str:
        """Return `config.pbtxt` of an ensemble whose tensors meet by name.

        Args:
            steps: the models, in order.
            parameters: texts that clients can ask for.
        """
        entries = ",\n".join(_step_text(step) for step in steps)
        extra = "".join(
            f'parameters {{ key: "{key}" value {{ string_value: {_quote(value)} }} }}\n'
            for key, value in parameters.items()
        )
        return (
            f'name: "{self.name}"\nplatform: "ensemble"\n'
            + self._tensors_text()
            + f"ensemble_scheduling {{\n  step [\n{entries}\n  ]\n}}\n{extra}"
        )

    def _tensors_text(self) -> str:
        inputs = ",\n".join(tensor.to_text() for tensor in self.inputs)
        outputs = ",\n".join(tensor.to_text() for tensor in self.outputs)
        return f"max_batch_size: 0\ninput [\n{inputs}\n]\noutput [\n{outputs}\n]\n"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _step_text(step: ModelSpec) -> str:
    maps = [f'input_map {{ key: "{t.name}" value: "{t.name}" }}' for t in step.inputs]
    maps += [f'output_map {{ key: "{t.name}" value: "{t.name}" }}' for t in step.outputs]
    lines = "\n".join(f"      {line}" for line in maps)
    return f'    {{\n      model_name: "{step.name}"\n      model_version: -1\n{lines}\n    }}'


def detector_models(
    output_shapes: Mapping[str, tuple[int, ...]],
) -> tuple[ModelSpec, tuple[ModelSpec, ...]]:
    """Return the ensemble and its three stages, in order, for a network with these outputs."""
    points = (TensorSpec(POINTS, np.float32, (-1, 4)),)
    count = TensorSpec(NUM_PILLARS, np.int64, (1,))
    network_inputs = tuple(
        TensorSpec(name, np.float32, (-1, NUM_POINT_FEATURES))
        if name == POINT_FEATURES
        else TensorSpec(name, np.int64, (-1,))
        for name in NETWORK_INPUTS
    )
    network_outputs = tuple(
        TensorSpec(name, np.float32, shape) for name, shape in output_shapes.items()
    )
    found = (
        TensorSpec(BOXES, np.float32, (-1, 7)),
        TensorSpec(SCORES, np.float32, (-1,)),
        TensorSpec(LABELS, np.object_, (-1,)),
    )
    stages = (
        ModelSpec("voxelize", points, (*network_inputs, count)),
        ModelSpec(NETWORK, network_inputs, network_outputs),
        ModelSpec("decode", (*network_outputs, count), found),
    )
    return ModelSpec(ENSEMBLE, points, found), stages
