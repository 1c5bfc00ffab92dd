import io

import numpy as np
import pytest
from PIL import Image

from admlops.errors import DataError
from admlops.recordings.events import ImageEvent
from admlops.recordings.images import demosaic, encode_image
from admlops.recordings.messages import Place

RGB = np.array(
    [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]], [[1, 2, 3], [4, 5, 6]]], np.uint8
)


def event(encoding, pixels, padding=0, *, is_compressed=False, is_bigendian=False):
    if is_compressed:
        height, width, step, data = 0, 0, 0, pixels
    else:
        height, width = pixels.shape[:2]
        rows = [row.tobytes() + bytes(padding) for row in pixels]
        step, data = len(rows[0]), b"".join(rows)
    return ImageEvent(
        topic="/camera/image",
        sensor="camera",
        frame_id="camera",
        stamp_ns=1,
        log_time_ns=1,
        place=Place(0, -1, 0),
        encoding=encoding,
        width_px=width,
        height_px=height,
        step_bytes=step,
        is_bigendian=is_bigendian,
        is_compressed=is_compressed,
        data=data,
    )


def decoded(image):
    encoded, width, height = encode_image(image)
    pixels = np.asarray(Image.open(io.BytesIO(encoded)))
    assert pixels.shape[:2] == (height, width)
    return pixels


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, np.full((3, 2), 9, np.uint8)])),
        ("bgra8", np.dstack([RGB[..., ::-1], np.full((3, 2), 9, np.uint8)])),
    ],
)
def test_colour_images_come_out_red_first_without_loss(encoding, pixels, padding):
    np.testing.assert_array_equal(decoded(event(encoding, pixels, padding)), RGB)


def test_grey_images_keep_their_values_and_sixteen_bits_the_upper_eight():
    grey = RGB[..., 0]
    np.testing.assert_array_equal(decoded(event("mono8", grey)), grey)
    np.testing.assert_array_equal(decoded(event("8UC1", grey)), grey)
    wide = grey.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(decoded(event("mono16", wide.astype("<u2"))), grey)
    big = event("mono16", wide.astype(">u2"), is_bigendian=True)
    np.testing.assert_array_equal(decoded(big), grey)


@pytest.mark.parametrize(
    ("name", "red"), [("rggb", (0, 0)), ("grbg", (0, 1)), ("gbrg", (1, 0)), ("bggr", (1, 1))]
)
def test_a_mosaic_of_one_colour_becomes_that_colour(name, red):
    colour = np.array([200, 120, 40], np.uint8)
    mosaic = np.full((6, 8), colour[1], np.uint8)
    mosaic[red[0] :: 2, red[1] :: 2] = colour[0]
    mosaic[1 - red[0] :: 2, 1 - red[1] :: 2] = colour[2]
    image = decoded(event(f"bayer_{name}8", mosaic))
    np.testing.assert_array_equal(image, np.broadcast_to(colour, (6, 8, 3)))


def test_a_green_pixel_takes_the_mean_of_the_red_ones_beside_it():
    mosaic = np.zeros((4, 4), np.uint8)
    mosaic[2, 0], mosaic[2, 2] = 100, 50
    image = demosaic(mosaic, (0, 0))
    assert image[2, 1, 0] == 75
    assert image[2, 0, 0] == 100


def test_yuv_is_converted_as_bt601():
    grey = np.array([[[128, 16], [128, 235]]], np.uint8)  # U Y0 V Y1: black and white
    np.testing.assert_array_equal(decoded(event("uyvy", grey))[0, :, 0], [0, 255])
    red = np.array([[[81, 90], [81, 240]]], np.uint8)  # Y0 U Y1 V
    np.testing.assert_allclose(decoded(event("yuv422_yuy2", red))[0, 0], [254, 0, 0], atol=2)


def test_compressed_images_pass_through_as_they_are():
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, format="PNG")
    content = buffer.getvalue()
    image = event("rgb8; png compressed bgr8", content, is_compressed=True)
    assert encode_image(image) == (content, 2, 3)
    with pytest.raises(DataError, match="damaged"):
        encode_image(event("png", content[:-20], is_compressed=True))
    with pytest.raises(DataError, match="neither"):
        encode_image(event("png", b"hello", is_compressed=True))


@pytest.mark.parametrize("encoding", ["32FC1", "bayer_rggb16", "", "bayer_xyzw8"])
def test_unknown_encodings_are_refused_with_the_known_ones(encoding):
    with pytest.raises(DataError, match="known are"):
        encode_image(event(encoding, RGB))


def test_an_image_in_too_few_bytes_is_refused():
    whole = event("rgb8", RGB)
    values = {name: getattr(whole, name) for name in ImageEvent.__dataclass_fields__}
    with pytest.raises(DataError, match="2 x 3 pixels in 10 bytes"):
        encode_image(ImageEvent(**values | {"data": whole.data[:10]}))
    with pytest.raises(DataError, match="0 x 3"):
        encode_image(ImageEvent(**values | {"width_px": 0}))
