import numpy as np
import pytest
from frame_factory import make_boxes, make_frame

from admlops.errors import DataError
from admlops.lake.store import Dataset
from admlops.structures.frame import FrameKey


def key(index):
    return FrameKey("log_0", "scene_0", index)


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    dataset.append(make_frame(index) for index in range(5))
    return dataset


def test_an_embedding_is_added_updated_and_survives_appends(dataset):
    digest = dataset.digest
    dataset.add_embedding("detector", {key(1): np.array([1, 2], np.float32)})
    assert dataset.embeddings() == ["detector"]
    dataset.append([make_frame(5)])
    dataset.add_embedding(
        "detector", {key(5): np.array([5, 6], np.float32), key(0): np.array([7, 8], np.float32)}
    )
    vectors = dataset.embedding("detector")
    nothing = [np.nan, np.nan]
    np.testing.assert_array_equal(
        vectors, np.float32([[7, 8], [1, 2], nothing, nothing, nothing, [5, 6]])
    )
    assert digest == Dataset.open(f"{dataset.uri}@2").digest
    dataset.relabel({key(0): make_boxes(0, 3)})
    np.testing.assert_array_equal(dataset.embedding("detector"), vectors)
    np.testing.assert_array_equal(dataset.take([5])[0].lidar.points, make_frame(5).lidar.points)


def test_wrong_embeddings_are_refused(dataset):
    with pytest.raises(DataError, match=r"one length, found \[2, 3\]"):
        dataset.add_embedding("a", {key(0): np.zeros(2), key(1): np.zeros(3)})
    with pytest.raises(DataError, match="log_0/scene_0/9"):
        dataset.add_embedding("a", {key(9): np.zeros(2, np.float32)})
    with pytest.raises(DataError, match="there are: none"):
        dataset.embedding("a")
