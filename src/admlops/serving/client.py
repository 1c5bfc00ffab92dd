"""A client of a served release: a cloud in, boxes out, over gRPC."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.detection.predictor import check_points
from admlops.errors import ServiceError
from admlops.serving.repository import ENSEMBLE
from admlops.serving.stages import BOXES, LABELS, POINTS, SCORES, arrays_to_boxes
from admlops.structures.boxes import Boxes


def predict_cloud(url: str, points: NDArray[np.float32], timeout_s: float = 30.0) -> Boxes:
    """Return the boxes that a server finds in one cloud.

    Args:
        url: host and port of its gRPC endpoint; a scheme in front is ignored.
        points: (N, 4) x y z intensity in the lidar frame. Points with NaN or infinity do not
            count; an empty cloud has no boxes.
        timeout_s: for the whole call.

    Raises:
        DataError: the array is no cloud.
        ServiceError: the server cannot be reached, or refused; the message holds its reason.
    """
    cloud = check_points(points)
    tritonclient = _import_client()
    tensor = tritonclient.InferInput(POINTS, cloud.shape, "FP32")
    tensor.set_data_from_numpy(cloud)
    with _connect(tritonclient, url) as connection:
        try:
            answer = connection.infer(ENSEMBLE, [tensor], client_timeout=timeout_s)
        except tritonclient.InferenceServerException as error:
            raise ServiceError(f"Triton at {url}: {ENSEMBLE} failed: {error.message()}") from error
        return arrays_to_boxes({name: answer.as_numpy(name) for name in (BOXES, SCORES, LABELS)})


def served_release(url: str, timeout_s: float = 5.0) -> str:
    """Return the id of the release that a server answers from.

    Raises:
        ServiceError: the server cannot be reached or does not serve a release.
    """
    tritonclient = _import_client()
    with _connect(tritonclient, url) as connection:
        try:
            answer = connection.get_model_config(ENSEMBLE, client_timeout=timeout_s)
        except tritonclient.InferenceServerException as error:
            raise ServiceError(f"Triton at {url}: no release: {error.message()}") from error
    return str(answer.config.parameters["release"].string_value)


def _connect(tritonclient: Any, url: str) -> Any:  # noqa: ANN401 - the client's own types
    return tritonclient.InferenceServerClient(url.rpartition("://")[2].rstrip("/"))


def _import_client() -> Any:  # noqa: ANN401 - a module
    try:
        import tritonclient.grpc
    except ImportError as error:
        raise ServiceError(
            "Triton: the client is not installed; install admlops with the extra [serve]"
        ) from error
    return tritonclient.grpc
