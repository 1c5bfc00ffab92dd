"""mmdetection3d's infos: structure, geometry, and what its own dataset class makes of them."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.mmdet3d.writer import IMAGES, POINTS, write_infos
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.camera import project_boxes
from admlops.simulation.config import SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.structures.boxes import Boxes

CLASSES = ("pedestrian", "cyclist", "car", "truck")


@pytest.fixture(scope="module")
def frames():
    world = WorldConfig(
        seed=5,
        train=SceneGroup(num_scenes=1, frames_per_scene=2),
        val=SceneGroup(num_scenes=1, frames_per_scene=1),
        pool=SceneGroup(num_scenes=0, frames_per_scene=1),
    )
    return list(simulate(world))


@pytest.fixture(scope="module")
def root(frames, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mmdet3d")
    assert write_infos(folder, frames, CLASSES) == {
        "admlops_infos_train.json": 2,
        "admlops_infos_val.json": 1,
    }
    return folder


def infos(root, split):
    return json.loads((root / f"admlops_infos_{split}.json").read_text())


class TestInfos:
    def test_structure(self, root):
        content = infos(root, "train")
        assert content["metainfo"]["categories"] == {name: i for i, name in enumerate(CLASSES)}
        assert [info["sample_idx"] for info in content["data_list"]] == [0, 1]
        assert [info["sample_idx"] for info in infos(root, "val")["data_list"]] == [2]
        info = content["data_list"][1]
        assert info["lidar_points"]["num_pts_feats"] == 4
        assert (root / POINTS / info["lidar_points"]["lidar_path"]).is_file()
        (image,) = info["images"].values()
        assert (root / IMAGES / image["img_path"]).is_file()
        assert np.shape(image["cam2img"]) == (3, 3)
        assert np.shape(image["lidar2cam"]) == np.shape(image["lidar2img"]) == (4, 4)

    def test_boxes_hold_their_points_in_the_written_cloud(self, root, frames):
        for info, frame in zip(infos(root, "train")["data_list"], frames[:2], strict=True):
            file = root / POINTS / info["lidar_points"]["lidar_path"]
            points = np.fromfile(file, "<f4").reshape(-1, 4)
            rows = np.array([item["bbox_3d"] for item in info["instances"]])
            counted = count_points_in_boxes(points, rows)
            assert counted.tolist() == [item["num_lidar_pts"] for item in info["instances"]]
            assert (np.abs(counted - frame.boxes.num_points) <= 1).all()
            assert [item["bbox_3d_isvalid"] for item in info["instances"]] == (counted > 0).tolist()
            names = [CLASSES[item["bbox_label_3d"]] for item in info["instances"]]
            assert names == frame.boxes.category.tolist()

    def test_the_frame_is_level_at_the_lidars_place(self, frames, tmp_path):
        sensor = frames[0].lidar.sensor
        tilted = sensor.ego_from_sensor.copy()
        tilted[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        turned = frames[0].lidar.points.copy()
        turned[:, 0], turned[:, 1] = frames[0].lidar.points[:, 1], -frames[0].lidar.points[:, 0]
        lidar = replace(
            frames[0].lidar, sensor=replace(sensor, ego_from_sensor=tilted), points=turned
        )
        write_infos(tmp_path, [replace(frames[0], lidar=lidar)], CLASSES)
        (info,) = infos(tmp_path, "train")["data_list"]
        points = np.fromfile(tmp_path / POINTS / "000000.bin", "<f4").reshape(-1, 4)
        np.testing.assert_allclose(points, frames[0].lidar.points, atol=1e-5)
        place = np.array(info["lidar_points"]["lidar2ego"])
        np.testing.assert_array_equal(place[:3, :3], np.eye(3))
        np.testing.assert_array_equal(place[:3, 3], sensor.ego_from_sensor[:3, 3])

    def test_boxes_fall_into_the_image_where_ours_do(self, root, frames):
        frame, info = frames[0], infos(root, "train")["data_list"][0]
        (image,) = info["images"].values()
        rows = np.array([item["bbox_3d"] for item in info["instances"]])
        size_px = (image["width"], image["height"])
        lidar_from_camera = np.linalg.inv(image["lidar2cam"])
        theirs = project_boxes(rows, lidar_from_camera, np.array(image["cam2img"]), size_px)
        camera = frame.camera.sensor
        ours = project_boxes(
            frame.boxes.as_7(), camera.ego_from_sensor, camera.camera_matrix, size_px
        )
        np.testing.assert_allclose(theirs, ours, atol=1e-6)
        centre = np.array([*rows[0][:3], 1.0])
        whole = np.array(image["lidar2img"]) @ centre
        parts = np.array(image["cam2img"]) @ (np.array(image["lidar2cam"]) @ centre)[:3]
        np.testing.assert_allclose(whole[:3], parts)

    def test_unlabelled_frames_and_unknown_speeds(self, frames, tmp_path):
        car = Boxes.make([[5, 0, 1]], [[4, 2, 1.5]], [0.0], ["car"])
        some = [replace(frames[0], boxes=None, split=""), replace(frames[1], boxes=car, split="")]
        assert write_infos(tmp_path, some, CLASSES) == {"admlops_infos_all.json": 2}
        first, second = infos(tmp_path, "all")["data_list"]
        assert first["instances"] == []
        assert second["instances"][0]["velocity"] == [0.0, 0.0]
        assert second["instances"][0]["bbox"] == [0.0] * 4

    def test_what_cannot_be_written_leaves_no_infos(self, frames, tmp_path):
        with pytest.raises(DataError, match="are none of car"):
            write_infos(tmp_path, frames, ("car",))
        with pytest.raises(DataError, match="no lidar sweep"):
            write_infos(tmp_path, [frames[0], replace(frames[1], lidar=None)], CLASSES)
        assert list(tmp_path.glob("*.json")) == []


@pytest.mark.skipif(find_spec("mmdet3d") is None, reason="mmdet3d is not installed")
class TestMmdet3d:
    def test_its_dataset_yields_our_boxes(self, root, frames):
        from mmdet3d.datasets import NuScenesDataset
        from mmengine.registry import init_default_scope

        init_default_scope("mmdet3d")

        class Ours(NuScenesDataset):
            METAINFO = {"classes": CLASSES}  # noqa: RUF012 - as mmdetection3d does

        pipeline = [
            {"type": "LoadPointsFromFile", "coord_type": "LIDAR", "load_dim": 4, "use_dim": 4},
            {"type": "LoadAnnotations3D", "with_bbox_3d": True, "with_label_3d": True},
            {"type": "Pack3DDetInputs", "keys": ["points", "gt_bboxes_3d", "gt_labels_3d"]},
        ]
        dataset = Ours(
            data_root=str(root),
            ann_file="admlops_infos_train.json",
            data_prefix={"pts": POINTS, "img": IMAGES},
            pipeline=pipeline,
        )
        assert len(dataset) == 2
        for number, frame in enumerate(frames[:2]):
            item = dataset[number]
            labels = item["data_samples"].gt_instances_3d
            info = infos(root, "train")["data_list"][number]
            kept = np.array([entry["bbox_3d_isvalid"] for entry in info["instances"]])
            boxes = frame.boxes.select(kept)
            shift = frame.lidar.sensor.ego_from_sensor[:3, 3]
            got = labels.bboxes_3d
            np.testing.assert_allclose(
                got.gravity_center.numpy(), boxes.center_m - shift, atol=1e-4
            )
            np.testing.assert_allclose(got.dims.numpy(), boxes.size_m, atol=1e-5)
            np.testing.assert_allclose(got.yaw.numpy(), boxes.yaw_rad, atol=1e-5)
            assert [CLASSES[label] for label in labels.labels_3d] == boxes.category.tolist()
            assert len(item["inputs"]["points"]) == len(frame.lidar.points)
