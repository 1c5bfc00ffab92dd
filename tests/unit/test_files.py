from pathlib import Path

import pytest

from admlops.files import digest_file, digest_folder, write_atomically, write_folder_atomically


def test_write_replaces_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with write_folder_atomically(target) as draft:
        (draft / "a").write_text("1")
    with pytest.raises(ZeroDivisionError), write_folder_atomically(target) as draft:
        (draft / "b").write_text("2")
        raise ZeroDivisionError
    assert [p.name for p in target.iterdir()] == ["a"]
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for name in ("a", "b"):
        with write_folder_atomically(target) as draft:
            (draft / name).write_text("1")
    assert [p.name for p in target.iterdir()] == ["b"]


def test_digests(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert digest_file(tmp_path / "a") == expected
    before = digest_folder(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_folder(tmp_path) != before
