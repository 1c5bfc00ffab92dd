"""A KITTI object folder as a source of frames."""

from pathlib import Path

from admlops.formats.kitti.folder import KittiFolder, list_frames
from admlops.formats.kitti.reader import CATEGORIES, read_frame
from admlops.formats.source import ReadOptions, ReadResult
from admlops.structures.finding import Finding


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
        self._folder = folder
        self._categories = {**CATEGORIES, **options.categories}

    @property
    def root(self) -> Path:
        """Where the folder is."""
        return self._folder.root

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong with the lists of frames."""
        return self._folder.findings

    @property
    def num_refused(self) -> int:
        """Frames that are named but cannot be read at all."""
        return self._folder.num_refused

    def __len__(self) -> int:
        """Return how many frames can be read."""
        return len(self._folder.frames)

    def read(self, index: int) -> ReadResult:
        """Read one frame; a frame with an error is left out, with the reason."""
        return read_frame(self._folder.frames[index], self._categories)
