"""Draws the front camera's image: sky, ground, then solids from far to near, flatly shaded."""

import math
import struct
import zlib

import numpy as np
from numba import njit
from numpy.typing import NDArray

from admlops.geometry.pose import invert
from admlops.simulation.lidar import Pose2, ground_materials
from admlops.simulation.materials import all_materials
from admlops.simulation.scene import Scene
from admlops.simulation.solids import Solids
from admlops.structures.frame import CalibratedSensor

_NUM_SHADES = 8
_NUM_SKY = 24
_NEAR_M = 0.3


def render_image(
    scene: Scene,
    solids: Solids,
    pose: Pose2,
    camera: CalibratedSensor,
    image_size_px: tuple[int, int],
) -> bytes:
    """Return a PNG of the solids, which are given in the ego frame.

    The image holds palette numbers: material times shade. Night and rain change the palette only.
    """
    assert camera.camera_matrix is not None  # noqa: S101 - a camera has a matrix
    canvas = _draw_background(scene, pose, camera, image_size_px)
    center = solids.table[:, :2] - camera.ego_from_sensor[:2, 3]
    order = np.argsort(-np.hypot(center[:, 0], center[:, 1]), kind="stable")
    matrix = camera.camera_matrix
    _draw_solids(
        canvas,
        solids.table[order],
        solids.material[order],
        np.ascontiguousarray(invert(camera.ego_from_sensor)),
        (float(matrix[0, 0]), float(matrix[0, 2]), float(matrix[1, 2])),
    )
    return encode_png(canvas, _palette(scene.tags))


def _draw_background(
    scene: Scene, pose: Pose2, camera: CalibratedSensor, image_size_px: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return sky above the horizon and flat ground below it, sampled at every second pixel."""
    assert camera.camera_matrix is not None  # noqa: S101 - a camera has a matrix
    width, height = image_size_px
    horizon = math.ceil(camera.camera_matrix[1, 2])
    focal, centre = camera.camera_matrix[0, 0], camera.camera_matrix[0, 2]
    canvas = np.empty((height, width), dtype=np.uint8)
    top = min(max(horizon, 0), height)
    first = len(all_materials().colour) * _NUM_SHADES
    shade = np.linspace(0, _NUM_SKY - 1, max(top, 1)).astype(np.uint8)[:top]
    canvas[:top] = (first + shade)[:, None]
    rows = np.arange(top, height, 2) + 1.0 - camera.camera_matrix[1, 2]
    columns = np.arange(0, width, 2) - centre
    depth = camera.ego_from_sensor[2, 3] * focal / np.maximum(rows, 0.5)
    x = np.broadcast_to(depth[:, None], (len(rows), len(columns)))
    y = camera.ego_from_sensor[1, 3] - depth[:, None] * columns / focal
    material = ground_materials(scene.road, pose, x.ravel(), y.ravel()).reshape(x.shape)
    haze = np.clip(_NUM_SHADES - 2 - (depth / 25).astype(int), 3, None)
    ground = (material * _NUM_SHADES + haze[:, None]).astype(np.uint8)
    canvas[top:] = ground.repeat(2, axis=0).repeat(2, axis=1)[: height - top, :width]
    return canvas


def _palette(tags: tuple[str, ...]) -> NDArray[np.uint8]:
    """Return (256, 3) colours of materials by shade, then of the sky, under the conditions."""
    shades = np.linspace(0.38, 1.12, _NUM_SHADES)
    colour = all_materials().colour
    palette = np.zeros((256, 3))
    used = len(colour) * _NUM_SHADES
    palette[:used] = (colour[:, None] * shades[:, None]).reshape(-1, 3)
    rise = np.linspace(0, 1, _NUM_SKY)[:, None]
    palette[used : used + _NUM_SKY] = (1 - rise) * [96, 146, 208] + rise * [206, 220, 232]
    if "rain" in tags:
        grey = palette.mean(axis=1, keepdims=True)
        palette = 0.75 * (0.4 * palette + 0.6 * grey) + 22
    if "night" in tags:
        palette = palette * [0.15, 0.16, 0.22]
        lamp = 6 * _NUM_SHADES
        palette[lamp : lamp + _NUM_SHADES] = [236, 214, 150]
    return np.clip(palette, 0, 255).astype(np.uint8)


def encode_png(canvas: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Return a palette PNG of (H, W) numbers. Source: PNG specification, chunks and filter 0."""
    height, width = canvas.shape
    rows = np.zeros((height, width + 1), dtype=np.uint8)
    rows[:, 1:] = canvas
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), 1)),
        (b"IEND", b""),
    )
    encoded = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        encoded += struct.pack(">I", len(data)) + name + data
        encoded += struct.pack(">I", zlib.crc32(name + data))
    return encoded


@njit(cache=True)
def _draw_solids(canvas, table, material, camera_from_ego, lens):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Draw solids in the given order; a round one is drawn with eight sides."""
    ring = np.empty((16, 3))
    face = np.empty((16, 3))
    for index in range(len(table)):
        sides = 8 if table[index, 10] > 0.0 else 4
        if _outline(table[index], sides, camera_from_ego, ring) < _NEAR_M:
            continue
        for side in range(sides + 1):
            if side == sides:
                count = sides
                for corner in range(sides):
                    face[corner] = ring[sides + corner]
                level = 1.0
            else:
                count = 4
                following = (side + 1) % sides
                face[0], face[1] = ring[side], ring[following]
                face[2], face[3] = ring[sides + following], ring[sides + side]
                ex, ez = face[1, 0] - face[0, 0], face[1, 2] - face[0, 2]
                level = 0.35 + 0.45 * abs(ex) / (math.hypot(ex, ez) + 1e-9)
                if ez > 0.0:
                    level += 0.1
            if not _faces_camera(face, count):
                continue
            distance = math.sqrt(face[0, 0] ** 2 + face[0, 2] ** 2)
            shade = int(level * 7.0 - distance / 30.0)
            colour = material[index] * 8 + min(max(shade, 0), 7)
            _fill(canvas, face, count, lens, colour)


@njit(cache=True)
def _outline(solid, sides, camera_from_ego, ring):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Write the corners of bottom and top in camera axes; return the largest depth."""
    cosine, sine = math.cos(solid[3]), math.sin(solid[3])
    farthest = -1e9
    for corner in range(2 * sides):
        is_top = corner >= sides
        length, width = (solid[6], solid[7]) if is_top else (solid[4], solid[5])
        if sides == 4:
            step = corner % 4
            along = length if step == 0 or step == 3 else -length
            across = width if step < 2 else -width
        else:
            angle = 2.0 * math.pi * (corner % 8) / 8.0
            along, across = length * math.cos(angle), length * math.sin(angle)
        along += solid[8] if is_top else 0.0
        x = solid[0] + along * cosine - across * sine
        y = solid[1] + along * sine + across * cosine
        z = solid[2] + (solid[9] if is_top else 0.0)
        for axis in range(3):
            row = camera_from_ego[axis]
            ring[corner, axis] = row[0] * x + row[1] * y + row[2] * z + row[3]
        farthest = max(farthest, ring[corner, 2])
    return farthest


@njit(cache=True)
def _faces_camera(face, count):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    ax, ay, az = face[1] - face[0]
    bx, by, bz = face[count - 1] - face[0]
    nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return nx * face[0, 0] + ny * face[0, 1] + nz * face[0, 2] > 0.0


@njit(cache=True)
def _fill(canvas, face, count, lens, colour):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Fill a convex polygon given in camera coordinates, cut at the near plane."""
    height, width = canvas.shape
    focal, centre_x, centre_y = lens
    px, py = np.empty(20), np.empty(20)
    kept = 0
    for index in range(count):
        a, b = face[index], face[(index + 1) % count]
        if a[2] >= _NEAR_M:
            px[kept] = focal * a[0] / a[2] + centre_x
            py[kept] = focal * a[1] / a[2] + centre_y
            kept += 1
        if (a[2] >= _NEAR_M) != (b[2] >= _NEAR_M):
            share = (_NEAR_M - a[2]) / (b[2] - a[2])
            px[kept] = focal * (a[0] + share * (b[0] - a[0])) / _NEAR_M + centre_x
            py[kept] = focal * (a[1] + share * (b[1] - a[1])) / _NEAR_M + centre_y
            kept += 1
    if kept < 3:
        return
    first = max(0, math.ceil(py[:kept].min()))
    last = min(height - 1, math.floor(py[:kept].max()))
    for row in range(first, last + 1):
        left, right = 1e9, -1e9
        for index in range(kept):
            other = (index + 1) % kept
            y0, y1 = py[index], py[other]
            if (y0 <= row) != (y1 <= row):
                crossing = px[index] + (row - y0) / (y1 - y0) * (px[other] - px[index])
                left, right = min(left, crossing), max(right, crossing)
        start, end = max(0, math.ceil(left)), min(width - 1, math.floor(right))
        for column in range(start, end + 1):
            canvas[row, column] = colour
