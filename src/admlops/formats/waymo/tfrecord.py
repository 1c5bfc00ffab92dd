"""TFRecord files: records one after the other, each behind its length, both with a checksum.

A record is its length (uint64), the length's checksum (uint32), the bytes, and their checksum
(uint32), all little-endian. A checksum is CRC-32C (Castagnoli), rotated right by 15 bits, plus
0xa282ead8. Source: TensorFlow, "TFRecord and tf.train.Example", and record_writer.cc.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

HEADER_BYTES, FOOTER_BYTES = 12, 4
MAX_RECORD_BYTES = 1 << 28
"""A frame of five cameras and five lidars has about 5 MB."""
MAX_RECORDS = 10_000
"""Of one file; a segment has 200."""
_POLYNOMIAL = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


class BrokenRecordError(ValueError):
    """A record is cut or damaged; the message says how."""


@dataclass(frozen=True, slots=True)
class RecordIndex:
    """Where the records of a file are.

    Attributes:
        offsets: (N,) int64, first byte of each record's content.
        sizes: (N,) int64, bytes of content.
        broken: why the rest of the file cannot be read; "" if all of it can.
    """

    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    broken: str = ""


def _make_tables() -> NDArray[np.uint32]:
    """Return (8, 256) tables for eight bytes at once.

    Source: Kounavis and Berry, "Novel table lookup-based algorithms for high-performance CRC
    generation", 2008.
    """
    tables = np.zeros((8, 256), dtype=np.uint32)
    for value in range(256):
        crc = value
        for _ in range(8):
            crc = (crc >> 1) ^ (_POLYNOMIAL if crc & 1 else 0)
        tables[0, value] = crc
    for row in range(1, 8):
        before = tables[row - 1]
        tables[row] = (before >> np.uint32(8)) ^ tables[0][before & np.uint32(255)]
    return tables


_TABLES = _make_tables()


def masked_crc32c(content: bytes) -> int:
    """Return the checksum of some bytes as TFRecord writes it."""
    crc = int(_crc32c(np.frombuffer(content, dtype=np.uint8), _TABLES))
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


@njit(cache=True, nogil=True)
def _crc32c(data: NDArray[np.uint8], tables: NDArray[np.uint32]) -> np.uint32:
    crc = np.uint32(0xFFFFFFFF)
    whole = len(data) - len(data) % 8
    for at in range(0, whole, 8):
        low = crc ^ (
            np.uint32(data[at])
            | np.uint32(data[at + 1]) << np.uint32(8)
            | np.uint32(data[at + 2]) << np.uint32(16)
            | np.uint32(data[at + 3]) << np.uint32(24)
        )
        crc = (
            tables[7, low & 255]
            ^ tables[6, (low >> np.uint32(8)) & 255]
            ^ tables[5, (low >> np.uint32(16)) & 255]
            ^ tables[4, (low >> np.uint32(24)) & 255]
            ^ tables[3, data[at + 4]]
            ^ tables[2, data[at + 5]]
            ^ tables[1, data[at + 6]]
            ^ tables[0, data[at + 7]]
        )
    for at in range(whole, len(data)):
        crc = tables[0, (crc ^ data[at]) & 255] ^ (crc >> np.uint32(8))
    return crc ^ np.uint32(0xFFFFFFFF)


def index_records(path: Path) -> RecordIndex:
    """Find the records of a file by their lengths, without reading them.

    Raises:
        OSError: the file cannot be read.
    """
    offsets: list[int] = []
    sizes: list[int] = []
    broken = ""
    end = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at < end and not broken:
            file.seek(at)
            header = file.read(HEADER_BYTES)
            size, broken = _size_of(header, at, end)
            if len(offsets) == MAX_RECORDS:
                broken = f"more than {MAX_RECORDS} records"
            if not broken:
                offsets.append(at + HEADER_BYTES)
                sizes.append(size)
            at += HEADER_BYTES + size + FOOTER_BYTES
    return RecordIndex(np.array(offsets, np.int64), np.array(sizes, np.int64), broken)


def _size_of(header: bytes, at: int, end: int) -> tuple[int, str]:
    """Return a record's size, and what is wrong with it."""
    if len(header) < HEADER_BYTES:
        return 0, f"cut in the header at byte {at}"
    size, crc = struct.unpack("<QI", header)
    if crc != masked_crc32c(header[:8]):
        return 0, f"the length at byte {at} does not fit its checksum"
    if size > MAX_RECORD_BYTES:
        return 0, f"a record of {size} bytes at byte {at}, more than a frame can have"
    if at + HEADER_BYTES + size + FOOTER_BYTES > end:
        return 0, f"cut in the record at byte {at}"
    return size, ""


def read_record(path: Path, offset: int, size: int) -> bytes:
    """Return the content of a record.

    Raises:
        OSError: the file cannot be read.
        BrokenRecordError: it is cut, or does not fit its checksum.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(size)
        footer = file.read(FOOTER_BYTES)
    if len(content) < size or len(footer) < FOOTER_BYTES:
        raise BrokenRecordError(f"cut in the record at byte {offset}")
    if struct.unpack("<I", footer)[0] != masked_crc32c(content):
        raise BrokenRecordError(f"the record at byte {offset} does not fit its checksum")
    return content
