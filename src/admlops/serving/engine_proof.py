"""The proof of a release whose network is a TensorRT engine.

The embedded Triton server has no GPU, so the release's own stages run in this process around the
engine. What Triton adds (its own loading of the engine, the ensemble) is seen when a pod becomes
ready, and by `verify` with a canary.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from admlops.detection.backends import ONNX_FILE
from admlops.detection.config import NETWORK_INPUTS, POINT_FEATURES
from admlops.detection.engine import load_engine
from admlops.detection.engine_file import KEY_FILE, find_engine
from admlops.detection.predictor import Network
from admlops.errors import DataError
from admlops.files import digest_file
from admlops.serving.engine_key import (
    EngineKey,
    ServingNode,
    find_architecture,
    read_key,
    require_engine_for,
)
from admlops.serving.golden import Golden, require_equal
from admlops.serving.inventory import FILES_FILE, MODELS_FOLDER, Inventory
from admlops.serving.stages import (
    NUM_PILLARS,
    POINTS,
    SETTINGS_FILE,
    DecodeStage,
    ServingSettings,
    VoxelizeStage,
    arrays_to_boxes,
)


def read_engine(built: Path) -> EngineKey:
    """Return the key of a built folder's engine.

    Raises:
        DataError: there is no engine, its key is absent or damaged, or it was built from another
            ONNX file than the one in the folder.
    """
    engine = find_engine(built)
    key_file = engine.with_name(KEY_FILE)
    if not key_file.is_file():
        raise DataError(f"{engine}: an engine without {KEY_FILE} beside it; build it again")
    key = read_key(key_file, str(key_file))
    onnx_file = built / ONNX_FILE
    if not onnx_file.is_file() or digest_file(onnx_file) != key.onnx_sha256:
        raise DataError(
            f"{engine}: the engine was built from another ONNX file than {onnx_file} (SHA-256 "
            f"{key.onnx_sha256[:12]}...); build it again"
        )
    return key


def largest_cloud(key: EngineKey) -> int:
    """Return the number of points that the engine's largest shape has room for.

    Raises:
        DataError: the key does not say.
    """
    try:
        return int(key.shapes[POINT_FEATURES][2][0])
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"engine key: shapes of {POINT_FEATURES} are missing; build the engine again"
        ) from error


def this_node() -> ServingNode:
    """Return the GPU and the TensorRT of this machine."""
    version = ""
    if find_spec("tensorrt") is not None:
        import tensorrt

        version = str(tensorrt.__version__)
    return ServingNode(find_architecture(), version)


def make_prover(
    node: ServingNode, load: Callable[[Path], Network] = load_engine
) -> Callable[[Path, Sequence[Golden], float], float]:
    """Return the function by which `publish_release` proves a release with an engine.

    Args:
        node: what runs engines here; publishing runs where serving does.
        load: from an engine to the network that it is.
    """

    def prove(release: Path, goldens: Sequence[Golden], tolerance: float) -> float:
        """Run the stages around the engine on every golden request; return the difference.

        Raises:
            DataError: the engine is not for this node, or cannot be loaded.
            GateError: an answer differs by more than the tolerance.
            ServiceError: TensorRT is not installed.
        """
        network_folder = release / MODELS_FOLDER / "network" / "1"
        inventory = Inventory.parse((release / FILES_FILE).read_bytes(), str(release))
        key = read_key(network_folder / KEY_FILE, str(network_folder / KEY_FILE))
        require_engine_for(node, [key], inventory)
        network = load(find_engine(network_folder))
        settings = ServingSettings.load(release / SETTINGS_FILE)
        voxelize, decode = VoxelizeStage(release, settings), DecodeStage(release, settings)
        differences = []
        for golden in goldens:
            tensors = voxelize({POINTS: golden.points.astype(np.float32)})
            outputs = dict(network({name: tensors[name] for name in NETWORK_INPUTS}))
            answer = decode(outputs | {NUM_PILLARS: tensors[NUM_PILLARS]})
            differences.append(require_equal(golden, arrays_to_boxes(answer), tolerance))
        return max(differences)

    return prove
