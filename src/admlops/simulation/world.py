"""The synthetic world: frames by scene and time, and the oracle that labels any of them."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.simulation.config import CameraConfig, LidarConfig, SplitName, WorldConfig
from admlops.simulation.labels import Truth, View, boxes_of, image_labels, label_view
from admlops.simulation.lidar import Pose2, ground_materials, make_rays, measure
from admlops.simulation.raycast import GROUND, Hits, Rays, cast_rays
from admlops.simulation.render import render_image
from admlops.simulation.road import waves_in_ego
from admlops.simulation.scene import Scene, build_scene
from admlops.simulation.solids import Solids
from admlops.structures.boxes import Boxes
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

_LOG = "synthetic"
_START_NS = 1_700_000_000_000_000_000
_SCENE_GAP_NS = 3_600_000_000_000
_CAMERA_AXES = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


def simulate(config: WorldConfig) -> Iterator[Frame]:
    """Yield every frame of the world, scene by scene: train, then val, then pool.

    Frames of the pool carry no boxes.
    """
    number = 0
    for split in get_args(SplitName):
        for index in range(config.group(split).num_scenes):
            scene = build_scene(config, split, index)
            for frame_index in range(len(scene.times_s)):
                yield simulate_frame(config, scene, index, frame_index, f"{number:06d}")
                number += 1


def frame_keys(config: WorldConfig) -> list[FrameKey]:
    """Return the keys of all frames in the order of `simulate`, without simulating them."""
    return [
        _key(config, split, index, frame_index)
        for split in get_args(SplitName)
        for index in range(config.group(split).num_scenes)
        for frame_index in range(config.group(split).frames_per_scene)
    ]


def oracle_labels(config: WorldConfig, keys: Iterable[FrameKey]) -> dict[FrameKey, Boxes]:
    """Return the truth for frames of the world, whatever their split: the annotator's stand-in.

    Frames that were recorded and read again are known by their log, "<log>-<scene>", and time.

    Raises:
        DataError: a key is not one of this world's frames.
    """
    wanted: dict[tuple[SplitName, int], list[tuple[FrameKey, int]]] = defaultdict(list)
    order = list(keys)
    for key in order:
        split, index, frame_index = _locate(config, key)
        wanted[split, index].append((key, frame_index))
    labels: dict[FrameKey, Boxes] = {}
    rays = make_rays(config.lidar)
    camera = _camera(config.camera)
    for (split, index), frames in wanted.items():
        scene = build_scene(config, split, index)
        for key, frame_index in frames:
            view, _, _ = _look(config, scene, rays, _random(config, key, frame_index), frame_index)
            labels[key] = _truth(config, scene, view, camera).boxes
    return {key: labels[key] for key in order}


def simulate_frame(
    config: WorldConfig, scene: Scene, index: int, frame_index: int, frame_id: str
) -> Frame:
    """Return one frame of a scene."""
    key = _key(config, scene.split, index, frame_index)
    rays, camera = make_rays(config.lidar), _camera(config.camera)
    random = _random(config, key, frame_index)
    view, solids, points = _look(config, scene, rays, random, frame_index)
    truth = _truth(config, scene, view, camera)
    position, yaw = scene.place((scene.ego,), float(scene.times_s[frame_index]))
    size_px = (config.camera.width_px, config.camera.height_px)
    encoded = b""
    if config.images:
        pose = Pose2(float(position[0, 0]), float(position[0, 1]), float(yaw[0]))
        encoded = render_image(scene, solids, pose, camera, size_px)
    is_pool = scene.split == "pool"
    regions = np.empty((0, 4)) if is_pool else truth.ignore_regions_px
    return Frame(
        key=key,
        frame_id=frame_id,
        global_from_ego=make_transform(rotation_about_z(float(yaw[0])), position[0]),
        lidar=LidarSweep(_lidar(config.lidar), points),
        camera=CameraImage(camera, encoded, *size_px, regions),
        boxes=None if is_pool else truth.boxes,
        tags=scene.tags,
        split=scene.split,
        source=f"simulation:seed={config.seed}",
        boxes_2d=image_labels(truth.boxes, "") if config.image_labels and not is_pool else None,
    )


def _look(
    config: WorldConfig,
    scene: Scene,
    rays: Rays,
    random: np.random.Generator,
    frame_index: int,
) -> tuple[View, Solids, NDArray[np.float32]]:
    """Return the objects, their solids in the ego frame and the (N, 4) points in the sensor's."""
    time_s = float(scene.times_s[frame_index])
    (ego_position,), (ego_yaw,) = scene.place((scene.ego,), time_s)
    position, yaw = scene.place(scene.tracks, time_s)
    turn = rotation_about_z(float(ego_yaw)).T
    position = (position - ego_position) @ turn.T
    yaw = yaw - ego_yaw
    is_near = np.hypot(position[:, 0], position[:, 1]) < config.lidar.max_range_m + 30.0
    solids = scene.solids.select(is_near[scene.solids.owner]).placed(position, yaw)
    waves = waves_in_ego(scene.road.waves, ego_position, float(ego_yaw))
    hits = cast_rays(rays, solids, len(scene.tracks), waves)
    pose = Pose2(float(ego_position[0]), float(ego_position[1]), float(ego_yaw))
    _paint_ground(scene, pose, rays, hits)
    points = measure(hits, rays, config.lidar, "rain" in scene.tags, random)
    in_ego = points.copy()
    in_ego[:, :3] += rays.origin_m.astype(np.float32)
    later, _ = scene.place(scene.tracks, time_s + 0.01)
    velocity = (((later - ego_position) @ turn.T - position) / 0.01)[:, :2]
    return View(boxes_of(scene, position, yaw), velocity, hits, in_ego), solids, points


def _paint_ground(scene: Scene, pose: Pose2, rays: Rays, hits: Hits) -> None:
    is_ground = hits.owner == GROUND
    beam, column = np.nonzero(is_ground)
    flat = hits.range_m[beam, column] * np.cos(rays.elevation_rad)[beam]
    azimuth = rays.azimuth_rad[column]
    x, y = rays.origin_m[0] + flat * np.cos(azimuth), rays.origin_m[1] + flat * np.sin(azimuth)
    hits.material[beam, column] = ground_materials(scene.road, pose, x, y)


def _truth(config: WorldConfig, scene: Scene, view: View, camera: CalibratedSensor) -> Truth:
    size = (config.camera.width_px, config.camera.height_px)
    return label_view(scene, view, camera, size, config.min_points)


def _lidar(config: LidarConfig) -> CalibratedSensor:
    ego_from_lidar = make_transform(np.eye(3), [config.x_m, 0.0, config.height_m])
    return CalibratedSensor("lidar_top", "lidar", ego_from_lidar)


def _camera(config: CameraConfig) -> CalibratedSensor:
    matrix = np.array(
        [
            [config.focal_px, 0.0, (config.width_px - 1) / 2],
            [0.0, config.focal_px, 0.46 * config.height_px],
            [0.0, 0.0, 1.0],
        ]
    )
    ego_from_camera = make_transform(_CAMERA_AXES, [0.0, config.y_m, config.height_m])
    return CalibratedSensor("camera_front", "camera", ego_from_camera, matrix)


def _key(config: WorldConfig, split: SplitName, index: int, frame_index: int) -> FrameKey:
    offset = sum(
        config.group(other).num_scenes
        for other in get_args(SplitName)[: get_args(SplitName).index(split)]
    )
    start = _START_NS + (offset + index) * _SCENE_GAP_NS
    elapsed = round(frame_index * config.keyframe_interval_s * 1e9)
    return FrameKey(f"{_LOG}-{config.seed}", f"{split}-{index:03d}", start + elapsed)


def _locate(config: WorldConfig, key: FrameKey) -> tuple[SplitName, int, int]:
    """Return where a frame of the world is; in a recording of it, log and scene are the log."""
    log = f"{_LOG}-{config.seed}"
    scene = key.scene if key.log == log else key.log.removeprefix(f"{log}-")
    split_name, _, number = scene.rpartition("-")
    for split in get_args(SplitName):
        if split == split_name and number.isdigit():
            index = int(number)
            start = _key(config, split, index, 0).timestamp_ns
            frame_index = round((key.timestamp_ns - start) / 1e9 / config.keyframe_interval_s)
            group = config.group(split)
            is_inside = index < group.num_scenes and 0 <= frame_index < group.frames_per_scene
            found = _key(config, split, index, frame_index) if is_inside else None
            if found == (log, scene, key.timestamp_ns):
                return split, index, frame_index
    raise DataError(
        f"{key}: not a frame of the synthetic world with seed {config.seed}; "
        "use the world that the frames were simulated with"
    )


def _random(config: WorldConfig, key: FrameKey, frame_index: int) -> np.random.Generator:
    return np.random.default_rng([config.seed, key.timestamp_ns % (2**62), frame_index])
