"""What a TensorRT engine is bound to, and whether this node can run it.

Beside every `model.plan` lies the `key.json` that `build` wrote: an engine runs on one GPU
architecture and one TensorRT version only, and Triton tells it late and unclearly.
"""

import ctypes
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import Field

from admlops.config import Config
from admlops.detection.engine_file import ENGINE_SUFFIX, KEY_FILE
from admlops.errors import ConfigError, DataError
from admlops.serving.inventory import Inventory

_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of the CUDA driver API."""


class EngineKey(Config):
    """What one engine was built from and for."""

    onnx_sha256: str
    """SHA-256 of the ONNX file."""
    architecture: str = Field(pattern=r"^sm\d{2,3}$")
    """Compute capability of the GPU, for example sm90."""
    tensorrt: str
    """Version of TensorRT that built it, and the only one that runs it."""
    precision: str
    """How numbers are stored."""
    shapes: dict[str, Any]
    """Smallest, typical and largest shape of each input."""
    plugins: tuple[str, ...] = ()
    """Names and versions of plugins that it needs."""


@dataclass(frozen=True, slots=True)
class ServingNode:
    """What runs engines on this node.

    Attributes:
        architecture: of its GPU, for example "sm90"; empty without one.
        tensorrt: version inside the serving image; empty where it is not known.
    """

    architecture: str = ""
    tensorrt: str = ""

    def __str__(self) -> str:
        """Return a description for messages."""
        gpu = self.architecture or "no GPU"
        return f"{gpu}, TensorRT {self.tensorrt or 'of an unknown version'}"


def find_architecture() -> str:
    """Return the architecture of this machine's first GPU from the CUDA driver, or ""."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    device, major, minor = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    failed = (
        driver.cuInit(0)
        or driver.cuDeviceGet(ctypes.byref(device), 0)
        or driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR_ATTRIBUTE, device)
        or driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR_ATTRIBUTE, device)
    )
    return "" if failed else f"sm{major.value}{minor.value}"


def key_files(inventory: Inventory) -> list[str]:
    """Return the names of the keys of a release's engines; none for a release without engines.

    Raises:
        DataError: an engine has no key.
    """
    engines = [name for name in inventory.digests if name.endswith(ENGINE_SUFFIX)]
    keys = {name: str(PurePosixPath(name).with_name(KEY_FILE)) for name in engines}
    for engine, key in keys.items():
        if key not in inventory.digests:
            raise DataError(f"{engine}: an engine without {KEY_FILE} beside it; build it again")
    return sorted(set(keys.values()))


def read_key(path: Path, name: str) -> EngineKey:
    """Return the key in a file.

    Raises:
        DataError: it is damaged.
    """
    try:
        return EngineKey.parse(json.loads(path.read_bytes()), where=name)
    except (ValueError, ConfigError) as error:
        raise DataError(f"{name}: is no engine key ({error}); build the engine again") from error


def require_engine_for(node: ServingNode, keys: Sequence[EngineKey], inventory: Inventory) -> None:
    """Refuse a release whose engines this node cannot run.

    Raises:
        DataError: names what the engines were built for and what the node has, or an engine whose
            ONNX file is not in the release.
    """
    digests = set(inventory.digests.values())
    for key in keys:
        if key.onnx_sha256 not in digests:
            raise DataError(
                f"engine for {key.architecture}: it was built from another ONNX file than the "
                f"release's (SHA-256 {key.onnx_sha256[:12]}...); build and publish again"
            )
    fitting = [
        k for k in keys if (k.architecture, k.tensorrt) == (node.architecture, node.tensorrt)
    ]
    if keys and not fitting:
        built_for = "; ".join(f"{key.architecture}, TensorRT {key.tensorrt}" for key in keys)
        raise DataError(
            f"engine key: the release has engines for {built_for}; this node has {node}. Build on "
            "the serving pool with the serving image's TensorRT, or choose another pool"
        )
