"""XML as a stream: whole children of the root, and of large ones their own children before them."""

import pytest

from admlops.errors import DataError
from admlops.formats import xml_stream
from admlops.formats.xml_stream import iterate_inner_parts, iterate_parts

TASK = """<task>
 <track id="1" label="a">
  text <box n="1"><attribute>x</attribute></box>
  <track n="2"><box/></track>
 </track>
 <box n="3"/>
 <track id="2"/>
 <image><track n="4"/> <box n="5"/></image>
</task>"""


def write(folder, text):
    path = folder / "task.xml"
    path.write_text(text)
    return path


@pytest.fixture(params=[1, 7, 1 << 20])
def chunk_bytes(request, monkeypatch):
    """Read the file byte by byte, in small pieces, and as it is."""
    monkeypatch.setattr(xml_stream, "_CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("chunk_bytes")
def test_what_is_in_an_opened_element_comes_before_it(tmp_path):
    found = [
        (
            part.tag,
            part.get("n") or part.get("id"),
            len(part),
            None if parent is None else parent.get("id"),
        )
        for part, parent in iterate_inner_parts(write(tmp_path, TASK), "task", ("track",))
    ]
    assert found == [
        ("box", "1", 1, "1"),
        ("track", "2", 1, "1"),
        ("track", "1", 0, None),
        ("box", "3", 0, None),
        ("track", "2", 0, None),
        ("image", None, 2, None),
    ]


@pytest.mark.usefixtures("chunk_bytes")
def test_children_come_whole_where_none_are_opened(tmp_path):
    parts = list(iterate_parts(write(tmp_path, TASK), "task"))
    assert [(part.tag, len(part)) for part in parts] == [
        ("track", 2),
        ("box", 0),
        ("track", 0),
        ("image", 2),
    ]
    assert parts[0].find("box/attribute").text == "x"


def test_an_endless_part_is_refused_and_many_small_ones_are_not(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_stream, "MAX_PART_BYTES", 1000)
    many = write(tmp_path, f"<task><track>{'<box/>' * 1000}</track></task>")
    assert sum(1 for _ in iterate_inner_parts(many, "task", ("track",))) == 1001
    with pytest.raises(DataError, match="more than 1000 bytes"):
        list(iterate_parts(many, "task"))
    for text in (f"<task><track><box>{'a' * 2000}", f'<task><track id="{"a" * 2000}">'):
        path = write(tmp_path, text)
        with pytest.raises(DataError, match="more than 1000 bytes"):
            list(iterate_inner_parts(path, "task", ("track",)))
