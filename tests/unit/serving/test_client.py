import numpy as np
import pytest

from admlops.errors import DataError, ServiceError
from admlops.serving.client import predict_cloud


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ServiceError, match="Triton at 127.0.0.1:9.*is `admlops serve` running"):
        predict_cloud("127.0.0.1:9", np.zeros((3, 4), np.float32), timeout_s=5)


def test_an_array_of_another_shape_is_no_cloud():
    with pytest.raises(DataError, match=r"shape \(3, 5\)"):
        predict_cloud("127.0.0.1:9", np.zeros((3, 5), np.float32))
