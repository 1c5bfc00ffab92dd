"""A client of a served release: a cloud in, boxes out, over gRPC."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from admlops.detection.predictor import check_points
from admlops.errors import ServiceError
from admlops.geometry.pose import invert, transform_cloud
from admlops.serving.repository import CATEGORIES, ENSEMBLE, MOUNTING, RELEASE
from admlops.serving.stages import BOXES, LABELS, POINTS, SCORES, arrays_to_boxes
from admlops.structures.boxes import Boxes

_CONFIG_TIMEOUT_S = 5.0

_SAME_PLACE = 1e-9
"""Calibrations that differ less are one; points then stay as they are, to the last bit."""


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
            raise _explain(url, f"{ENSEMBLE} failed", error) from error
        return arrays_to_boxes({name: answer.as_numpy(name) for name in (BOXES, SCORES, LABELS)})


@dataclass(frozen=True, slots=True)
class ServedRelease:
    """The release that a server answers from.

    Attributes:
        release_id: its id.
        ego_from_lidar: (4, 4) where it takes the lidar to be, whose clouds it is sent.
        categories: what it finds.
    """

    release_id: str
    ego_from_lidar: NDArray[np.float64]
    categories: tuple[str, ...]


def served_release(url: str) -> ServedRelease:
    """Return what a server says of the release that it answers from.

    Raises:
        ServiceError: the server cannot be reached or does not serve a release.
    """
    tritonclient = _import_client()
    with _connect(tritonclient, url) as connection:
        try:
            answer = connection.get_model_config(ENSEMBLE, client_timeout=_CONFIG_TIMEOUT_S)
        except tritonclient.InferenceServerException as error:
            raise _explain(url, "no release", error) from error
    told = {name: value.string_value for name, value in answer.config.parameters.items()}
    try:
        ego_from_lidar = np.array(json.loads(told[MOUNTING]), dtype=np.float64).reshape(4, 4)
        categories = tuple(str(name) for name in json.loads(told[CATEGORIES]))
        return ServedRelease(told[RELEASE], ego_from_lidar, categories)
    except (KeyError, ValueError, TypeError) as error:
        raise ServiceError(
            f"Triton at {url}: {ENSEMBLE} is no release of this version of admlops ({error!r})"
        ) from error


class ServedDetector:
    """The release of a server, for clouds of any lidar.

    Attributes:
        url: host and port of the server's gRPC endpoint.
        release: what the server said when it was connected to.
    """

    def __init__(self, url: str) -> None:
        """Ask the server what it serves.

        Raises:
            ServiceError: it cannot be reached or does not serve a release.
        """
        self.url = url
        self.release = served_release(url)
        self._lidar_from_ego = invert(self.release.ego_from_lidar)

    def __call__(self, points_in_ego: NDArray[np.float32]) -> Boxes:
        """Return the boxes that the server finds in (N, 4) points x y z intensity.

        Raises:
            DataError: the array is no cloud.
            ServiceError: the server cannot be reached, or refused.
        """
        return self.detect(points_in_ego, np.eye(4))

    def detect(self, points: NDArray[np.float32], ego_from_sensor: NDArray[np.float64]) -> Boxes:
        """Return the boxes in (N, 4) points of a sensor, moved to where the release's lidar is.

        Raises:
            DataError: the array is no cloud.
            ServiceError: the server cannot be reached, or refused.
        """
        cloud = check_points(points)
        lidar_from_sensor = self._lidar_from_ego @ ego_from_sensor
        if not np.allclose(lidar_from_sensor, np.eye(4), rtol=0, atol=_SAME_PLACE):
            cloud = transform_cloud(lidar_from_sensor, cloud)
        return predict_cloud(self.url, cloud)


def _connect(tritonclient: Any, url: str) -> Any:  # noqa: ANN401 - the client's own types
    return tritonclient.InferenceServerClient(url.rpartition("://")[2].rstrip("/"))


def _explain(url: str, what: str, error: Any) -> ServiceError:  # noqa: ANN401 - the client's own types
    is_absent = str(error.status()).endswith("UNAVAILABLE")
    remedy = "; is `admlops serve` running there, or is the address another?" if is_absent else ""
    return ServiceError(f"Triton at {url}: {what}: {error.message()}{remedy}")


def _import_client() -> Any:  # noqa: ANN401 - a module
    try:
        import tritonclient.grpc
    except ImportError as error:
        raise ServiceError(
            "Triton: the client is not installed; install admlops with the extra [serve]"
        ) from error
    return tritonclient.grpc
