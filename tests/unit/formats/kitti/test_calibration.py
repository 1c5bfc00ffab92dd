import numpy as np
import pytest

from admlops.errors import DataError
from admlops.formats.image_file import image_size_px
from admlops.formats.kitti.calibration import EGO_FROM_RECTIFIED, KittiCalibration
from admlops.geometry.pose import make_transform, rotation_about_z, transform_points
from admlops.structures.frame import CalibratedSensor

AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def test_a_point_ahead_of_the_camera_is_ahead_of_the_ego():
    # 10 m ahead, 2 m to the right, 1.65 m below the camera: on the road.
    points = transform_points(EGO_FROM_RECTIFIED, np.array([[2.0, 1.65, 10.0]]))
    assert np.allclose(points, [[10.0, -2.0, 0.0]])


def test_the_chain_of_a_real_calibration(real_data):
    content = (real_data / "kitti_object" / "training" / "calib" / "000001.txt").read_bytes()
    calibration = KittiCalibration.parse(content)
    # The velodyne stands 0.27 m behind and 0.08 m above camera 0, which is 1.65 m high.
    assert np.allclose(calibration.lidar.ego_from_sensor[:3, 3], [-0.27, 0.0, 1.73], atol=0.03)
    assert np.allclose(calibration.lidar.ego_from_sensor[:3, :3], np.eye(3), atol=0.03)
    # Camera 2 stands 6 cm to the left of camera 0.
    assert np.allclose(calibration.camera.ego_from_sensor[:3, 3], [0, 0.06, 1.65], atol=0.01)
    # A point projects as P2 says.
    point = np.array([1.0, 0.5, 20.0])
    expected = calibration.p2 @ [*point, 1.0]
    in_ego = transform_points(EGO_FROM_RECTIFIED, point[None])
    inverse = np.linalg.inv(calibration.camera.ego_from_sensor)
    pixel = calibration.camera.camera_matrix @ transform_points(inverse, in_ego)[0]
    assert np.allclose(pixel[:2] / pixel[2], expected[:2] / expected[2])


def test_sensors_come_back_from_the_text():
    matrix = np.array([[700.0, 0, 600], [0, 710, 180], [0, 0, 1]])
    camera = CalibratedSensor("c", "camera", make_transform(AXES, [1.2, -0.3, 1.4]), matrix)
    pose = make_transform(rotation_about_z(0.3), [0.5, 0.1, 1.9])
    lidar = CalibratedSensor("l", "lidar", pose)
    text = KittiCalibration.from_sensors(lidar, camera).to_text()
    back = KittiCalibration.parse(text.encode())
    assert np.allclose(back.lidar.ego_from_sensor, pose, atol=1e-12)
    assert np.allclose(back.camera.ego_from_sensor, camera.ego_from_sensor, atol=1e-12)
    assert np.allclose(back.camera.camera_matrix, matrix)


def test_a_camera_that_looks_aside_has_no_place_in_the_format():
    pose = make_transform(rotation_about_z(0.2) @ AXES, [0, 0, 1.65])
    camera = CalibratedSensor("side", "camera", pose, np.eye(3))
    with pytest.raises(DataError, match="side"):
        KittiCalibration.from_sensors(None, camera)


def test_image_sizes_without_decoding(tmp_path):
    from PIL import Image

    for suffix in ("png", "jpg"):
        path = tmp_path / f"image.{suffix}"
        Image.new("RGB", (33, 17)).save(path)
        assert image_size_px(path.read_bytes()) == (33, 17)
        with pytest.raises(ValueError, match="cut"):
            image_size_px(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="neither"):
        image_size_px(b"GIF89a")


@pytest.mark.parametrize(
    ("row", "values", "what"),
    [
        ("P3", "0 0 600 0 0 700 180 0 0 0 1 0", "P3 is not a pinhole"),
        ("P3", "700 0 600 0 700 700 180 0 0 0 1 0", "P3 is not a pinhole"),
        ("P2", "1e-320 0 600 0 0 700 180 0 0 0 1 0", "P2 is not a pinhole"),
        ("R0_rect", "1e300 0 0 0 1 0 0 0 1", "far too large"),
        ("Tr_imu_to_velo", "1 0 0 0 0 -1 0 0 0 0 1 0", "Tr_imu_to_velo holds no rotation"),
    ],
)
def test_rows_that_would_break_later(row, values, what):
    sensor = CalibratedSensor("l", "lidar", np.eye(4))
    rows = KittiCalibration.from_sensors(sensor, None).to_text().splitlines()
    kept = [line for line in rows if not line.startswith(f"{row}:")]
    with pytest.raises(ValueError, match=what):
        KittiCalibration.parse("\n".join([*kept, f"{row}: {values}"]).encode())
