"""Real KITTI frames against the shipped definition: what is found was counted by hand."""

from pathlib import Path

import pytest

from admlops.annotation.definition import load_definition
from admlops.annotation.definition_check import DefinitionCheck
from admlops.annotation.examples import choose_edge_cases, choose_examples, choose_overview
from admlops.checks.findings import FindingLog
from admlops.formats.source import read_all
from admlops.lake.store import Dataset
from admlops.steps.sources import open_source
from admlops.structures.finding import Finding

DEFINITION = load_definition("urban_lidar").replace(attributes=[])


@pytest.fixture(scope="module")
def dataset(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    lake = Dataset.create(str(tmp_path_factory.mktemp("kitti") / "lake"))
    frames = read_all(open_source(real_data / "kitti_object"))
    lake.append(item for item in frames if not isinstance(item, Finding))
    return lake


def test_labels_against_the_definition(dataset: Dataset) -> None:
    log = FindingLog()
    check = DefinitionCheck(DEFINITION, log)
    for frame in dataset.iterate(lidar=False):
        check.look(frame)
    assert check.num_boxes == 14
    assert dict(log.counts) == {"ANNO001": 1, "ANNO005": 2}
    unknown, *few = log.ordered()
    assert unknown.what.startswith("'misc' is none of car, van, truck")
    assert [item.what for item in few] == [
        "4 points, at least 5 are needed",
        "1 points, at least 5 are needed",
    ]


def test_examples(dataset: Dataset) -> None:
    names = dataset.frame_ids()
    found = {
        (item.category, item.title): names[item.row]
        for examples in choose_examples(dataset, DEFINITION).values()
        for item in examples
    }
    assert found == {
        ("car", "Clearly visible"): "000003",
        ("car", "Far away"): "000001",
        ("car", "Just enough points"): "000007",
        ("car", "Too few points"): "000009",
        ("truck", "Clearly visible"): "000001",
        ("pedestrian", "Clearly visible"): "000000",
        ("cyclist", "Clearly visible"): "000007",
    }
    (edge_case,) = choose_edge_cases(dataset, DEFINITION)
    assert (edge_case.category, edge_case.is_labelled) == ("misc", False)
    overview = choose_overview(dataset, DEFINITION)
    assert overview is not None
    assert names[overview] == "000001"  # a car, a truck and a cyclist
