"""Blurs people and plates in all images of a frame before anything of it is written.

It fails closed: a frame with an image that cannot be decoded, judged or encoded is refused (rule
PRIV001), and a detector that cannot be loaded is an error before the first frame is read.
"""

import dataclasses
import hashlib
import io
import json
from collections import OrderedDict
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field, model_validator

from admlops.checks.rules import find
from admlops.collection.regions import RegionDetector, Regions, open_detector
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.formats.source import FrameSource, ReadResult
from admlops.structures.finding import Finding
from admlops.structures.frame import CameraImage, Frame

_MAX_KNOWN = 2**16
"""Images that are remembered, at some 200 bytes each; of longer drives some are judged twice."""
_WIDE_MODES = ("I", "F")
"""Conversion to 8 bits would clip their values, and nothing would be seen."""
_ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class BlurRule(Config):
    """Which part of the regions of a category is blurred."""

    category: str
    """A category of the detector."""
    top_share: float = Field(default=0.0, ge=0, le=1)
    """Where the blurred part begins, as a share of the region's height from its top."""
    bottom_share: float = Field(default=1.0, ge=0, le=1)
    """Where it ends."""

    @model_validator(mode="after")
    def _has_a_part(self) -> Self:
        if self.top_share >= self.bottom_share:
            raise ValueError("top_share must be less than bottom_share")
        return self


_PLATES = ("car", "motorcycle", "bus", "truck")


class PrivacyConfig(Config):
    """What is blurred, and by which detector."""

    kind: str = "fastestdet"
    """Kind of the detector; others come from the entry point group admlops.region_detectors."""
    file: Path
    """The detector's file, for example an ONNX model."""
    file_digest: str = Field(default="", pattern="^([0-9a-f]{64})?$")
    """SHA-256 that the file must have; any if empty."""
    rules: tuple[BlurRule, ...] = Field(
        default=(
            BlurRule(category="person"),
            *(BlurRule(category=name, top_share=0.4) for name in _PLATES),
        ),
        min_length=1,
    )
    """What is blurred: by default whole people, and the lower part of vehicles."""
    min_score: float = Field(default=0.3, gt=0, le=1)
    """Regions with a lower score are passed over; a low one blurs rather too much."""
    margin_share: float = Field(default=0.1, ge=0, le=2)
    """Regions are widened on every side by this share of their size."""
    num_cells: int = Field(default=6, ge=1, le=32)
    """Cells of the longer side of a blurred region: all that is left of it."""
    jpeg_quality: int = Field(default=92, ge=50, le=100)
    """Of images that were JPEG and are written anew."""


class FrameBlur:
    """Blurs the images of frames."""

    def __init__(self, config: PrivacyConfig, *, remembers: bool = False) -> None:
        """Load the detector.

        Args:
            config: what is blurred.
            remembers: whether images come more than once, in frames and in clips; the detector
                is then asked once.

        Raises:
            ConfigError: it cannot be loaded, is not the one that is meant, or does not know a
                category that is to be blurred.
        """
        self.config = config
        self._detector: RegionDetector = open_detector(config.kind, config.file)
        self._known: OrderedDict[bytes, NDArray[np.int64]] | None = None
        if remembers:
            self._known = OrderedDict()
        if config.file_digest not in ("", self._detector.digest):
            raise ConfigError(
                f"file_digest: {config.file} has the digest {self._detector.digest}, "
                f"not {config.file_digest}"
            )
        unknown = {rule.category for rule in config.rules} - set(self._detector.categories)
        if unknown:
            raise ConfigError(
                f"rules: the detector {config.kind!r} does not know {', '.join(sorted(unknown))}; "
                f"it knows {', '.join(self._detector.categories)}"
            )

    @property
    def provenance(self) -> str:
        """The settings and the digest of the detector, as JSON."""
        settings = self.config.to_json_dict() | {"file_digest": self._detector.digest}
        del settings["file"]
        return json.dumps(settings, sort_keys=True)

    def apply(self, frame: Frame) -> Frame | Finding:
        """Return the frame with blurred images, or why it is refused (PRIV001)."""
        images: list[CameraImage] = []
        for image in frame.cameras:
            try:
                encoded = self.blur_file(image.encoded, (image.width_px, image.height_px))
            except DataError as error:
                return find("PRIV001", f"{frame.key} {image.sensor.name}", str(error))
            images.append(dataclasses.replace(image, encoded=encoded))
        if frame.camera is None:
            return dataclasses.replace(frame, other_cameras=tuple(images))
        return dataclasses.replace(frame, camera=images[0], other_cameras=tuple(images[1:]))

    def blur_file(self, encoded: bytes, size_px: tuple[int, int] | None = None) -> bytes:
        """Return a PNG or JPEG file with all regions blurred; as it was where there are none.

        Args:
            encoded: the file.
            size_px: width and height that it must have; any if None.

        Raises:
            DataError: it cannot be decoded, judged or encoded.
        """
        kind, pixels = _decode(encoded)
        found_px = (pixels.shape[1], pixels.shape[0])
        if size_px not in (None, found_px):
            raise DataError(f"an image of {found_px[0]} x {found_px[1]} pixels")
        blurred = self.blur(pixels)
        return encoded if blurred is None else _encode(blurred, kind, self.config.jpeg_quality)

    def blur(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
        """Return (H, W, 3) pixels with all regions blurred; None where there are none.

        Raises:
            DataError: the detector cannot tell.
        """
        parts = self._find_parts(pixels)
        if not len(parts):
            return None
        blurred = pixels.copy()
        for left, top, right, bottom in parts:
            blurred[top:bottom, left:right] = coarsen(
                blurred[top:bottom, left:right], self.config.num_cells
            )
        return blurred

    def _find_parts(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return (M, 4) left top right bottom of what is blurred."""
        if self._known is None:
            return self._look(pixels)
        content = hashlib.sha256(str(pixels.shape).encode())
        content.update(np.ascontiguousarray(pixels).data)
        key = content.digest()
        if key not in self._known:
            self._known[key] = self._look(pixels)
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return self._known[key]

    def _look(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        regions = self._detector.detect(pixels.copy())
        return parts_to_blur(regions, self.config, (pixels.shape[1], pixels.shape[0]))


class PrivateSource:
    """A source whose images are blurred as they are read.

    Attributes:
        source: the frames as they were recorded.
    """

    def __init__(self, source: FrameSource, blur: FrameBlur) -> None:
        """Take a source and what blurs its frames."""
        self.source = source
        self.root = source.root
        self.findings = source.findings
        self.num_refused = source.num_refused
        self._blur = blur

    def __len__(self) -> int:
        """Return how many frames can be read."""
        return len(self.source)

    def read(self, index: int) -> ReadResult:
        """Read one frame and blur it; one that cannot be blurred is left out (PRIV001)."""
        result = self.source.read(index)
        if result.frame is None:
            return result
        frame = self._blur.apply(result.frame)
        if isinstance(frame, Finding):
            return ReadResult(None, (*result.findings, frame), result.mapped)
        return ReadResult(frame, result.findings, result.mapped)


def parts_to_blur(
    regions: Regions, config: PrivacyConfig, size_px: tuple[int, int]
) -> NDArray[np.int64]:
    """Return (M, 4) left top right bottom of what is blurred, within the image.

    Args:
        regions: what was detected.
        config: what of it is blurred.
        size_px: width and height.

    Raises:
        DataError: a region is not finite, or turned inside out.
    """
    boxes = np.asarray(regions.box_px, dtype=np.float64).reshape(-1, 4)
    if not (np.isfinite(boxes).all() and np.isfinite(regions.score).all()):
        raise DataError("the region detector gave a region that is not finite")
    if (boxes[:, 2:] < boxes[:, :2]).any():
        raise DataError("the region detector gave a region that ends before it begins")
    parts = [np.empty((0, 4))]
    for rule in config.rules:
        chosen = boxes[(regions.category == rule.category) & (regions.score >= config.min_score)]
        left, top, right, bottom = chosen.T
        height = bottom - top
        part_top, part_bottom = top + rule.top_share * height, top + rule.bottom_share * height
        aside, above = config.margin_share * (right - left), config.margin_share * height
        corners = (left - aside, part_top - above, right + aside, part_bottom + above)
        parts.append(np.stack(corners, axis=1))
    wide = np.concatenate(parts)
    whole = np.concatenate([np.floor(wide[:, :2]), np.ceil(wide[:, 2:])], axis=1)
    limits = np.array([*size_px, *size_px])
    inside = np.clip(whole, 0, limits).astype(np.int64)
    return inside[(inside[:, 2:] > inside[:, :2]).all(axis=1)]


def coarsen(pixels: NDArray[np.uint8], num_cells: int) -> NDArray[np.uint8]:
    """Return an image of the same size in which only means over cells are left, smoothly joined.

    Args:
        pixels: (H, W) or (H, W, 3).
        num_cells: cells of the longer side.
    """
    height, width = pixels.shape[:2]
    share = num_cells / max(height, width)
    small = (max(1, round(width * share)), max(1, round(height * share)))
    image = Image.fromarray(np.ascontiguousarray(pixels)).resize(small, Image.Resampling.BOX)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _decode(encoded: bytes) -> tuple[str, NDArray[np.uint8]]:
    """Return "PNG" or "JPEG" and (H, W, 3) red green blue; of 16 bits the upper 8."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG", "JPEG")) as image:
            if getattr(image, "n_frames", 1) != 1:
                raise DataError("the file holds several images, and one would be judged")
            if image.mode.startswith("I;16"):
                upper = (np.asarray(image) >> 8).astype(np.uint8)
                return str(image.format), np.stack([upper] * 3, axis=-1)
            if image.mode in _WIDE_MODES:
                raise DataError(f"images of mode {image.mode} are not judged")
            return str(image.format), np.array(image.convert("RGB"))
    except _ERRORS as error:
        raise DataError(f"the image cannot be decoded ({error})") from error


def _encode(pixels: NDArray[np.uint8], kind: str, quality: int) -> bytes:
    buffer = io.BytesIO()
    options = {"quality": quality} if kind == "JPEG" else {"compress_level": 1}
    try:
        Image.fromarray(pixels).save(buffer, format=kind, **options)
    except _ERRORS as error:
        raise DataError(f"the blurred image cannot be encoded ({error})") from error
    return buffer.getvalue()
