import lance
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from frame_factory import make_frame

from admlops.lake import box_view
from admlops.lake.store import Dataset

QUERIES = (
    "SELECT category, count(*) AS n, sum(x_m) AS x FROM boxes GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM boxes",
    "SELECT frame_id, x_m FROM boxes WHERE category = 'pedestrian' AND x_m > 0 ORDER BY 1, 2",
    "SELECT * FROM boxes ORDER BY frame_id, num_points",
    "SELECT b.x_m, c.x_m FROM boxes b JOIN boxes c USING (log, scene, timestamp_ns) ORDER BY 1, 2",
    "SELECT category, row FROM boxes b JOIN frames f ON b.frame_id = f.frame_id ORDER BY 1, 2",
    "SELECT timestamp_ns FROM boxes WHERE score IS NULL AND split IN ('train', 'val') ORDER BY 1",
    "SELECT count(*), max(camera) FROM boxes_2d",
)


@pytest.fixture
def dataset(tmp_path):
    dataset = Dataset.create(str(tmp_path / "lake.lance"))
    dataset.append(make_frame(index, labelled=index != 5) for index in range(9))
    dataset.append(make_frame(index) for index in range(9, 12))
    return dataset


@pytest.mark.parametrize("sql", QUERIES)
def test_streamed_boxes_are_those_kept_in_memory(dataset, monkeypatch, sql):
    kept = dataset.query(sql)
    assert dataset.query(sql).equals(kept)
    monkeypatch.setattr(box_view, "MEMORY_BYTES", -1)
    assert Dataset.open(dataset.reference).query(sql).equals(kept)


def test_boxes_are_counted_where_they_are(dataset):
    frames = dataset.take(range(12), lidar=False)
    per_frame = {f.frame_id: len(f.boxes) for f in frames if f.boxes is not None and len(f.boxes)}
    found = dataset.query("SELECT frame_id, count(*) AS n FROM boxes GROUP BY 1").to_pydict()
    assert dict(zip(found["frame_id"], found["n"], strict=True)) == per_frame
    first = dataset.query("SELECT x_m, category, tags, score FROM boxes WHERE frame_id = '000001'")
    assert first["x_m"].to_pylist() == frames[1].boxes.center_m[:, 0].tolist()
    assert first.to_pylist()[0]["tags"] == ["night", "rain"]
    assert first["score"].null_count == 1
    assert first.schema.field("category").type == pa.string()


def test_a_version_without_boxes_has_an_empty_view(tmp_path):
    dataset = Dataset.create(str(tmp_path / "empty"))
    assert dataset.query("SELECT count(*) AS n FROM boxes")["n"].to_pylist() == [0]
    dataset.append([make_frame(0, labelled=False)])
    assert dataset.query("SELECT * FROM boxes").num_rows == 0


def test_new_labels_are_seen_in_the_new_version(dataset):
    before = dataset.query("SELECT count(*) AS n FROM boxes")["n"][0].as_py()
    old = dataset.reference
    dataset.relabel({dataset.keys()[0]: make_frame(3).boxes})
    assert dataset.query("SELECT count(*) AS n FROM boxes")["n"][0].as_py() == before + 3
    assert Dataset.open(old).query("SELECT count(*) AS n FROM boxes")["n"][0].as_py() == before


def test_boxes_of_removed_frames_are_gone(dataset):
    lance.dataset(dataset.uri).delete("frame_id = '000003'")
    found = Dataset.open(dataset.uri).query("SELECT frame_id, x_m FROM boxes ORDER BY 1, 2")
    every = dataset.query("SELECT frame_id, x_m FROM boxes ORDER BY 1, 2")
    kept = every.filter(pc.not_equal(every["frame_id"], "000003"))
    assert found.equals(kept)
    assert found.num_rows < every.num_rows
