"""Unpacks compressed chunks, messages and files; what comes out is bounded.

lz4 and zstandard are imported where they are used, so that a recording can be told from other
formats without them.
"""

import bz2
from pathlib import Path
from typing import IO

from admlops.errors import DataError
from admlops.recordings.messages import MAX_RECORD_BYTES, check_length

MAX_FILE_BYTES = 64 * 2**30
"""A compressed file larger than this, once unpacked, is refused."""

_MAX_WINDOW_BYTES = 2**27
_BLOCK_BYTES = 2**20


def unpack(compression: str, data: bytes | memoryview, num_bytes: int) -> bytes | memoryview:
    """Return the `num_bytes` bytes that a compressed chunk holds.

    Args:
        compression: "" or "none", "zstd", "lz4" or "bz2".
        data: the compressed bytes.
        num_bytes: what the chunk's header says about its size.

    Raises:
        DataError: the data is damaged, holds another number of bytes, or its compression is not
            known.
    """
    check_length(num_bytes, f"chunk compressed with {compression!r}")
    try:
        unpacked = _unpack(compression, data, num_bytes + 1)
    except (OSError, EOFError, RuntimeError, ValueError) as error:
        raise DataError(f"a {compression} chunk is damaged ({error})") from error
    if len(unpacked) != num_bytes:
        raise DataError(f"a chunk unpacks to {len(unpacked)} bytes or more, not to {num_bytes}")
    return unpacked


def _unpack(compression: str, data: bytes | memoryview, limit: int) -> bytes | memoryview:
    if compression in ("", "none"):
        return data
    if compression == "zstd":
        return _unpack_zstd(data, limit)
    if compression == "lz4":
        import lz4.frame

        unpacked: bytes = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=limit)
        return unpacked
    if compression == "bz2":
        return bz2.BZ2Decompressor().decompress(data, max_length=limit)
    raise DataError(f"compression {compression!r} is not known; known are zstd, lz4, bz2")


def _unpack_zstd(data: bytes | memoryview, limit: int) -> bytes:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    parts = []
    try:
        with decompressor.stream_reader(data) as reader:
            while limit > 0 and (part := reader.read(min(limit, _BLOCK_BYTES))):
                parts.append(part)
                limit -= len(part)
    except zstandard.ZstdError as error:
        raise DataError(f"zstd data is damaged ({error})") from error
    return b"".join(parts)


def unpack_message(data: bytes | memoryview) -> bytes:
    """Return a message that rosbag2 compressed by itself (compression mode "message").

    Raises:
        DataError: it is damaged or too large.
    """
    unpacked = _unpack_zstd(data, MAX_RECORD_BYTES + 1)
    check_length(len(unpacked), "compressed message")
    return unpacked


def unpack_file(packed: Path, unpacked: IO[bytes]) -> None:
    """Write what a zstd file holds (rosbag2's compression mode "file").

    Raises:
        DataError: it is damaged, or larger than `MAX_FILE_BYTES`.
    """
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    num_bytes = 0
    try:
        with packed.open("rb") as file, decompressor.stream_reader(file) as reader:
            while block := reader.read(_BLOCK_BYTES):
                num_bytes += len(block)
                if num_bytes > MAX_FILE_BYTES:
                    raise DataError(f"{packed}: unpacks to more than {MAX_FILE_BYTES} bytes")
                unpacked.write(block)
    except (OSError, zstandard.ZstdError) as error:
        raise DataError(f"{packed}: cannot be unpacked ({error})") from error
    unpacked.flush()
