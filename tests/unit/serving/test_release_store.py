import json

import pytest

from admlops.errors import ConfigError, DataError
from admlops.serving.release import ReleaseRecord, require_intact, write_papers
from admlops.serving.store import ReleaseStore

DIGESTS = ["a" * 64, "b" * 64, "c" * 64]


def add(store, digest):
    release_id = store.next_id(digest)
    with store.draft() as draft:
        (draft / "weights").write_text(digest)
        record = ReleaseRecord(
            release_id=release_id,
            digest=digest,
            created_at="2026-01-01T00:00:00+00:00",
            categories=("car",),
            runtime="openvino f32",
        )
        write_papers(draft, record)
        store.adopt(draft, release_id)
    return release_id


@pytest.fixture
def store(tmp_path):
    return ReleaseStore(str(tmp_path / "releases-here"))


def test_an_empty_store_says_so(store):
    assert store.ids() == []
    assert store.current() is None
    with pytest.raises(DataError, match="nothing was published yet"):
        store.current_path()
    with pytest.raises(DataError, match="none yet"):
        store.path("0001-aaaaaaaaaaaa")


def test_ids_count_up_and_hold_the_digest(store):
    assert [add(store, digest) for digest in DIGESTS] == [
        "0001-aaaaaaaaaaaa",
        "0002-bbbbbbbbbbbb",
        "0003-cccccccccccc",
    ]
    assert store.ids() == ["0001-aaaaaaaaaaaa", "0002-bbbbbbbbbbbb", "0003-cccccccccccc"]
    assert store.find_digest(DIGESTS[1]) == "0002-bbbbbbbbbbbb"
    assert store.find_digest("d" * 64) is None


def test_the_pointer_moves_and_remembers(store):
    first, second = add(store, DIGESTS[0]), add(store, DIGESTS[1])
    assert store.activate(first).previous == ""
    pointer = store.activate(second)
    assert (pointer.release_id, pointer.previous) == (second, first)
    assert store.activate(second).previous == first, "activating twice forgets nothing"
    assert store.current_path().name == second


def test_an_unknown_release_leaves_the_pointer(store):
    first = add(store, DIGESTS[0])
    store.activate(first)
    with pytest.raises(DataError, match=f"releases are {first}"):
        store.activate("0009-ffffffffffff")
    assert store.current().release_id == first


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "weights").write_text("other"), "weights changed"),
        (lambda folder: (folder / "weights").unlink(), "weights is missing"),
        (lambda folder: (folder / "virus").write_text(""), "virus does not belong to it"),
    ],
)
def test_a_damaged_release_is_not_activated(store, damage, message):
    first, second = add(store, DIGESTS[0]), add(store, DIGESTS[1])
    store.activate(first)
    require_intact(store.path(second))
    damage(store.path(second))
    with pytest.raises(DataError, match=message):
        store.activate(second)
    assert store.current().release_id == first


def test_a_reader_never_sees_a_part_of_the_pointer(store, monkeypatch):
    first, second = add(store, DIGESTS[0]), add(store, DIGESTS[1])
    store.activate(first)

    def power_cut(*_):
        raise OSError("power cut")

    monkeypatch.setattr("admlops.files.os.replace", power_cut)
    with pytest.raises(OSError, match="power cut"):
        store.activate(second)
    assert store.current().release_id == first
    assert [path.name for path in store.root.iterdir() if path.is_file()] == ["current.json"]


def test_a_damaged_pointer_is_named_and_can_be_replaced(store):
    first = add(store, DIGESTS[0])
    (store.root / "current.json").write_text(json.dumps({"release_id": "../../etc"}))
    with pytest.raises(DataError, match=r"current\.json: the pointer is damaged"):
        store.current()
    assert store.activate(first).release_id == first


def test_a_failed_draft_leaves_nothing(store):
    with pytest.raises(RuntimeError), store.draft() as draft:
        (draft / "half").write_text("")
        raise RuntimeError
    assert list(store.folder.iterdir()) == []


def test_other_object_stores_are_refused_with_advice():
    with pytest.raises(ConfigError, match="in a folder or in s3://bucket/folder"):
        ReleaseStore("gs://bucket/releases")
