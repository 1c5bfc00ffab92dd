"""FastestDet, a detector of the 80 COCO categories in 1 MB of ONNX.

Source: https://github.com/dog-qiuqiu/FastestDet (BSD-3), whose output has 85 channels on a grid of
22 x 22 cells: objectness, tanh offsets of the centre from the cell in cells, logits of width and
height as shares of the image, and 80 class probabilities. It sees 352 x 352 pixels, so a wide
image is also cut into square tiles that overlap by half: what is small in the whole is seen there.
"""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from admlops.collection.regions import Regions
from admlops.errors import ConfigError, DataError
from admlops.files import digest_file

CANDIDATE_SCORE = 0.05
"""Regions with a lower score are left out from the start."""

_NAMES = (
    "person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|"
    "stop sign|parking meter|bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|"
    "backpack|umbrella|handbag|tie|suitcase|frisbee|skis|snowboard|sports ball|kite|baseball bat|"
    "baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|knife|spoon|"
    "bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|"
    "potted plant|bed|dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|"
    "oven|toaster|sink|refrigerator|book|clock|vase|scissors|teddy bear|hair drier|toothbrush"
)
COCO_CATEGORIES = tuple(_NAMES.split("|"))
_NUM_CHANNELS = 5 + len(COCO_CATEGORIES)


class FastestDet:
    """The detector, run by ONNX Runtime on one thread.

    Attributes:
        file: the ONNX file.
        digest: its SHA-256.
    """

    def __init__(self, file: Path) -> None:
        """Load the model and look at a blank image, so that what is wrong shows at once.

        Raises:
            ConfigError: the file is absent, no ONNX model, or not of FastestDet's form; or
                onnxruntime is not installed.
        """
        self.file = file
        if not file.is_file():
            raise ConfigError(f"{file}: no such file; the region detector is loaded from there")
        self.digest = digest_file(file)
        self._session = self._load()
        try:
            self.detect(np.zeros((8, 8, 3), np.uint8))
        except DataError as error:
            raise ConfigError(f"{file}: not a FastestDet model: {error}") from error

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of COCO."""
        return COCO_CATEGORIES

    def __getstate__(self) -> dict[str, Any]:
        """Return all but the session, which each process loads by itself."""
        return self.__dict__ | {"_session": None}

    def detect(self, pixels: NDArray[np.uint8]) -> Regions:
        """Return what is in an image of (H, W, 3) red green blue, seen whole and in tiles.

        One object is usually seen several times; nothing is suppressed.

        Raises:
            DataError: the model failed.
        """
        if self._session is None:
            self._session = self._load()
        image = Image.fromarray(pixels)
        found = [self._detect_in(image, tile) for tile in tiles(image.width, image.height)]
        boxes, categories, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return Regions(boxes, np.array(COCO_CATEGORIES, dtype=object)[categories], scores)

    def _load(self) -> Any:  # noqa: ANN401 - onnxruntime has no types
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                "onnxruntime is not installed: pip install admlops[export]"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            providers = ["CPUExecutionProvider"]
            session = onnxruntime.InferenceSession(str(self.file), options, providers=providers)
        except _errors() as error:
            raise ConfigError(f"{self.file}: cannot be loaded: {error}") from error
        shape = session.get_inputs()[0].shape
        if len(shape) != 4 or not all(isinstance(size, int) for size in shape) or shape[1] != 3:
            raise ConfigError(f"{self.file}: takes {shape}; a FastestDet takes one RGB image")
        return session

    def _detect_in(
        self, image: Image.Image, tile: tuple[int, int, int, int]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Return (N, 4) boxes in pixels of the image, (N,) numbers of categories, (N,) scores."""
        taken = self._session.get_inputs()[0]
        size_px = (taken.shape[3], taken.shape[2])
        small = np.asarray(image.resize(size_px, Image.Resampling.BILINEAR, box=tile))
        blue_first = np.ascontiguousarray(small[:, :, ::-1].transpose(2, 0, 1)[None])
        try:
            (out,) = self._session.run(None, {taken.name: blue_first.astype(np.float32) / 255.0})
        except _errors() as error:
            raise DataError(f"the region detector failed: {error}") from error
        if out.ndim != 4 or out.shape[1] != _NUM_CHANNELS:
            raise DataError(f"an output of shape {out.shape}, not 1 x {_NUM_CHANNELS} x H x W")
        if not np.isfinite(out).all():
            raise DataError("the region detector gave numbers that are not finite")
        boxes, categories, scores = decode_grid(out[0].astype(np.float64))
        left, top, right, bottom = tile
        scale = np.array([right - left, bottom - top] * 2, dtype=np.float64)
        return boxes * scale + np.array([left, top] * 2), categories, scores


def decode_grid(
    grid: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return (N, 4) boxes as shares of the image, (N,) numbers of categories and (N,) scores.

    Args:
        grid: (85, H, W) output of the model.
    """
    _, num_rows, num_columns = grid.shape
    score = grid[0] * grid[5:].max(axis=0)
    rows, columns = np.nonzero(score >= CANDIDATE_SCORE)
    cells = grid[:, rows, columns]
    x = (columns + np.tanh(cells[1])) / num_columns
    y = (rows + np.tanh(cells[2])) / num_rows
    half_width, half_height = 0.5 / (1.0 + np.exp(-np.clip(cells[3:5], -60.0, 60.0)))
    boxes = np.stack([x - half_width, y - half_height, x + half_width, y + half_height], axis=1)
    return boxes, cells[5:].argmax(axis=0), score[rows, columns]


def tiles(width_px: int, height_px: int) -> list[tuple[int, int, int, int]]:
    """Return left top right bottom of the whole image and of squares that overlap by half."""
    side = min(width_px, height_px)
    places = []
    for length in (width_px, height_px):
        count = 1 + -(-2 * (length - side) // side)
        places.append(np.linspace(0, length - side, count).round().astype(int).tolist())
    squares = [(x, y, x + side, y + side) for y, x in itertools.product(places[1], places[0])]
    whole = (0, 0, width_px, height_px)
    return [whole, *(square for square in squares if square != whole)]


def _errors() -> tuple[type[Exception], ...]:
    """Return the errors that ONNX Runtime raises; they have no class in common."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = [
        *("Fail", "InvalidArgument", "InvalidProtobuf", "InvalidGraph", "NoSuchFile"),
        *("NotImplemented", "RuntimeException", "EPFail", "EngineError", "ModelLoaded"),
    ]
    kinds = (getattr(state, name, None) for name in names)
    return ValueError, *(kind for kind in kinds if isinstance(kind, type))
