import bz2
import gzip
import io
import stat
import tarfile
import warnings
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admlops.catalogue.archives import UnpackHaltError, UnpackLimits, merge_into, unpack
from admlops.errors import DataError

LIMITS = UnpackLimits(spare_bytes=0)
FILES = {"training/calib/0.txt": b"P0: 1 2 3\n", "training/empty": b"", "readme": bytes(70_000)}
BAD_NAMES = [
    "../out",
    "a/../../out",
    "/etc/out",
    "a\\..\\out",
    "C:/out",
    "..",
    "a/\x01",
    ".admlops/fetched.json",
    ".ADMLOPS/fetched.json",
    "x" * 256,
    "d/" * 65 + "x",
    "a\udcff",
]


def make_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w", **kinds: bytes) -> Path:
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, kind in kinds.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def refuse(archive: Path, match: str, limits: UnpackLimits = LIMITS) -> None:
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(DataError, match=match):
        unpack(archive, archive.parent / "out", limits)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("mode", ["zip", "w", "w:gz", "w:bz2"])
def test_files_come_out_as_they_went_in(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.bin"
    archive = make_zip(path, FILES) if mode == "zip" else make_tar(path, FILES, mode)
    assert unpack(archive, tmp_path / "out", LIMITS) == 3
    assert everything(tmp_path / "out") == FILES


def test_folders_and_dots_are_taken(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in (".", "./a", "./a/b"):
            member = tarfile.TarInfo(name)
            member.type = tarfile.DIRTYPE
            archive.addfile(member)
    assert unpack(tmp_path / "a.tar", tmp_path / "out", LIMITS) == 0
    assert (tmp_path / "out" / "a" / "b").is_dir()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("./a/", b"")
        archive.writestr("./a/b", b"1")
    assert unpack(tmp_path / "a.zip", tmp_path / "out2", LIMITS) == 1


def test_a_tar_that_holds_a_zip_is_a_tar(tmp_path: Path) -> None:
    inner = make_zip(tmp_path / "inner.zip", FILES).read_bytes()
    archive = make_tar(tmp_path / "a.tar", {"inner.zip": inner})
    unpack(archive, tmp_path / "out", LIMITS)
    assert everything(tmp_path / "out") == {"inner.zip": inner}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_paths_that_lead_elsewhere(tmp_path: Path, name: str) -> None:
    tar = tmp_path / "tar"
    tar.mkdir()
    refuse(make_tar(tar / "a.tar", {"good": b"1", name: b"2"}), "has a path that is not taken")
    if "\udcff" not in name:
        folder = tmp_path / "zip"
        folder.mkdir()
        refuse(make_zip(folder / "a.zip", {"good": b"1", name: b"2"}), "path that is not taken")


@pytest.mark.parametrize(
    "kind",
    [
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.BLKTYPE,
        tarfile.FIFOTYPE,
        tarfile.GNUTYPE_SPARSE,
    ],
)
def test_links_and_devices_in_a_tar(tmp_path: Path, kind: bytes) -> None:
    refuse(make_tar(tmp_path / "a.tar", FILES, "w", link=kind), "not unpacked")


def test_links_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refuse(tmp_path / "a.zip", "encrypted or no file")


def test_encrypted_and_unusual_zips(tmp_path: Path) -> None:
    data = bytearray(make_zip(tmp_path / "a.zip", {"a": b"1"}, zipfile.ZIP_STORED).read_bytes())
    central = data.index(b"PK\x01\x02")
    for place in (6, central + 8):
        data[place] |= 1
    (tmp_path / "a.zip").write_bytes(data)
    refuse(tmp_path / "a.zip", "encrypted")
    refuse(make_zip(tmp_path / "a.zip", {"a": b"1"}, zipfile.ZIP_LZMA), "unusual way")


def test_entries_that_come_twice(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of what is meant here
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a", b"1")
            archive.writestr("./a", b"2")
    refuse(tmp_path / "a.zip", "comes twice")
    refuse(make_tar(tmp_path / "b.tar", {"a": b"1", "a/b": b"2"}), "not unpacked")


def test_bombs(tmp_path: Path) -> None:
    zeros = bytes(20 << 20)
    tight = UnpackLimits(spare_bytes=0, max_ratio=100)
    refuse(make_zip(tmp_path / "a.zip", {"a": zeros}), "come out of its", tight)
    refuse(make_tar(tmp_path / "a.tgz", {"a": zeros}, "w:gz"), "come out of its", tight)
    few = UnpackLimits(spare_bytes=0, max_entries=2)
    refuse(make_zip(tmp_path / "b.zip", FILES), "more than 2 entries", few)
    refuse(make_tar(tmp_path / "b.tar", FILES), "more than 2 entries", few)
    small = UnpackLimits(spare_bytes=0, max_bytes=1000)
    refuse(make_zip(tmp_path / "c.zip", FILES), "more than 1,000 bytes", small)
    refuse(make_tar(tmp_path / "c.tar", FILES), "more than 1,000 bytes", small)


def test_a_header_of_gigabytes_is_not_read_into_memory(tmp_path: Path) -> None:
    """A long name of 1 GiB, packed to a megabyte, that tarfile alone would read whole."""
    member = tarfile.TarInfo("././@LongLink")
    member.type, member.size = tarfile.GNUTYPE_LONGNAME, 1 << 30
    with gzip.open(tmp_path / "a.tgz", "wb", 1) as file:
        file.write(member.tobuf())
        for _ in range(64):
            file.write(bytes(1 << 20))
    refuse(tmp_path / "a.tgz", "larger than any honest one")


def test_a_full_disk_keeps_the_archive_blameless(tmp_path: Path) -> None:
    for archive in (make_zip(tmp_path / "a.zip", FILES), make_tar(tmp_path / "a.tar", FILES)):
        with pytest.raises(UnpackHaltError, match="make room"):
            unpack(archive, tmp_path / "out", LIMITS, lambda _: 1000)
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suffix", ["a.zip", "a.tar", "a.tgz", "a.tbz"])
def test_archives_cut_anywhere(tmp_path: Path, suffix: str) -> None:
    modes = {"a.tar": "w", "a.tgz": "w:gz", "a.tbz": "w:bz2"}
    path = tmp_path / suffix
    whole = (
        make_zip(path, FILES) if suffix == "a.zip" else make_tar(path, FILES, modes[suffix])
    ).read_bytes()
    end = len(whole) - (10_240 if suffix == "a.tar" else 1)
    places = {0, 1, 100, 512, 1024, 1536, end // 2 // 512 * 512, end // 2, end - 1}
    for length in {min(place, end - 1) for place in places}:
        path.write_bytes(whole[:length])
        refuse(path, "not unpacked")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content in (b"", b"<html>", bytes(4096), b"PK", b"\x1f\x8b", b"BZh9", bz2.compress(b"x")):
        (tmp_path / "a").write_bytes(content)
        refuse(tmp_path / "a", "not unpacked")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["zip", "w", "w:gz"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
    ),
    tail=st.binary(max_size=64),
)
def test_damaged_archives_never_escape(tmp_path_factory, kind, changes, tail) -> None:
    """Whatever the bytes, files stay in the folder, or nothing is left and the reason is given."""
    folder = tmp_path_factory.mktemp("damage")
    archive = folder / "a"
    names = {"a/b.txt": b"text " * 30, "c": bytes(600), "a/ü": b"\x00\xff"}
    make_zip(archive, names) if kind == "zip" else make_tar(archive, names, kind)
    data = bytearray(archive.read_bytes())
    for place, value in changes:
        data[int(place * min(len(data), 3000))] = value
    archive.write_bytes(bytes(data) + tail)
    limits = UnpackLimits(spare_bytes=0, max_bytes=1 << 20)
    try:
        unpack(archive, folder / "out", limits)
    except DataError:
        assert not (folder / "out").exists()
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert {path.name for path in folder.iterdir()} <= {"a", "out"}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.text(alphabet="ab./\\:\x00 \n~é", min_size=1, max_size=12))
def test_hostile_names_never_escape(tmp_path_factory, name: str) -> None:
    for kind in ("zip", "tar"):
        folder = tmp_path_factory.mktemp("names")
        files = {name: b"1"}
        archive = folder / "a"
        make_zip(archive, files) if kind == "zip" else make_tar(archive, files)
        try:
            unpack(archive, folder / "out", LIMITS)
        except DataError:
            assert not (folder / "out").exists()
        assert {path.name for path in folder.iterdir()} <= {"a", "out"}


def test_merging_adds_and_replaces(tmp_path: Path) -> None:
    for name, files in {"old": ["a/1", "a/2"], "new": ["a/2", "a/b/3", "4"]}.items():
        for file in files:
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
    merge_into(tmp_path / "new", tmp_path / "old")
    merged = {"a/1": b"old", "a/2": b"new", "a/b/3": b"new", "4": b"new"}
    assert everything(tmp_path / "old") == merged
    assert not (tmp_path / "new").exists()
    (tmp_path / "new" / "4").mkdir(parents=True)
    with pytest.raises(DataError, match="in the way"):
        merge_into(tmp_path / "new", tmp_path / "old")
