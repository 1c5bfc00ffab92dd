"""Turns recorded images into PNG or JPEG files."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from admlops.errors import DataError
from admlops.formats.image_file import image_size_px
from admlops.recordings.events import ImageEvent

MAX_PIXELS = 200_000_000

_CHANNELS = {"mono": 1, "8UC1": 1, "16UC1": 1, "rgb": 3, "bgr": 3, "8UC3": 3, "rgba": 4, "bgra": 4}
_BAYER_RED = {"rggb": (0, 0), "grbg": (0, 1), "gbrg": (1, 0), "bggr": (1, 1)}
_YUV = {"uyvy": (1, 0, 2), "yuv422": (1, 0, 2), "yuyv": (0, 1, 3), "yuv422_yuy2": (0, 1, 3)}
ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "8UC1", "8UC3", "16UC1"),
    *(f"bayer_{name}8" for name in _BAYER_RED),
    *_YUV,
)
_PNG_LEVEL = 1


def encode_image(event: ImageEvent) -> tuple[bytes, int, int]:
    """Return the bytes of a PNG or JPEG file, its width and its height.

    Compressed images are passed on as they are; raw ones become PNG files without loss, but for
    Bayer patterns (bilinear), 16 bit (the upper 8) and YUV.

    Raises:
        DataError: the image is damaged, or of an encoding that is not known.
    """
    if event.is_compressed:
        return _check_compressed(bytes(event.data))
    pixels = image_pixels(event)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=_PNG_LEVEL)
    return buffer.getvalue(), event.width_px, event.height_px


def _check_compressed(encoded: bytes) -> tuple[bytes, int, int]:
    try:
        width, height = image_size_px(encoded)
    except (ValueError, IndexError) as error:
        raise DataError(f"a compressed image is damaged ({error})") from error
    if not 0 < width * height <= MAX_PIXELS:
        raise DataError(f"a compressed image of {width} x {height} pixels")
    return encoded, width, height


def image_pixels(event: ImageEvent) -> NDArray[np.uint8]:
    """Return the (H, W) or (H, W, 3) pixels of a raw image, red first.

    Raises:
        DataError: the image is damaged, or of an encoding that is not known.
    """
    kind = event.encoding.strip()
    if not 0 < event.width_px * event.height_px <= MAX_PIXELS:
        raise DataError(f"an image of {event.width_px} x {event.height_px} pixels")
    if kind.startswith("bayer_"):
        name = kind[6:10]
        if kind[10:] != "8" or name not in _BAYER_RED:
            raise _unknown(kind)
        return demosaic(_rows(event, 1)[..., 0], _BAYER_RED[name])
    if kind in _YUV:
        return _from_yuv(_rows(event, 2), _YUV[kind])
    name = kind.rstrip("0123456789") if "UC" not in kind else kind
    if kind not in ENCODINGS or name not in _CHANNELS:
        raise _unknown(kind)
    if kind.endswith("16") or kind == "16UC1":
        return _rows(event, 2)[..., 0 if event.is_bigendian else 1]
    rows = _rows(event, _CHANNELS[name])
    if name in ("bgr", "bgra", "8UC3"):
        rows = rows[..., 2::-1]
    return np.ascontiguousarray(rows[..., 0] if rows.shape[2] == 1 else rows[..., :3])


def _unknown(kind: str) -> DataError:
    return DataError(f"image encoding {kind!r:.60}; known are {', '.join(ENCODINGS)}")


def _rows(event: ImageEvent, bytes_per_pixel: int) -> NDArray[np.uint8]:
    """Return a (H, W, bytes_per_pixel) view; padding at the end of rows is left out."""
    width, height, step = event.width_px, event.height_px, event.step_bytes
    needed = step * (height - 1) + width * bytes_per_pixel
    if step < width * bytes_per_pixel or len(event.data) < needed:
        raise DataError(
            f"a {event.encoding} image of {width} x {height} pixels in {len(event.data)} bytes, "
            f"{step} a row"
        )
    return np.ndarray(
        (height, width, bytes_per_pixel),
        np.uint8,
        event.data,
        strides=(step, bytes_per_pixel, 1),
    )


def demosaic(mosaic: NDArray[np.uint8], red: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the (H, W, 3) image of a (H, W) Bayer mosaic, bilinear, edges repeated.

    Args:
        mosaic: one value per pixel.
        red: row and column of the first red pixel; blue is one further in both.
    """
    height, width = mosaic.shape
    is_red = np.zeros((height, width), dtype=bool)
    is_red[red[0] :: 2, red[1] :: 2] = True
    is_blue = np.zeros((height, width), dtype=bool)
    is_blue[1 - red[0] :: 2, 1 - red[1] :: 2] = True
    masks = (is_red, ~(is_red | is_blue), is_blue)
    out = np.empty((height, width, 3), dtype=np.uint8)
    for channel, mask in enumerate(masks):
        known = mask.astype(np.float32)
        total = _smooth(mosaic * known)
        weight = _smooth(known)
        filled = np.where(weight > 0, total / np.maximum(weight, 1e-6), 0.0)
        out[..., channel] = np.where(mask, mosaic, np.rint(filled))
    return out


def _smooth(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sum over 3 x 3 neighbours with weights 1 2 1."""
    rows = np.pad(values, ((1, 1), (0, 0)), mode="constant")
    rows = rows[:-2] + 2 * rows[1:-1] + rows[2:]
    columns = np.pad(rows, ((0, 0), (1, 1)), mode="constant")
    total: NDArray[np.float32] = columns[:, :-2] + 2 * columns[:, 1:-1] + columns[:, 2:]
    return total


def _from_yuv(pairs: NDArray[np.uint8], order: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return (H, W, 3) from (H, W, 2) bytes, two pixels sharing U and V.

    Source: ITU-R BT.601, limited range, as cv_bridge converts.
    """
    height, width, _ = pairs.shape
    if width % 2:
        raise DataError(f"a YUV 4:2:2 image of odd width {width}")
    quads = np.ascontiguousarray(pairs).reshape(height, width // 2, 4).astype(np.float32)
    luma_at, u_at, v_at = order
    luma = 1.164 * (quads[..., luma_at::2].reshape(height, width) - 16.0)
    u = np.repeat(quads[..., u_at] - 128.0, 2, axis=1)
    v = np.repeat(quads[..., v_at] - 128.0, 2, axis=1)
    channels = [luma + 1.596 * v, luma - 0.813 * v - 0.391 * u, luma + 2.018 * u]
    return np.clip(np.rint(np.stack(channels, axis=-1)), 0, 255).astype(np.uint8)
