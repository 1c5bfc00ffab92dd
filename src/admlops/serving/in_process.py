"""A published release in this process, on the CPU: what its server answers, without a server."""

from pathlib import Path

from admlops.detection.backends import load_network
from admlops.detection.config import read_detector_config
from admlops.detection.predictor import Predictor
from admlops.serving.inventory import MODELS_FOLDER
from admlops.serving.repository import NETWORK
from admlops.serving.stages import SETTINGS_FILE, ServingSettings


def load_release_predictor(release: Path) -> Predictor:
    """Return a release's detector, which takes clouds in the ego frame.

    A release with a TensorRT engine runs from the ONNX file that the engine was built from.

    Args:
        release: its folder, verified.

    Raises:
        ConfigError: its settings are wrong.
        DataError: a file is absent or cannot be read.
        ServiceError: the runtime is not installed.
    """
    settings = ServingSettings.load(release / SETTINGS_FILE)
    folder = release / MODELS_FOLDER / NETWORK / "1"
    if settings.runtime == "tensorrt":
        network = load_network(folder, "onnxruntime", "f32", settings.num_threads)
    else:
        network = load_network(folder, settings.runtime, settings.precision, settings.num_threads)
    return Predictor(read_detector_config(release), network)
