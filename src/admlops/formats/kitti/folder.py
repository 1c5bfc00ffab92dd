"""Which frames a KITTI object folder holds, and in which split each is."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from admlops.checks.rules import find
from admlops.errors import DataError
from admlops.formats.kitti.sidecar import (
    FILE_NAME,
    FrameNote,
    NoteEntry,
    index_notes,
    read_note,
)
from admlops.structures.finding import Finding
from admlops.structures.frame import FrameKey

_SETS = ("train", "val")
_NS_PER_FRAME = 100_000_000


@dataclass(frozen=True, slots=True)
class FrameFiles:
    """Where the files of one frame are.

    Attributes:
        folder: the ``training`` or ``testing`` folder.
        frame_id: the files' name without suffix.
        split: "train", "val" or "pool".
        entry: where the sidecar is about the frame, if there is a sidecar.
        has_images: whether the folder has images at all.
    """

    folder: Path
    frame_id: str
    split: str
    entry: NoteEntry | None
    has_images: bool

    @property
    def has_labels(self) -> bool:
        """Whether the frame ought to have a label file."""
        return self.folder.name == "training"

    @property
    def name(self) -> str:
        """Folder and frame, as findings name them."""
        return f"{self.folder.name}/{self.frame_id}"

    @property
    def key(self) -> FrameKey:
        """The frame's key: the sidecar's, or one made of its place and number."""
        if self.entry is not None:
            return self.entry.key
        is_number = self.frame_id.isascii() and self.frame_id.isdigit() and len(self.frame_id) < 10
        digest = hashlib.sha256(self.frame_id.encode()).digest()
        number = int(self.frame_id) if is_number else 10**9 + int.from_bytes(digest[:4], "big")
        return FrameKey("kitti", self.folder.name, number * _NS_PER_FRAME)

    def note(self) -> FrameNote | None:
        """Return what the sidecar says about the frame, if there is a sidecar."""
        if self.entry is None:
            return None
        return read_note(self.folder.parent / FILE_NAME, self.entry)

    def path(self, kind: str, suffix: str) -> Path:
        """Return the path of one of the frame's files."""
        return self.folder / kind / f"{self.frame_id}{suffix}"


@dataclass(frozen=True, slots=True)
class KittiFolder:
    """The frames of a folder, in reading order, and what is wrong with the lists themselves.

    Attributes:
        root: holds ``training``, ``testing`` and ``ImageSets``, each optional.
        frames: every frame that can be read once.
        findings: repeated names, unlisted frames, broken lines.
        num_refused: frames that are named but not in `frames`.
    """

    root: Path
    frames: tuple[FrameFiles, ...]
    findings: tuple[Finding, ...]
    num_refused: int


def list_frames(root: Path) -> KittiFolder:
    """Find the frames below a folder.

    ``ImageSets/train.txt`` and ``val.txt`` give the split of training frames; without either all
    are "train". Frames in ``testing`` are the unlabelled "pool".

    Raises:
        DataError: the folder holds neither ``training`` nor ``testing``.
    """
    folders = [folder for name in ("training", "testing") if (folder := root / name).is_dir()]
    if not folders:
        raise DataError(f"{root}: not a KITTI object folder; it has no 'training' or 'testing'")
    entries, findings = _entries(root)
    listed = _listed(root, findings)
    frames: list[FrameFiles] = []
    seen: dict[FrameKey, str] = {}
    with_images = {folder for folder in folders if (folder / "image_2").is_dir()}
    num_refused = 0
    for folder, frame_id, split in listed:
        entry = None if entries is None else entries.get(f"{folder.name}/{frame_id}")
        files = FrameFiles(folder, frame_id, split, entry, folder in with_images)
        if entries is not None and entry is None:
            findings.append(find("KITTI013", files.name, f"no line of {FILE_NAME} is about it"))
            num_refused += 1
        elif files.key in seen:
            findings.append(find("KITTI008", files.name, f"same key as {seen[files.key]}"))
            num_refused += 1
        else:
            seen[files.key] = files.name
            frames.append(files)
    return KittiFolder(root, tuple(frames), tuple(findings), num_refused)


def _entries(root: Path) -> tuple[dict[str, NoteEntry] | None, list[Finding]]:
    path = root / FILE_NAME
    if not path.is_file():
        return None, []
    entries, problems = index_notes(path)
    return entries, [find("KITTI013", path.name, problem) for problem in problems]


def _listed(root: Path, findings: list[Finding]) -> list[tuple[Path, str, str]]:
    """Return folder, frame and split of every frame that a list or a folder names."""
    listed: list[tuple[Path, str, str]] = []
    training, testing = root / "training", root / "testing"
    sets = {name: root / "ImageSets" / f"{name}.txt" for name in _SETS}
    present = {name: path for name, path in sets.items() if path.is_file()}
    for name, path in present.items():
        listed += [
            (training, frame_id, name) for frame_id in path.read_text(errors="replace").split()
        ]
    on_disk = _frame_ids(training)
    if present:
        unlisted = set(on_disk) - {frame_id for _, frame_id, _ in listed}
        if unlisted:
            what = f"{len(unlisted)} frames are in no list, for example {min(unlisted)}"
            findings.append(find("KITTI014", "ImageSets", what))
    else:
        listed += [(training, frame_id, "train") for frame_id in on_disk]
    return listed + [(testing, frame_id, "pool") for frame_id in _frame_ids(testing)]


def _frame_ids(folder: Path) -> list[str]:
    kinds = ("velodyne", "calib", "label_2")
    return sorted({path.stem for kind in kinds for path in (folder / kind).glob("*.*")})
