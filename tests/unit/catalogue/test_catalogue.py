import pytest

from admlops.catalogue.entry import DatasetEntry
from admlops.catalogue.reading import find_entry, load_catalogue, parse_entry, select_entries
from admlops.errors import ConfigError
from admlops.formats.argoverse2 import source as argoverse2
from admlops.formats.bdd100k import source as bdd100k
from admlops.formats.kitti import reader as kitti
from admlops.formats.kitti.reader import type_name
from admlops.formats.kitti_tracking.source import SITTING
from admlops.formats.nuscenes import source as nuscenes
from admlops.formats.once import sequence as once
from admlops.formats.voc import source as voc
from admlops.formats.waymo import labels as waymo

NAMES = {
    "argoverse2-sensor",
    "bdd100k",
    "cityscapes",
    "coco",
    "kitti-360",
    "kitti-object",
    "kitti-raw",
    "kitti-tracking",
    "lyft-l5",
    "nuscenes",
    "nuscenes-mini",
    "once",
    "pandaset",
    "voc",
    "waymo",
}
KITTI = {"kitti_object", "kitti_raw", "kitti_tracking"}
TABLES = {
    "argoverse2": set(argoverse2.CATEGORIES),
    "bdd100k": set(bdd100k.CATEGORIES),
    "nuscenes": set(nuscenes.CATEGORIES),
    "once": set(once.CATEGORIES),
    "voc": set(voc.CATEGORIES),
    "waymo": set(waymo.CATEGORIES),
    **{name: {*kitti.CATEGORIES, *SITTING} for name in KITTI},
}


def test_all_datasets_are_there() -> None:
    assert set(load_catalogue()) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_facts_of_an_entry_agree_with_each_other(name: str) -> None:
    entry = find_entry(name)
    assert entry.sources
    assert any(item.required for item in entry.layout)
    assert len(set(entry.categories)) == len(entry.categories)
    assert all(url.startswith("http") for url in (entry.home, entry.terms_url))
    labelled = [split.frames for split in entry.splits if split.labelled]
    if entry.size.frames and all(labelled) and name not in ("nuscenes", "once", "cityscapes"):
        assert sum(count or 0 for count in labelled) in (0, entry.size.frames)
    known = [file.num_bytes for file in entry.files]
    if all(known) and entry.size.gigabytes:
        assert sum(n or 0 for n in known) / 1e9 == pytest.approx(entry.size.gigabytes, abs=0.06)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_the_reader_of_an_entry_knows_its_categories(name: str) -> None:
    """KITTI's `DontCare` are regions, no category; COCO's files name their categories."""
    entry = find_entry(name)
    names = set(entry.categories) - {"DontCare"}
    if entry.format in KITTI:
        names = {type_name(name) for name in names}
    assert names <= TABLES.get(entry.format or "", names)


def test_commercial_use_must_be_known_to_be_permitted() -> None:
    chosen = [entry.name for entry in select_entries("lidar-3d-detection", commercial=True)]
    assert chosen == ["pandaset"]
    assert "coco" not in {entry.name for entry in select_entries(commercial=True)}
    lidar = {entry.name for entry in select_entries("lidar-3d-detection")}
    assert {"kitti-object", "nuscenes", "waymo", "once"} <= lidar
    assert lidar.isdisjoint({"coco", "voc", "bdd100k", "cityscapes"})
    assert all(entry.files for entry in select_entries(fetchable=True))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'kity'; there are argoverse2-sensor, .*, waymo"):
        find_entry("kity")


def damaged(entry: DatasetEntry, **changes: object) -> str:
    import yaml

    return yaml.safe_dump(entry.to_json_dict() | changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"licences": ["CC-BY-9.0"]}, "not in the table"),
        ({"name": "other"}, "name the file after it"),
        ({"tasks": ["cooking"]}, "tasks"),
        ({"unknown": {}}, "null facts and `unknown` differ: size.hours, size.scenes"),
        ({"categories": []}, "differ: categories"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_wrong_entry_is_refused(changes: dict[str, object], match: str) -> None:
    text = damaged(find_entry("kitti-object"), **changes)
    with pytest.raises(ConfigError, match=match):
        parse_entry(text, "kitti-object.yaml")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"url": "file:///etc/passwd"}, "only http"),
        ({"into": "../x"}, "leads out"),
        ({"name": "../x"}, "name"),
        ({"checksum": {"algorithm": "md5", "value": "00", "source": "x"}}, "32 hexadecimal"),
    ],
)
def test_a_wrong_file_is_refused(change: dict[str, object], match: str) -> None:
    entry = find_entry("kitti-object")
    file = entry.files[0].to_json_dict() | change
    with pytest.raises(ConfigError, match=match):
        parse_entry(damaged(entry, files=[file]), "kitti-object.yaml")


def test_text_that_is_no_entry() -> None:
    for text in ("a: [", "- 1", ""):
        with pytest.raises(ConfigError, match=r"x\.yaml"):
            parse_entry(text, "x.yaml")
