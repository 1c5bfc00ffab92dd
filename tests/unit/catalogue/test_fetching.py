import hashlib
import io
import json
import zipfile
from pathlib import Path

import pytest
from misbehaving_server import Served, cut

from admlops.catalogue.download import Surroundings
from admlops.catalogue.entry import Checksum, DatasetEntry, LayoutItem, RemoteFile, Size
from admlops.catalogue.fetching import FetchRequest, fetch
from admlops.catalogue.layout import require_layout
from admlops.catalogue.transfer import RetryConfig
from admlops.errors import ConfigError, DataError
from admlops.files import digest_folder

AROUND = Surroundings(RetryConfig(max_tries=2, first_wait_s=0.0))


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


LIDAR = zipped(**{"training/velodyne/0.bin": b"points"})
LABELS = zipped(**{"training/label_2/0.txt": b"Car", "readme": b"labels"})


@pytest.fixture
def entry(served: Served) -> DatasetEntry:
    served.put("/lidar.zip", LIDAR)
    served.put("/labels.zip", LABELS)
    served.put("/devkit.txt", b"text")
    digest = hashlib.sha256(LIDAR).hexdigest()
    checksum = Checksum(algorithm="sha256", value=digest, source="here")
    files = (
        RemoteFile(
            name="lidar.zip",
            url=served.url + "/lidar.zip",
            part="lidar",
            num_bytes=len(LIDAR),
            checksum=checksum,
        ),
        RemoteFile(name="labels.zip", url=served.url + "/labels.zip", part="labels"),
        RemoteFile(
            name="devkit.txt",
            url=served.url + "/devkit.txt",
            part="devkit",
            unpack=False,
            into="doc",
        ),
    )
    return DatasetEntry(
        name="toy",
        title="Toy",
        publisher="Nobody",
        home="http://toy",
        tasks=("lidar-3d-detection",),
        sensors=(),
        categories=("Car",),
        size=Size(frames=1, scenes=1, hours=0, gigabytes=0),
        splits=(),
        licences=("CC-BY-NC-SA-4.0",),
        terms_url="http://toy/terms",
        registration=False,
        instructions="Ask nobody.",
        files=files,
        format="kitti_object",
        layout=(
            LayoutItem(pattern="training/velodyne/*.bin", holds="lidar clouds"),
            LayoutItem(pattern="training/label_2/*.txt", holds="labels"),
            LayoutItem(pattern="doc/*", holds="papers", required=False),
        ),
        sources=(),
    )


def accepted(**changes: object) -> FetchRequest:
    return FetchRequest(accept=True, accepted_by="A. Person", **changes)  # type: ignore[arg-type]


def test_nothing_is_asked_before_the_terms_are_accepted(served, entry, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)toy: its terms .*commercial use forbidden.*accept"):
        fetch(entry, tmp_path / "data", FetchRequest(), AROUND)
    assert served.asked == []
    assert not (tmp_path / "data").exists()


def test_fetched_unpacked_and_recorded(served, entry, tmp_path: Path) -> None:
    report = fetch(entry, tmp_path, accepted(), AROUND)
    assert (report.num_files, report.num_fetched) == (3, 3)
    assert report.num_bytes == len(LIDAR) + len(LABELS) + 4
    assert report.unverified == ("labels.zip", "devkit.txt")
    assert (tmp_path / "training/velodyne/0.bin").read_bytes() == b"points"
    assert (tmp_path / "training/label_2/0.txt").read_bytes() == b"Car"
    assert (tmp_path / "doc/devkit.txt").read_bytes() == b"text"
    own = tmp_path / ".admlops"
    assert sorted(path.name for path in own.iterdir()) == [
        "fetched.json",
        "licence_acceptance.json",
        "lock",
    ]
    record = json.loads((own / "licence_acceptance.json").read_text())[0]
    assert record["accepted_by"] == "A. Person"
    assert record["terms_digests"] == entry.terms_digests()
    fetched = json.loads((own / "fetched.json").read_text())
    assert fetched["dataset"] == "toy"
    fetched = fetched["files"]
    assert fetched["lidar.zip"]["sha256"] == hashlib.sha256(LIDAR).hexdigest()
    assert (fetched["lidar.zip"]["verified"], fetched["labels.zip"]["verified"]) == (True, False)
    assert require_layout(entry, tmp_path) == ("lidar clouds", "labels", "papers")

    again = fetch(entry, tmp_path, FetchRequest(), AROUND)  # the acceptance is on record
    assert (again.num_fetched, len(served.asked)) == (0, 3)


def test_the_digest_of_the_data_does_not_depend_on_who_fetched(entry, tmp_path: Path) -> None:
    for name in ("one", "other"):
        request = FetchRequest(accept=True, accepted_by=name, keep_archives=name == "other")
        fetch(entry, tmp_path / name, request, AROUND)
    assert digest_folder(tmp_path / "one") == digest_folder(tmp_path / "other")
    assert (tmp_path / "other/.admlops/downloads/lidar.zip").is_file()


def test_changed_terms_must_be_accepted_anew(entry, tmp_path: Path) -> None:
    fetch(entry, tmp_path, accepted(), AROUND)
    changed = entry.replace(licences=("CC-BY-4.0",))
    with pytest.raises(ConfigError, match="must be accepted first"):
        fetch(changed, tmp_path, FetchRequest(), AROUND)


def test_parts_come_one_by_one(served, entry, tmp_path: Path) -> None:
    assert fetch(entry, tmp_path, accepted(parts=("labels",)), AROUND).num_fetched == 1
    assert not (tmp_path / "training/velodyne").exists()
    assert fetch(entry, tmp_path, accepted(parts=("lidar.zip", "labels")), AROUND).num_fetched == 1
    with pytest.raises(ConfigError, match="no part 'radar'; it has devkit, devkit.txt, labels"):
        fetch(entry, tmp_path, accepted(parts=("radar",)), AROUND)
    assert [asked[":path"] for asked in served.asked] == ["/labels.zip", "/lidar.zip"]


def test_a_mirror_serves_files_by_name(served, entry, tmp_path: Path) -> None:
    for name in ("lidar.zip", "labels.zip", "devkit.txt"):
        served.put(f"/mirror/{name}", served.files[f"/{name}"])
    fetch(entry, tmp_path, accepted(mirror=served.url + "/mirror/"), AROUND)
    assert {asked[":path"].split("/")[1] for asked in served.asked} == {"mirror"}


def test_a_broken_archive_is_refused_and_fetched_again(served, entry, tmp_path: Path) -> None:
    served.put("/labels.zip", zipped(**{"../out": b"1"}))
    with pytest.raises(DataError, match="path that is not taken"):
        fetch(entry, tmp_path / "data", accepted(), AROUND)
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "data/training/label_2").exists()
    served.put("/labels.zip", LABELS)
    assert fetch(entry, tmp_path / "data", accepted(), AROUND).num_fetched == 2


def test_interrupted_between_unpacking_and_moving(served, entry, tmp_path: Path) -> None:
    draft = tmp_path / ".admlops/unpacking/lidar.zip/training/velodyne"
    draft.mkdir(parents=True)
    (draft / "half.bin").write_bytes(b"")
    served.script += [cut(30)]
    fetch(entry, tmp_path, accepted(), AROUND)
    assert [path.name for path in (tmp_path / "training/velodyne").iterdir()] == ["0.bin"]


def test_a_folder_with_other_things_is_left_alone(served, entry, tmp_path: Path) -> None:
    (tmp_path / "readme").write_text("mine")
    with pytest.raises(ConfigError, match="holds something that was not fetched"):
        fetch(entry, tmp_path, accepted(), AROUND)
    assert [path.name for path in tmp_path.iterdir()] == ["readme"]
    fetch(entry, tmp_path / "data", accepted(), AROUND)
    with pytest.raises(ConfigError, match="holds toy; choose another destination"):
        fetch(entry.replace(name="doll"), tmp_path / "data", accepted(), AROUND)
    assert len(served.asked) == 3


def test_no_room_is_seen_before_the_first_byte(served, entry, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="bytes are to come, 10 are free"):
        fetch(entry, tmp_path, accepted(), Surroundings(free_bytes=lambda _: 10))
    assert served.asked == []


def test_two_fetches_at_once(entry, tmp_path: Path) -> None:
    import fcntl

    (tmp_path / ".admlops").mkdir()
    with (tmp_path / ".admlops/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another fetch is at work"):
            fetch(entry, tmp_path, accepted(), AROUND)


def test_a_dataset_behind_a_login(entry, tmp_path: Path) -> None:
    by_hand = entry.replace(files=())
    with pytest.raises(ConfigError, match=r"Ask nobody.*collect register DIR --dataset toy"):
        fetch(by_hand, tmp_path, accepted(), AROUND)


@pytest.mark.parametrize("name", ["fetched.json", "licence_acceptance.json"])
def test_broken_notes_are_named(entry, tmp_path: Path, name: str) -> None:
    (tmp_path / ".admlops").mkdir()
    (tmp_path / ".admlops" / name).write_text("{")
    with pytest.raises(DataError, match=rf"{name}: cannot be read"):
        fetch(entry, tmp_path, accepted(), AROUND)


def test_a_wrong_layout_names_what_is_missing(entry, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        require_layout(entry, tmp_path / "absent")
    cloud = tmp_path / "toy/training/velodyne/0.bin"
    cloud.parent.mkdir(parents=True)
    cloud.touch()
    with pytest.raises(DataError, match=r"(?s)training/label_2/\*.txt \(labels\)\nAsk nobody"):
        require_layout(entry, tmp_path / "toy")
    label = tmp_path / "toy/training/label_2/0.txt"
    label.parent.mkdir()
    label.touch()
    for near in (tmp_path, tmp_path / "toy/training"):
        with pytest.raises(DataError, match=r"toy holds them all; give that folder"):
            require_layout(entry, near)
