"""Building an ONNX network for a runtime: one function per target, all of the same form."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from admlops.config import Config
from admlops.detection.backends import (
    OPENVINO_FILE,
    OPENVINO_INT8_FILE,
    import_openvino,
    load_network,
)
from admlops.errors import DataError, ServiceError
from admlops.export.operator_table import Target

NetworkInputs = dict[str, NDArray[Any]]


class TargetOptions(Config):
    """How networks are built."""

    storage: Literal["f32", "f16"] = "f32"
    """How OpenVINO's weights are stored; f16 halves the file and moves results by about 1e-3."""
    int8: bool = False
    """Whether an INT8 network is built besides, from calibration frames."""


@dataclass(frozen=True, slots=True)
class Workpiece:
    """What a target is built from.

    Attributes:
        onnx_file: the network.
        folder: the built folder.
        options: how.
        calibration: inputs of real frames, for INT8.
    """

    onnx_file: Path
    folder: Path
    options: TargetOptions
    calibration: Sequence[NetworkInputs] = field(default_factory=tuple)


class BuiltTarget(Config):
    """One network that was built."""

    target: Target
    """The runtime."""
    precision: Literal["f32", "f16", "int8"]
    """Precision of its weights."""
    file: str
    """Path within the built folder."""
    runtime_version: str
    """Version that built it."""


def build_onnxruntime(work: Workpiece) -> list[BuiltTarget]:
    """Load the ONNX file once, which proves that it runs; ONNX Runtime needs no other form.

    Raises:
        DataError: ONNX Runtime cannot load it.
    """
    import onnxruntime

    load_network(work.folder, "onnxruntime")
    file = work.onnx_file.relative_to(work.folder).as_posix()
    version = str(onnxruntime.__version__)
    return [BuiltTarget(target="onnxruntime", precision="f32", file=file, runtime_version=version)]


def build_openvino(work: Workpiece) -> list[BuiltTarget]:
    """Write OpenVINO's own form, and an INT8 one where that is asked for.

    Raises:
        DataError: OpenVINO cannot read the network, or there are no calibration frames.
    """
    openvino = import_openvino()
    try:
        model = openvino.Core().read_model(work.onnx_file)
    except RuntimeError as error:
        raise DataError(f"{work.onnx_file}: OpenVINO cannot read it: {error}") from error
    compress = work.options.storage == "f16"
    _save(model, work.folder / OPENVINO_FILE, compress)
    version = str(openvino.__version__)
    built = [
        BuiltTarget(
            target="openvino",
            precision=work.options.storage,
            file=OPENVINO_FILE,
            runtime_version=version,
        )
    ]
    if work.options.int8:
        _save(_quantized(work), work.folder / OPENVINO_INT8_FILE, compress)
        built.append(
            BuiltTarget(
                target="openvino",
                precision="int8",
                file=OPENVINO_INT8_FILE,
                runtime_version=version,
            )
        )
    return built


def _quantized(work: Workpiece) -> Any:  # noqa: ANN401 - OpenVINO's type
    import onnx

    from admlops.export.quantization import quantize
    from admlops.export.rewrites import use_depth_to_space

    network = onnx.load(work.onnx_file)
    use_depth_to_space(network)
    model = import_openvino().Core().read_model(io.BytesIO(network.SerializeToString()))
    return quantize(model, work.calibration)


def build_tensorrt(work: Workpiece) -> list[BuiltTarget]:
    """Write a TensorRT engine for this machine's GPU.

    Raises:
        ServiceError: this machine has no GPU, or TensorRT and Polygraphy are not installed.
    """
    from admlops.export.tensorrt_target import build_engine

    return [build_engine(work)]


def find_builder(target: Target) -> Callable[[Workpiece], list[BuiltTarget]]:
    """Return the function that builds a target."""
    if target == "onnxruntime":
        return build_onnxruntime
    if target == "openvino":
        return build_openvino
    return build_tensorrt


def _save(model: Any, path: Path, compress: bool) -> None:  # noqa: ANN401 - OpenVINO's type
    openvino = import_openvino()
    path.parent.mkdir(exist_ok=True)
    try:
        openvino.save_model(model, path, compress_to_fp16=compress)
    except RuntimeError as error:
        raise ServiceError(f"OpenVINO: writing {path} failed: {error}") from error
