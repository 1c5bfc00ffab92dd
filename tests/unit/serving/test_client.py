import numpy as np
import pytest

from admlops.errors import DataError, ServiceError
from admlops.serving.client import predict_cloud, read_cloud


def test_reads_points(tmp_path):
    points = np.array([[1.5, -2.0, 0.25, 1.0], [3.0, 4.0, 5.0, 0.0]], dtype=np.float32)
    path = tmp_path / "cloud.bin"
    path.write_bytes(points.tobytes())
    np.testing.assert_array_equal(read_cloud(path), points)


def test_an_empty_file_is_an_empty_cloud(tmp_path):
    (tmp_path / "cloud.bin").write_bytes(b"")
    assert read_cloud(tmp_path / "cloud.bin").shape == (0, 4)


def test_a_truncated_file_is_named(tmp_path):
    (tmp_path / "cloud.bin").write_bytes(b"\0" * 30)
    with pytest.raises(DataError, match=r"cloud\.bin: 30 bytes are no whole number of points"):
        read_cloud(tmp_path / "cloud.bin")


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.bin: the cloud cannot be read"):
        read_cloud(tmp_path / "nothing.bin")


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(ServiceError, match="Triton at 127.0.0.1:9"):
        predict_cloud("127.0.0.1:9", np.zeros((3, 4), np.float32), timeout_s=5)


def test_an_array_of_another_shape_is_no_cloud():
    with pytest.raises(DataError, match=r"shape \(3, 5\)"):
        predict_cloud("127.0.0.1:9", np.zeros((3, 5), np.float32))
