"""A KITTI object folder as a source of frames."""

from dataclasses import replace
from pathlib import Path

from admlops.formats.kitti.folder import KittiFolder, list_frames
from admlops.formats.kitti.reader import category_table, read_frame
from admlops.formats.source import ReadOptions, ReadResult

_FOLDERS = {"velodyne", "calib", "label_2", "image_2"}
_FOLDERS_OF_TRACKING = {"label_02", "image_02", "oxts"}


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format (and not as KITTI tracking)."""
    inside = {
        name
        for split in ("training", "testing")
        for name in _FOLDERS | _FOLDERS_OF_TRACKING
        if (root / split / name).is_dir()
    }
    return bool(inside & _FOLDERS) and not inside & _FOLDERS_OF_TRACKING


def open_folder(root: Path, options: ReadOptions) -> "KittiSource":
    """List the frames of a folder.

    Raises:
        DataError: the folder holds neither ``training`` nor ``testing``.
    """
    return KittiSource(list_frames(root), options)


class KittiSource:
    """Frames of a KITTI object folder by number."""

    def __init__(self, folder: KittiFolder, options: ReadOptions) -> None:
        self.root = folder.root
        self.findings = folder.findings
        self.num_refused = folder.num_refused
        self._frames = folder.frames
        self._has_images = options.cameras != "none"
        self._categories = category_table(options)

    def __len__(self) -> int:
        """Return how many frames can be read."""
        return len(self._frames)

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        files = self._frames[index]
        has_images = files.has_images and self._has_images
        return read_frame(replace(files, has_images=has_images), self._categories)
