"""Size and wholeness of an encoded image, without decoding it."""

import struct

_PNG_START = b"\x89PNG\r\n\x1a\n"
_MIN_PNG_BYTES = 24
_JPEG_START = b"\xff\xd8"
_NO_FRAME = {0xC4, 0xC8, 0xCC}


def image_size_px(encoded: bytes) -> tuple[int, int]:
    """Return width and height of a PNG or JPEG file.

    Raises:
        ValueError: it is neither, or it is cut.
    """
    if encoded.startswith(_PNG_START):
        if b"IEND" not in encoded[-16:] or len(encoded) < _MIN_PNG_BYTES:
            raise ValueError("the PNG file is cut")
        width, height = struct.unpack(">II", encoded[16:24])
        return int(width), int(height)
    if encoded.startswith(_JPEG_START):
        return _jpeg_size_px(encoded)
    raise ValueError("neither a PNG nor a JPEG file")


def _jpeg_size_px(encoded: bytes) -> tuple[int, int]:
    if b"\xff\xd9" not in encoded[-16:]:
        raise ValueError("the JPEG file is cut")
    at = 2
    while at + 9 < len(encoded):
        marker, length = encoded[at + 1], struct.unpack(">H", encoded[at + 2 : at + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack(">HH", encoded[at + 5 : at + 9])
            return int(width), int(height)
        at += 2 + length
    raise ValueError("the JPEG file names no size")
