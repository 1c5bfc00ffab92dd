"""TensorRT engines: how one runs in this process, on a GPU.

Triton runs a served engine itself; here it is run to be compared with the ONNX file that it was
built from, before anything is published.
"""

import weakref
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError, ServiceError

if TYPE_CHECKING:
    from admlops.detection.predictor import Network


def load_engine(path: Path) -> "Network":
    """Return an engine, ready to run on this machine's GPU.

    Args:
        path: the engine.

    Raises:
        DataError: this machine's TensorRT and GPU cannot load it.
        ServiceError: TensorRT or Polygraphy is not installed.
    """
    missing = [name for name in ("tensorrt", "polygraphy") if find_spec(name) is None]
    if missing:
        raise ServiceError(
            f"{path}: running an engine needs the Python packages {', '.join(missing)} and an "
            "NVIDIA GPU; run this step on the serving pool, in the image `export`"
        )
    from polygraphy.backend.common import bytes_from_path
    from polygraphy.backend.trt import TrtRunner, engine_from_bytes
    from polygraphy.exception import PolygraphyException

    try:
        runner = TrtRunner(engine_from_bytes(bytes_from_path(str(path))))
        runner.activate()
    except (PolygraphyException, RuntimeError, AttributeError) as error:
        raise DataError(f"{path}: TensorRT cannot load it here ({error}); build it here") from error

    def run(inputs: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[np.float32]]:
        arrays = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        return {name: np.array(array) for name, array in runner.infer(arrays).items()}

    weakref.finalize(run, runner.deactivate)
    return run
