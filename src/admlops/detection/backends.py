"""Networks that run outside torch: ONNX Runtime, OpenVINO and TensorRT behind one function.

A built folder holds ``model.onnx``, ``openvino/model.xml`` and, where it was asked for,
``openvino/model_int8.xml`` or ``tensorrt/<architecture>-<version>/model.plan``. The runtimes are
imported when they are asked for.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from admlops.detection.predictor import Network
from admlops.errors import ConfigError, DataError, ServiceError

Runtime = Literal["onnxruntime", "openvino", "tensorrt"]
Precision = Literal["f32", "bf16", "int8"]

ONNX_FILE = "model.onnx"
OPENVINO_FILE = "openvino/model.xml"
OPENVINO_INT8_FILE = "openvino/model_int8.xml"
_CI_VARIABLE = "CI"


def load_network(
    built: Path, runtime: Runtime, precision: Precision = "f32", num_threads: int = 0
) -> Network:
    """Return the network of a built folder, ready to run.

    The returned function's outputs are views that hold until its next call.

    Args:
        built: the built folder.
        runtime: what runs it.
        precision: "f32" also where the CPU would choose another by itself; "bf16" and "int8" are
            for OpenVINO only.
        num_threads: 0 lets the runtime choose.

    Raises:
        ConfigError: the runtime does not run that precision.
        DataError: the file is absent or cannot be read.
        ServiceError: the runtime is not installed.
    """
    if runtime == "onnxruntime":
        if precision != "f32":
            raise ConfigError(
                f"precision {precision!r} is not for onnxruntime; choose 'f32', or runtime openvino"
            )
        return _load_onnxruntime(_existing(built / ONNX_FILE), num_threads)
    if runtime == "openvino":
        file = OPENVINO_INT8_FILE if precision == "int8" else OPENVINO_FILE
        return _load_openvino(_existing(built / file), precision, num_threads)
    if runtime == "tensorrt":
        if precision != "f32":
            raise ConfigError(
                f"precision {precision!r} is not for tensorrt: an engine has the one that it was "
                "built with (storage of `build`); leave it out"
            )
        from admlops.detection.engine import load_engine
        from admlops.detection.engine_file import find_engine

        return load_engine(find_engine(built))
    raise ConfigError(
        f"runtime {runtime!r} is unknown; choose 'onnxruntime', 'openvino' or 'tensorrt'"
    )


def network_file(runtime: Runtime, precision: Precision) -> str:
    """Return the path, within a built folder, of what a CPU runtime loads."""
    if runtime == "onnxruntime":
        return ONNX_FILE
    return OPENVINO_INT8_FILE if precision == "int8" else OPENVINO_FILE


def cpu_has_bf16() -> bool:
    """Return whether OpenVINO runs bfloat16 natively on this machine's CPU."""
    openvino = import_openvino()
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _load_onnxruntime(path: Path, num_threads: int) -> Network:
    onnxruntime = _import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    state = onnxruntime.capi.onnxruntime_pybind11_state
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
    except (state.Fail, state.InvalidProtobuf, state.InvalidGraph, state.NotImplemented) as error:
        raise DataError(f"{path}: ONNX Runtime cannot load it: {error}") from error
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def _load_openvino(path: Path, precision: Precision, num_threads: int) -> Network:
    openvino = import_openvino()
    core = openvino.Core()
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
    }
    if num_threads:
        settings["INFERENCE_NUM_THREADS"] = num_threads
    try:
        request = core.compile_model(str(path), "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise DataError(f"{path}: OpenVINO cannot load it: {error}") from error
    names = [output.get_any_name() for output in request.model_outputs]

    def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        results = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
        return {name: results[index] for index, name in enumerate(names)}

    return run


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; run `admlops build` to make it")
    return path


@contextmanager
def without_usage_reports() -> Iterator[None]:
    """Import OpenVINO or NNCF inside this block: they report every import over the network.

    The report forks the process besides. The packages leave it out in CI jobs, so that is what
    the environment says while the block runs.
    """
    before = os.environ.get(_CI_VARIABLE)
    os.environ[_CI_VARIABLE] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CI_VARIABLE]
        else:
            os.environ[_CI_VARIABLE] = before


def import_openvino() -> Any:  # noqa: ANN401 - a module
    """Import and return OpenVINO.

    Raises:
        ServiceError: it is not installed.
    """
    try:
        with without_usage_reports():
            import openvino
    except ImportError as error:
        raise ServiceError(_absent("openvino")) from error
    return openvino


def _import_onnxruntime() -> Any:  # noqa: ANN401 - a module
    try:
        import onnxruntime
    except ImportError as error:
        raise ServiceError(_absent("onnxruntime")) from error
    return onnxruntime


def _absent(name: str) -> str:
    return f"{name} is not installed; install admlops with the extra [export]"
