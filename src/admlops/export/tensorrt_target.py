"""TensorRT engines, through Polygraphy. Needs a GPU; everything is imported when it is asked for.

An engine runs on one GPU architecture and one TensorRT version only, so both are part of its name.
"""

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from admlops.detection.config import (
    NETWORK_INPUTS,
    NUM_POINT_FEATURES,
    POINT_FEATURES,
    read_detector_config,
)
from admlops.errors import ServiceError
from admlops.files import digest_file, write_atomically

if TYPE_CHECKING:
    from admlops.export.targets import BuiltTarget, Workpiece

_MAX_POINTS = 200_000
_TYPICAL_POINTS = 60_000
_TYPICAL_PILLARS = 15_000


def build_engine(work: "Workpiece") -> "BuiltTarget":
    """Write `tensorrt/<architecture>-<version>/model.plan` and its key; return what was built.

    Raises:
        ServiceError: this machine has no GPU, or TensorRT and Polygraphy are not installed.
    """
    from admlops.export.targets import BuiltTarget

    require_tensorrt()
    import tensorrt
    import torch
    from polygraphy.backend.trt import (
        CreateConfig,
        Profile,
        engine_from_network,
        network_from_onnx_path,
        save_engine,
    )

    major, minor = torch.cuda.get_device_capability()
    version = str(tensorrt.__version__)
    shapes = _shapes(read_detector_config(work.folder).max_pillars)
    key = {
        "onnx_sha256": digest_file(work.onnx_file),
        "architecture": f"sm{major}{minor}",
        "tensorrt": version,
        "precision": work.options.storage,
        "shapes": shapes,
    }
    profile = Profile()
    for name, (smallest, typical, largest) in shapes.items():
        profile.add(name, min=smallest, opt=typical, max=largest)
    config = CreateConfig(profiles=[profile], fp16=work.options.storage == "f16")
    engine = engine_from_network(network_from_onnx_path(str(work.onnx_file)), config=config)
    file = f"tensorrt/{key['architecture']}-{version}/model.plan"
    path = work.folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    save_engine(engine, str(path))
    write_atomically(path.with_name("key.json"), json.dumps(key, indent=2) + "\n")
    return BuiltTarget(
        target="tensorrt", precision=work.options.storage, file=file, runtime_version=version
    )


def require_tensorrt() -> None:
    """Insist on what building an engine needs.

    Raises:
        ServiceError: names everything that is missing.
    """
    missing = [name for name in ("tensorrt", "polygraphy") if find_spec(name) is None]
    import torch

    needs = [f"the Python package {name}" for name in missing]
    if not torch.cuda.is_available():
        needs.insert(0, "an NVIDIA GPU of the kind that will serve (none is visible here)")
    if needs:
        raise ServiceError(
            f"TensorRT: building an engine needs {', '.join(needs)}. Build on the serving node "
            "pool with its image, or choose the targets onnxruntime and openvino"
        )


def _shapes(max_pillars: int) -> dict[str, Any]:
    """Return smallest, typical and largest shape of each input."""
    shapes: dict[str, Any] = {}
    for name in NETWORK_INPUTS:
        typical, largest = _TYPICAL_POINTS, _MAX_POINTS
        if name == NETWORK_INPUTS[-1]:
            typical, largest = min(_TYPICAL_PILLARS, max_pillars), max_pillars
        tail = (NUM_POINT_FEATURES,) if name == POINT_FEATURES else ()
        shapes[name] = [(1, *tail), (typical, *tail), (largest, *tail)]
    return shapes
