"""Streams of JSON: the same items as a reader of the whole finds, however the file is cut up."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from admlops.errors import DataError
from admlops.formats import json_stream
from admlops.formats.json_stream import iterate_items, iterate_members, read_items

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
            b"{1: [2]}",
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


def members(value, depth, names=()):
    """Yield what `iterate_members` must, from a document that is in memory."""
    is_opened = isinstance(value, dict) and len(names) < depth
    yield names, {} if is_opened else value
    for name, inner in value.items() if is_opened else ():
        yield from members(inner, depth, (*names, name))


@pytest.mark.usefixtures("chunk_bytes")
class TestMembers:
    @given(
        value=VALUES,
        depth=st.integers(0, 4),
        indent=st.sampled_from([None, 0, 2]),
        is_ascii=st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_are_those_of_the_whole(self, tmp_path_factory, value, depth, indent, is_ascii):
        text = json.dumps(value, indent=indent, ensure_ascii=is_ascii)
        assume("Infinity" not in text)
        path = write(tmp_path_factory.mktemp("json"), text.encode(errors="surrogatepass"))
        found = list(iterate_members(path, depth))
        wanted = list(members(value, depth))
        assert [(names, item.value) for names, item in found] == wanted
        whole = [item for _, item in found if item.size]
        places = [(item.offset, item.size) for item in whole]
        assert read_items(path, places) == [item.value for item in whole]

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_of_repeated_names_all_are_told(self, tmp_path, mark):
        path = write(tmp_path, mark + b'{"a": {"b": 1}, "a": [2], "a": {"b": 3, "b": 4}}')
        found = [("/".join(names), item.value) for names, item in iterate_members(path, 2)]
        assert found[:4] == [("", {}), ("a", {}), ("a/b", 1), ("a", [2])]
        assert found[4:] == [("a", {}), ("a/b", 3), ("a/b", 4)]
        assert [item.offset - len(mark) for _, item in iterate_members(path, 2)][2:4] == [12, 21]

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"{",
            b'{"a',
            b'{"a"',
            b'{"a":',
            b'{"a": {',
            b'{"a": {"b": 1',
            b'{"a": {"b": 1}',
            b'{"a": {"b": 1,}}',
            b'{"a": {"b" 1}}',
            b'{"a": {"b": 1 "c": 2}}',
            b'{"a": {"b": {"c": 1]}}',
            b'{"a": {1: 2}}',
            b'{"a": {null: 2}}',
            b'{"a": {["b"]: 2}}',
            b'{"a": {"b": nul}}',
            b'{"a": {"b": NaN}}',
            b'{"a": {"b": {"c": [-Infinity]}}}',
            b'{"a": {"\xff": 1}}',
            b'{"a": {"b": "\xff"}}',
            b'{"a": {}} 2',
            b"\xff\xfe{}",
            b'{"a": {"b": 1' + b"0" * 5000 + b"}}",
        ],
    )
    def test_broken_files_are_refused(self, tmp_path, text):
        path = write(tmp_path, text)
        with pytest.raises(ValueError, match=r"at byte|no JSON number|decode|digits"):
            list(iterate_members(path, 2))

    @pytest.mark.parametrize("text", [b'{"a":' * 100_000, b'{"a": {"b": ' + b"[" * 100_000])
    def test_deep_nesting_is_refused(self, tmp_path, text):
        with pytest.raises(RecursionError):
            list(iterate_members(write(tmp_path, text), 2))


def test_an_endless_member_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "MAX_ITEM_BYTES", 1000)
    monkeypatch.setattr(json_stream, "_CHUNK_BYTES", 64)
    for text in ('{"a": {"b": {"c": "' + "a" * 5000, '{"a": {"' + "a" * 5000):
        with pytest.raises(ValueError, match="an item at byte .* has over 1000 bytes"):
            list(iterate_members(write(tmp_path, text), 2))


def test_memory_stays_flat_over_members(tmp_path):
    """Forty times the members take no more memory."""
    import tracemalloc

    peaks = []
    for count in (1_000, 40_000):
        frames = {str(number): {"objects": {}} for number in range(count)}
        path = write(tmp_path, json.dumps({"openlabel": {"frames": frames}}))
        tracemalloc.start()
        assert sum(1 for _ in iterate_members(path, 3)) == count + 3
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 3 * peaks[0]


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
