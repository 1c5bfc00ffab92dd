"""Real samples of every format go into one lake, each frame and box accounted for."""

import json
from pathlib import Path

import pytest

from admlops.lake.store import Dataset
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest

SAMPLES = {
    "argoverse2": (2, 162, 0),
    "bdd100k_video_eval/track_sample_anns.json": (202, 0, 3109),
    "coco": (100, 0, 830),
    "kitti_object": (6, 14, 0),
    "kitti_raw": (4, 0, 0),
    "kitti_tracking": (2, 14, 0),
    "voc/toyexample/gts_vocpascal_format": (10, 0, 12),
}
"""Frames, boxes in space and boxes in images; crowds and ignore regions are no boxes."""


@pytest.fixture(scope="module")
def lake(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("samples")
    findings = {}
    for name, (num_frames, *_) in SAMPLES.items():
        place = folder / name.replace("/", "_")
        config = IngestConfig(lake_uri=str(folder / "lake"))
        outputs = IngestOutputs(place / "dataset.json", place / "findings")
        scores = ingest(IngestInputs(real_data / name), outputs, config)
        assert scores["num_added"] == num_frames
        assert scores["num_quarantined"] == 0
        findings[name] = json.loads((place / "findings" / "findings.json").read_text())
    return folder, findings


def test_frames_in_space_and_in_images_share_a_lake(lake: tuple[Path, dict]) -> None:
    dataset = Dataset.open(str(lake[0] / "lake"))
    rows = dataset.query(
        "SELECT source, count(*) AS frames, coalesce(sum(num_boxes), 0)::BIGINT AS boxes, "
        "coalesce(sum(num_boxes_2d), 0)::BIGINT AS boxes_2d FROM frames GROUP BY source"
    ).to_pylist()
    found = {
        name: (row["frames"], row["boxes"], row["boxes_2d"])
        for row in rows
        for name in SAMPLES
        if row["source"].endswith(name)
    }
    assert found == SAMPLES


def test_every_box_of_the_sources_is_accounted_for(lake: tuple[Path, dict]) -> None:
    for name, (_, num_boxes, num_boxes_2d) in SAMPLES.items():
        account = lake[1][name]["categories"]
        assert sum(row["num_boxes"] for row in account) == num_boxes + num_boxes_2d
        assert all(row["ours"] for row in account)


def test_the_same_samples_again_add_nothing(lake: tuple[Path, dict], real_data: Path) -> None:
    dataset = Dataset.open(str(lake[0] / "lake"))
    outputs = IngestOutputs(lake[0] / "again.json", lake[0] / "again")
    config = IngestConfig(lake_uri=str(lake[0] / "lake"))
    scores = ingest(IngestInputs(real_data / "argoverse2"), outputs, config)
    assert (scores["num_added"], scores["num_present"]) == (0, 2)
    assert Dataset.open(dataset.uri).digest == dataset.digest
