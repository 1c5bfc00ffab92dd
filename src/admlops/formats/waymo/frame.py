"""One Waymo frame, from the message of a record to the structures."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from admlops.formats.image_file import image_size_px
from admlops.formats.reading import FrameReading
from admlops.formats.source import CategoryTable, ReadOptions
from admlops.formats.waymo.calibration import (
    CAMERAS,
    LIDARS,
    Camera,
    read_cameras,
    read_lidars,
    read_transform,
)
from admlops.formats.waymo.labels import read_boxes, read_boxes_2d
from admlops.formats.waymo.range_image import LidarCalibration, points_of
from admlops.formats.waymo.wire import BrokenMessageError, Message
from admlops.geometry.boxes import count_points_in_boxes
from admlops.geometry.pose import invert
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

LIDAR = CalibratedSensor("lidar_top", "lidar", np.eye(4))
FRONT = "camera_front"
NO_LABEL_ZONE_TAG = "no_label_zone"
"""Of frames in which a part of the surroundings was not labelled."""
MIN_COMPARED_POINTS = 10
"""Boxes with fewer points by their label are not held against the cloud."""
_CONDITIONS = {"time:night": "night", "weather:rain": "rain"}
_CONTEXT, _TIME_US, _POSE, _IMAGES, _LASERS, _LASER_LABELS = 1, 2, 3, 4, 5, 6
_NO_LABEL_ZONES, _CAMERA_LABELS = 7, 8
_CONTEXT_NAME, _STATS = 1, 4
_OBJECT_COUNTS, _STATS_TAGS = 1, {"time": 2, "location": 3, "weather": 4}
_NAME, _IMAGE, _IMAGE_POSE = 1, 2, 3
_FIRST_RETURN, _SECOND_RETURN = 2, 3
_RANGE_IMAGE, _RANGE_IMAGE_POSES = 2, 4

ValueT = TypeVar("ValueT")


class FrameDecoder:
    """Decodes one frame and notes what is wrong with its parts."""

    def __init__(
        self, content: bytes, where: str, reading: FrameReading, options: ReadOptions
    ) -> None:
        """Read the fields of a record.

        Raises:
            BrokenMessageError: it holds no message.
        """
        self._message = Message(content)
        self._context = self._message.message(_CONTEXT)
        self._where = where
        self._reading = reading
        self._options = options

    def frame(self, categories: CategoryTable) -> Frame | None:
        """Return the frame, or None with findings.

        Raises:
            BrokenMessageError: a field cannot be read.
        """
        name, time_us = self._context.text(_CONTEXT_NAME), self._message.integer(_TIME_US)
        if not name or not 0 < time_us < 1 << 53:
            self._reading.note("READ012", self._where, f"name {name!r:.40}, time {time_us} us")
            return None
        pose = self._part("READ012", lambda: read_transform(self._message.message(_POSE), "pose"))
        cameras = self._part("READ005", lambda: read_cameras(self._context))
        lidars = self._part("READ005", lambda: read_lidars(self._context))
        if pose is None or cameras is None or lidars is None:
            return None
        images = self._images(cameras, pose)
        cloud = self._part("READ002", lambda: self._cloud(lidars, pose))
        if cloud is None:
            return None
        points, is_unlabelled = cloud
        sweep = self._reading.points(points, Path(self._where))
        if sweep is None:
            return None
        return Frame(
            key=FrameKey(name, name, time_us * 1000),
            frame_id=f"{name}/{time_us}",
            global_from_ego=pose,
            lidar=LidarSweep(LIDAR, sweep),
            camera=images.get(FRONT),
            boxes=self._boxes(sweep, pose, categories),
            tags=self._tags(bool(is_unlabelled.any())),
            other_cameras=tuple(image for name, image in images.items() if name != FRONT),
            boxes_2d=self._boxes_2d(categories),
        )

    def _part(self, rule_id: str, read: Callable[[], ValueT]) -> ValueT | None:
        try:
            return read()
        except BrokenMessageError as error:
            self._reading.note(rule_id, self._where, str(error))
            return None

    def _cloud(
        self, lidars: dict[int, LidarCalibration], pose: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Return (N, 4) points of all lidars and (N,) which lie in a no-label zone."""
        returns = [_FIRST_RETURN]
        if self._options.lidar_returns == "all":
            returns.append(_SECOND_RETURN)
        parts = [(np.empty((0, 4), np.float32), np.empty(0, np.bool_))]
        for laser in self._message.messages(_LASERS):
            number = laser.integer(_NAME)
            if number not in lidars:
                name = LIDARS.get(number, str(number))
                raise BrokenMessageError(f"lidar {name} has no calibration")
            poses = laser.message(_FIRST_RETURN).payload(_RANGE_IMAGE_POSES)
            for which in returns:
                image = laser.message(which).payload(_RANGE_IMAGE)
                if len(image):
                    parts.append(points_of(image, poses, lidars[number], pose))
        points = np.concatenate([points for points, _ in parts])
        points[:, 3] = np.tanh(np.maximum(points[:, 3], 0.0))
        return points, np.concatenate([mask for _, mask in parts])

    def _wanted(self) -> set[str]:
        wanted = {"all": set(CAMERAS.values()), "front": {FRONT}, "none": set[str]()}
        return wanted[self._options.cameras]

    def _images(
        self, cameras: dict[str, Camera], global_from_ego: NDArray[np.float64]
    ) -> dict[str, CameraImage]:
        """Return the wanted images by camera, in the order of Waymo's numbers.

        The vehicle drove on between the frame's pose and an exposure, so the camera stands where
        it was at its own, seen from the ego frame of the frame's pose.
        """
        images = {}
        for item in sorted(self._message.messages(_IMAGES), key=lambda item: item.integer(_NAME)):
            name = CAMERAS.get(item.integer(_NAME), "")
            if name not in self._wanted():
                continue
            if name not in cameras:
                self._reading.note("READ005", self._where, f"{name} has no calibration")
                continue
            image = self._image(bytes(item.payload(_IMAGE)), cameras[name])
            read = partial(_exposed_pose, item, name, global_from_ego)
            exposed = self._part("READ012", read)
            if image is not None and exposed is not None:
                moved = invert(global_from_ego) @ exposed @ image.sensor.ego_from_sensor
                images[name] = replace(image, sensor=replace(image.sensor, ego_from_sensor=moved))
        return images

    def _image(self, encoded: bytes, camera: Camera) -> CameraImage | None:
        try:
            size_px = image_size_px(encoded)
        except ValueError as error:
            what = f"{camera.sensor.name}: {error} ({len(encoded)} bytes)"
            self._reading.note("READ007", self._where, what)
            return None
        if size_px != camera.size_px:
            what = f"{camera.sensor.name} has {size_px} px, by its calibration {camera.size_px}"
            self._reading.note("READ007", self._where, what)
            return None
        return CameraImage(camera.sensor, encoded, *size_px)

    def _boxes(
        self, points: NDArray[np.float32], pose: NDArray[np.float64], categories: CategoryTable
    ) -> Boxes | None:
        """Return the boxes; None where the segment's statistics name no labelled object either."""
        labels = self._message.messages(_LASER_LABELS)
        if not labels and _OBJECT_COUNTS not in self._context.message(_STATS):
            return None
        found = read_boxes(labels, pose)
        boxes = self._reading.boxes(found, categories, self._where)
        if boxes is None:
            return None
        counted = count_points_in_boxes(points, boxes.as_7())
        is_missed = (boxes.num_points >= MIN_COMPARED_POINTS) & (counted < boxes.num_points / 2)
        if is_missed.any() and self._options.lidar_returns == "all":
            row = int(np.flatnonzero(is_missed)[0])
            what = (
                f"{is_missed.sum()} of {len(boxes)} boxes hold less than half, first "
                f"{boxes.category[row]} with {boxes.num_points[row]} stored, {counted[row]} counted"
            )
            self._reading.note("READ013", self._where, what)
        return boxes.replace(num_points=counted)

    def _boxes_2d(self, categories: CategoryTable) -> Boxes2d | None:
        found = read_boxes_2d(self._message.messages(_CAMERA_LABELS), self._wanted())
        if found is None:
            return None
        return self._reading.boxes_2d(found, categories, self._where)

    def _tags(self, holds_unlabelled: bool) -> tuple[str, ...]:
        stats = self._context.message(_STATS)
        said = {name: stats.text(number) for name, number in _STATS_TAGS.items()}
        tags = {f"{name}:{text.lower()}" for name, text in said.items() if text}
        tags |= {_CONDITIONS[tag] for tag in tags if tag in _CONDITIONS}
        if holds_unlabelled or _NO_LABEL_ZONES in self._message:
            tags.add(NO_LABEL_ZONE_TAG)
        return tuple(sorted(tags))


def _exposed_pose(
    image: Message, name: str, global_from_ego: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the vehicle's pose at an image's exposure; the frame's where none is given."""
    if _IMAGE_POSE not in image:
        return global_from_ego
    return read_transform(image.message(_IMAGE_POSE), f"{name}'s pose")
