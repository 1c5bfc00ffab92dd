"""A KITTI object folder as a source of frames."""

from pathlib import Path

from admlops.formats.kitti.folder import KittiFolder, list_frames
from admlops.formats.kitti.reader import CATEGORIES, read_frame
from admlops.formats.source import CategoryTable, ReadOptions, ReadResult


def looks_like(root: Path) -> bool:
    """Return whether a folder is laid out as this format (and not as KITTI tracking)."""
    folders = [root / name for name in ("training", "testing") if (root / name).is_dir()]
    return bool(folders) and not any((folder / "image_02").is_dir() for folder in folders)


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
        self._categories = CategoryTable({**CATEGORIES, **options.categories})

    def __len__(self) -> int:
        """Return how many frames can be read."""
        return len(self._frames)

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        return read_frame(self._frames[index], self._categories)
