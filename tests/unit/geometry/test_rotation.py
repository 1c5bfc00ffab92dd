"""What counts as a rotation."""

import numpy as np
import pytest

from admlops.geometry.pose import is_rotation, rotation_about_z


def test_rotations():
    assert is_rotation(np.eye(3))
    assert is_rotation(rotation_about_z(0.7))
    assert is_rotation(np.eye(3) + 1e-4)
    assert not is_rotation(np.eye(3) + 1e-2)
    assert is_rotation(np.eye(3) + 1e-3, tolerance=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e308, 2.0, -1.0, 0.0])
def test_one_wrong_number(value):
    matrix = np.eye(3)
    matrix[1, 1] = value  # -1 is a mirror
    assert not is_rotation(matrix)
