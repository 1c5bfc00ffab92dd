"""Streams of JSON: the same items as a reader of the whole finds, however the file is cut up."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from admlops.errors import DataError
from admlops.formats import json_stream
from admlops.formats.json_stream import iterate_items, read_items

PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


def write(folder, text):
    path = folder / "labels.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.fixture(params=[1, 7, 1 << 20])
def chunk_bytes(request, monkeypatch):
    """Read the file byte by byte, in small pieces, and as it is."""
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("chunk_bytes")
class TestItems:
    @given(
        arrays=st.dictionaries(st.text(max_size=5), st.one_of(PLAIN, st.lists(VALUES)), max_size=4),
        indent=st.sampled_from([None, 0, 2]),
        is_ascii=st.booleans(),
    )
    @settings(max_examples=40, deadline=None)
    def test_of_an_object(self, tmp_path_factory, arrays, indent, is_ascii):
        text = json.dumps(arrays, indent=indent, ensure_ascii=is_ascii)
        path = write(tmp_path_factory.mktemp("json"), text.encode(errors="surrogatepass"))
        wanted = [
            (name, value)
            for name, values in arrays.items()
            if isinstance(values, list)
            for value in values
        ]
        found = list(iterate_items(path))
        assert [(item.member, item.value) for item in found] == wanted
        places = [(item.offset, item.size) for item in found]
        assert read_items(path, places) == [value for _, value in wanted]

    @given(values=st.lists(VALUES, max_size=6))
    @settings(max_examples=20, deadline=None)
    def test_of_an_array(self, tmp_path_factory, values):
        path = write(tmp_path_factory.mktemp("json"), json.dumps(values))
        assert [(item.member, item.value) for item in iterate_items(path)] == [
            ("", value) for value in values
        ]

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"   ",
            b"3",
            b'"text"',
            b"{",
            b"[",
            b"[1",
            b"[1,",
            b"[1,]",
            b"[1 2]",
            b'[{"a": 1}',
            b'[{"a": ',
            b'["open',
            b"[1] 2",
            b'{"a": [1]',
            b'{"a": [1],}',
            b'{"a" [1]}',
            b'{"a": 1 "b": 2}',
            b"[nul]",
            b"\xff\xfe[1]",
            b'["\xff"]',
            b"[" * 100_000,
        ],
    )
    def test_broken_files_are_refused(self, tmp_path, text):
        path = write(tmp_path, text)
        with pytest.raises(DataError, match=r"labels.json: (not JSON|nests too deep)"):
            list(iterate_items(path))


def test_an_endless_item_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ITEM_BYTES", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", 64)
    path = write(tmp_path, '["' + "a" * 5000 + '"]')
    with pytest.raises(DataError, match="an item at byte 1 has over 1000 bytes"):
        list(iterate_items(path))


def test_a_mistake_is_found_without_reading_to_the_end(tmp_path):
    path = write(tmp_path, '[{"a" 1}' + ", 1" * 4_000_000 + "]")
    with pytest.raises(DataError, match="at byte 6"):
        next(iterate_items(path))


def test_memory_stays_flat(tmp_path):
    """Forty times the items take no more memory."""
    import tracemalloc

    peaks = []
    for count in (1_000, 40_000):
        path = write(tmp_path, json.dumps({"annotations": [{"id": n} for n in range(count)]}))
        tracemalloc.start()
        assert sum(1 for _ in iterate_items(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0]


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="absent.json: cannot be read"):
        list(iterate_items(tmp_path / "absent.json"))
    path = write(tmp_path, "[1]")
    with pytest.raises(DataError, match="changed while it was read"):
        read_items(path, [(1, 5)])
