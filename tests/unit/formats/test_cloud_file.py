import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.cloud_file import read_cloud


def test_reads_points(tmp_path):
    points = np.array([[1.5, -2.0, 0.25, 1.0], [3.0, 4.0, 5.0, 0.0]], dtype=np.float32)
    path = tmp_path / "cloud.bin"
    path.write_bytes(points.tobytes())
    np.testing.assert_array_equal(read_cloud(path), points)


def test_the_height_of_the_lidar_is_added_to_z(tmp_path):
    path = tmp_path / "cloud.bin"
    path.write_bytes(np.array([1, 2, -1.7, 0.5], dtype=np.float32).tobytes())
    np.testing.assert_allclose(read_cloud(path, 1.73), [[1, 2, 0.03, 0.5]], atol=1e-6)


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
