"""A vendor's delivery: which format it has, and which boxes it gives to a package's frames."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TypeVar

import numpy as np

from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.annotation.image_labels import (
    IMAGE_FORMATS,
    name_image_format,
    read_image_labels,
    without_notes,
)
from admlops.annotation.labelling_rules import Shape
from admlops.annotation.package import PACKAGE_PREFIX
from admlops.errors import DataError
from admlops.files import digest_file, digest_folder
from admlops.formats.cvat.reader import is_cvat, read_cvat
from admlops.formats.kitti.labels import parse_labels
from admlops.formats.label_file import LabelFile
from admlops.formats.openlabel.reader import is_openlabel, read_openlabel
from admlops.lake.predictions import iterate_predictions
from admlops.structures.box_table import BoxTable
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame, FrameKey

_MAX_NAMED = 5
_MAX_MISSING = 200
_KITTI_FOLDER = "label_2"
_SHAPE_WORDS: Mapping[Shape, str] = {
    "space_box": "boxes in space",
    "image_box": "boxes in images",
}

TableT = TypeVar("TableT", bound=BoxTable)

Labels = tuple[Iterable[Frame], list[Defect]]
"""The frames of a delivery, with labels and without data, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The labels that a vendor delivered for a package.

    Attributes:
        format: one of `DeliveryFormat`, or "parquet"; "" where it is none of them.
        digest: SHA-256 of what was delivered.
        boxes: in space, by the frame's number in the package, with the definition's categories.
        defects: what is wrong with the delivery as a whole.
        boxes_2d: the same in images.
    """

    format: str
    digest: str
    boxes: Mapping[str, Boxes]
    defects: tuple[Defect, ...] = ()
    boxes_2d: Mapping[str, Boxes2d] = field(default_factory=dict)


def read_delivery(path: Path, key: PackageKey, definition: DatasetDefinition) -> Delivery:
    """Read the labels of a package from a file, or from a folder with one file of labels.

    Frames are found by the names that the package gave them, or by their numbers. What cannot be
    read is a defect, so that the vendor learns of it.

    Raises:
        DataError: there is nothing at the path.
    """
    if not path.exists():
        raise DataError(f"{path}: no delivery here yet")
    digest = digest_folder(path) if path.is_dir() else digest_file(path)
    found = _find(path)
    if isinstance(found, str):
        return Delivery("", digest, {}, (Defect(rule_id="ANNO020", what=found),))
    name, file = found
    if name not in (*definition.acceptance.formats, "parquet"):
        what = f"{file.name} is {name}; {', '.join(definition.acceptance.formats)} are accepted"
        return Delivery(name, digest, {}, (Defect(rule_id="ANNO020", what=what),))
    try:
        frames, defects = _READERS[name](file)
        if name in IMAGE_FORMATS:
            frames = [without_notes(frame, definition) for frame in frames]
        found_frames, others = _match(frames, key)
    except DataError as error:
        what = str(error).replace(str(file), file.name)
        return Delivery(name, digest, {}, (Defect(rule_id="ANNO020", what=what),))
    labels = _Tables(definition, found_frames)
    if not others or found_frames:
        defects += _missing(key, labels, defects)
    if others:
        what = f"{len(others)} frames are not in {key.package_id}, for example {others[0]}"
        defects.append(Defect(rule_id="ANNO022", what=what))
    return Delivery(name, digest, labels.boxes, tuple(defects), labels.boxes_2d)


def _find(path: Path) -> tuple[str, Path] | str:
    """Return format and place of the labels, or what is found instead."""
    if path.is_dir():
        for folder in (path, path / "training"):
            if (folder / _KITTI_FOLDER).is_dir():
                return "kitti", folder / _KITTI_FOLDER
        files = sorted(item for item in path.iterdir() if item.is_file() and item.name[0] != ".")
    else:
        files = [path]
    known = [(name, file) for file in files if (name := _format_of(file))]
    if len(known) == 1:
        return known[0]
    listed = ", ".join(file.name for file in files[:_MAX_NAMED]) or "nothing"
    return f"{len(known)} files of labels; the delivery holds {listed}"


def _format_of(file: Path) -> str:
    if file.suffix == ".parquet":
        return "parquet"
    if file.suffix == ".json":
        return "openlabel" if is_openlabel(file) else name_image_format(file)
    return "cvat" if file.suffix == ".xml" and is_cvat(file) else ""


def _read_openlabel(file: Path) -> Labels:
    return _whole(read_openlabel(file))


def _read_cvat(file: Path) -> Labels:
    return _whole(read_cvat(file))


def _whole(labels: LabelFile) -> Labels:
    broken = [item for item in labels.findings if item.rule.severity == "error"]
    defects = [
        Defect(rule_id="ANNO023", what=f"{item.rule.rule_id} {item.where}: {item.what}")
        for item in broken
    ]
    return labels.frames, defects


def _read_parquet(file: Path) -> Labels:
    return [_frame(key, "", boxes) for key, boxes in iterate_predictions(file)], []


def _read_kitti(folder: Path) -> Labels:
    frames: list[Frame] = []
    defects: list[Defect] = []
    for file in sorted(folder.glob("*.txt")):
        try:
            table = parse_labels([file.read_bytes()], [file.stem])
        except DataError as error:
            defects.append(Defect(rule_id="ANNO023", what=f"{file.name}: {error}"))
            continue
        names = np.array([table.type_names[index] for index in table.type_index], dtype=object)
        is_box = names != "dontcare"
        rows_7 = table.as_7()[is_box]
        boxes = Boxes.make(rows_7[:, :3], rows_7[:, 3:6], rows_7[:, 6], names[is_box])
        frames.append(_frame(FrameKey("", "", 0), file.stem, boxes))
    return frames, defects


def _frame(key: FrameKey, name: str, boxes: Boxes) -> Frame:
    return Frame(key, name, np.eye(4), boxes=boxes)


_READERS: Mapping[str, Callable[[Path], Labels]] = {
    "openlabel": _read_openlabel,
    "cvat": _read_cvat,
    "parquet": _read_parquet,
    "kitti": _read_kitti,
    "coco": partial(read_image_labels, format_name="coco"),
    "bdd100k": partial(read_image_labels, format_name="bdd100k"),
}


def _match(frames: Iterable[Frame], key: PackageKey) -> tuple[list[tuple[str, Frame]], list[str]]:
    """Return frames with their numbers in the package, and the names of those that are not in it.

    A frame is known by the key that the package gave it, by its number, or by the file of an image.
    """
    by_alias = {frame.alias_key: frame for frame in key.frames}
    by_number = {int(frame.frame_id): frame for frame in key.frames}
    found: list[tuple[str, Frame]] = []
    others: list[str] = []
    for frame in frames:
        alias, name = frame.key, PurePosixPath(frame.frame_id)
        packed: PackedFrame | None = by_alias.get(alias)
        is_foreign = alias.log.startswith(PACKAGE_PREFIX) and alias.log != key.package_id
        if packed is None and not is_foreign and name.stem.isascii() and name.stem.isdigit():
            packed = by_number.get(int(name.stem[:12]))
        if packed is None:
            others.append(f"{alias.log} {name}".strip() if is_foreign else str(name or alias))
        else:
            found.append((packed.frame_id, _of_camera(frame, name.parent.name)))
    return found, others


def _of_camera(frame: Frame, folder: str) -> Frame:
    """Return a frame whose boxes in images name the folder of the image, where they name none."""
    boxes = frame.boxes_2d
    if boxes is None or not folder:
        return frame
    names = [str(name) or folder for name in boxes.camera]
    return replace(frame, boxes_2d=boxes.replace(camera=np.array(names, object).reshape(-1)))


class _Tables:
    """The labels of a delivery by frame, in the definition's categories.

    Other tools write nothing where there is no object: a frame that has labels of one shape has no
    objects of the other, if the delivery has that shape at all.

    Attributes:
        boxes: in space.
        boxes_2d: in images; those of several images of a frame are joined.
        labelled: frames that have labels.
        absent: shapes that the definition asks for and no frame has.
    """

    def __init__(self, definition: DatasetDefinition, frames: list[tuple[str, Frame]]) -> None:
        names = definition.names_by_source()
        self.boxes: dict[str, Boxes] = {}
        self.boxes_2d: dict[str, Boxes2d] = {}
        for frame_id, frame in frames:
            if frame.boxes is not None:
                self.boxes[frame_id] = _with_names(frame.boxes, names)
            if frame.boxes_2d is not None:
                before = self.boxes_2d.get(frame_id, Boxes2d.empty())
                joined = Boxes2d.concatenate([before, _with_names(frame.boxes_2d, names)])
                self.boxes_2d[frame_id] = joined
        held: dict[Shape, bool] = {
            "space_box": bool(self.boxes),
            "image_box": bool(self.boxes_2d),
        }
        self.absent = [shape for shape in definition.shapes if not held[shape]]
        self.labelled = {*self.boxes, *self.boxes_2d}
        for frame_id in self.labelled:
            if held["space_box"]:
                self.boxes.setdefault(frame_id, Boxes.empty())
            if held["image_box"]:
                self.boxes_2d.setdefault(frame_id, Boxes2d.empty())


def _missing(key: PackageKey, labels: "_Tables", broken: list[Defect]) -> list[Defect]:
    if broken:
        return []  # what cannot be read is said already, and its frames are not known
    defects = [
        Defect(rule_id="ANNO021", what=f"no frame has {_SHAPE_WORDS[shape]}; they are asked for")
        for shape in labels.absent
        if labels.labelled
    ]
    missing = [frame.frame_id for frame in key.frames if frame.frame_id not in labels.labelled]
    if missing:
        more = ", ..." if len(missing) > _MAX_MISSING else ""
        named = ", ".join(missing[:_MAX_MISSING]) + more
        what = f"{len(missing)} of {len(key.frames)} frames are missing: {named}"
        defects.append(Defect(rule_id="ANNO021", what=what))
    return defects


def _with_names(boxes: TableT, names: Mapping[str, str]) -> TableT:
    ours = [names.get(str(name), str(name)) for name in boxes.category]
    return boxes.replace(category=np.array(ours, dtype=object).reshape(-1))
