"""The step `check` on the synthetic world and on real frames."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from admlops.detection.config import detector_config_json
from admlops.detection.presets import pointpillars_kitti, small_detector
from admlops.errors import DataError
from admlops.formats.source import read_all
from admlops.geometry.pose import wrap_angle
from admlops.lake.store import Dataset
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.check import CheckConfig, CheckInputs, CheckOutputs, check
from admlops.steps.sources import open_source
from admlops.structures.frame import Frame

WORLD = WorldConfig(
    train=SceneGroup(num_scenes=3, frames_per_scene=4),
    val=SceneGroup(num_scenes=2, frames_per_scene=4),
    pool=SceneGroup(num_scenes=1, frames_per_scene=2),
    images=False,
)


def _store(folder: Path, frames) -> Path:
    dataset = Dataset.create(str(folder / "lake"))
    dataset.append(frames)
    manifest = folder / "dataset.json"
    dataset.manifest().write(manifest)
    return manifest


@pytest.fixture(scope="module")
def world() -> list[Frame]:
    return list(simulate(WORLD))


def _check(folder: Path, frames, model: Path | None = None, **config) -> tuple[dict, dict, str]:
    outputs = CheckOutputs(folder / "findings")
    manifest = _store(folder, frames)
    scores = check(CheckInputs(manifest, model), outputs, CheckConfig.parse(config))
    found = json.loads((outputs.findings / "findings.json").read_text())
    return scores, found, (outputs.findings / "findings.md").read_text()


@pytest.mark.parametrize("kind", ["pointpillars", "centerpoint"])
def test_the_synthetic_world_has_no_error(tmp_path: Path, world, kind: str) -> None:
    detector = small_detector(kind).to_json_dict()
    scores, found, _ = _check(tmp_path, world, detector=detector)
    assert scores["num_error"] == 0
    assert scores["labels_fed_back_percent"] == 100
    assert scores["points_in_box_fit"] > 0.8
    assert found["convention"]["fits_best"] == "as written"
    assert found["figures"]["num_frames"] == 22


def test_a_model_folder_or_file_is_read(tmp_path: Path, world) -> None:
    (tmp_path / "detector.json").write_text(detector_config_json(small_detector()))
    for model in (tmp_path, tmp_path / "detector.json"):
        scores, _, _ = _check(tmp_path, world, model=model)
        assert scores["num_error"] == 0
    with pytest.raises(DataError, match="neither a model folder nor"):
        _check(tmp_path, world, model=tmp_path / "absent.yaml")


def _clockwise(frames: list[Frame]) -> Iterator[Frame]:
    for frame in frames:
        boxes = frame.boxes
        if boxes is not None:
            boxes = boxes.replace(yaw_rad=wrap_angle(-boxes.yaw_rad - np.pi / 2))
        yield replace(frame, boxes=boxes)


def test_a_wrong_convention_fails_and_is_named_after_the_findings_are_written(
    tmp_path: Path, world
) -> None:
    with pytest.raises(DataError, match="BOX004 error .*KITTI's rotation_y"):
        _check(tmp_path, _clockwise(world))
    page = (tmp_path / "findings" / "findings.md").read_text()
    assert "yaw is KITTI's rotation_y: take -(yaw + 90 degrees)" in page


def test_fail_on_never_reports_only(tmp_path: Path, world) -> None:
    scores, found, _ = _check(tmp_path, _clockwise(world), fail_on="never")
    assert scores["num_error"] > 0
    assert found["rules"]["BOX004"] > 0


def test_labels_that_do_not_match_themselves_are_found(tmp_path: Path, world) -> None:
    size = world[0].boxes.size_m.copy()
    size[0] *= -1
    broken = replace(world[0], boxes=world[0].boxes.replace(size_m=size))
    scores, found, _ = _check(tmp_path, [broken, *world[1:]], fail_on="never")
    assert scores["labels_fed_back_percent"] < 100
    assert {"BOX002", "LABEL003"} <= set(found["rules"])


def test_labels_without_points_are_named(tmp_path: Path, world) -> None:
    blind = [replace(frame, lidar=None) for frame in world]
    _, found, page = _check(tmp_path, blind, fail_on="never")
    assert found["rules"]["FRAME001"] == 20
    assert "labelled, but without lidar points" in page


def test_an_empty_dataset_is_a_finding(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="LABEL001"):
        _check(tmp_path, [])


def test_real_frames_fit_as_written(tmp_path: Path, real_data: Path) -> None:
    frames = [
        item
        for item in read_all(open_source(real_data / "kitti_object"))
        if isinstance(item, Frame)
    ]
    scores, found, _ = _check(tmp_path, frames, detector=pointpillars_kitti().to_json_dict())
    assert scores["num_error"] == 0
    assert scores["labels_fed_back_percent"] == 100
    assert found["convention"]["fits_best"] == "as written"


def test_real_frames_name_a_bottom_centre(tmp_path: Path, real_data: Path) -> None:
    frames = [
        item
        for item in read_all(open_source(real_data / "kitti_object"))
        if isinstance(item, Frame)
    ]
    sunk = []
    for frame in frames:
        low = frame.boxes.center_m - frame.boxes.size_m * [0, 0, 0.5]
        sunk.append(replace(frame, boxes=frame.boxes.replace(center_m=low)))
    _, found, _ = _check(tmp_path, sunk, fail_on="never")
    assert found["convention"]["fits_best"].startswith("z is the bottom centre")
