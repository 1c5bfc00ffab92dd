import numpy as np
import pytest

from admlops.curation.descriptors import DESCRIPTOR_SIZE, describe_cloud, standardize


def test_one_point_is_counted_once_in_each_part():
    found = describe_cloud(np.array([[12.0, 0.5, 1.5, 0.99]], np.float32))
    assert found.shape == (DESCRIPTOR_SIZE,)
    cells = np.flatnonzero(found).tolist()
    assert cells == [2 * 4 + 2, 24 + 7, 32 + 6 * 10 + 5]
    assert found[cells] == pytest.approx([np.log(2.0), 1.0, np.log(2.0)])


def test_empty_clouds_and_bad_points():
    assert not describe_cloud(np.empty((0, 4), np.float32)).any()
    points = np.array([[1, 1, 1, 0.5], [np.nan, 0, 0, 0], [np.inf, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(describe_cloud(points), describe_cloud(points[:1]))


def test_a_moved_cloud_is_nearer_than_a_sparse_one():
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-40, 40, (4000, 2)), rng.uniform(-1, 3, 4000)])
    points = np.column_stack([points, rng.random(4000)])
    here, rain = describe_cloud(points), describe_cloud(points[::5])
    moved = describe_cloud(points + np.array([0.5, 0.0, 0.0, 0.0]))
    assert np.linalg.norm(here - moved) < 0.5 * np.linalg.norm(here - rain)


def test_standardizing_makes_the_mean_squared_distance_two():
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(5, 9, 500), rng.normal(0, 0.1, 500), np.ones(500)])
    found = standardize(values)
    assert found.shape == (500, 2)
    assert found.mean(axis=0) == pytest.approx([0.0, 0.0], abs=1e-12)
    squared = ((found[:, None] - found[None]) ** 2).sum(axis=2).mean()
    assert squared == pytest.approx(2.0)


def test_standardizing_nothing_and_equal_rows():
    assert standardize(np.empty((0, 3))).shape == (0, 3)
    assert standardize(np.ones((4, 3))).shape == (4, 0)
