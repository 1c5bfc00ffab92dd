"""A vendor's delivery: which format it has, and which boxes it gives to a package's frames."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from admlops.annotation.acceptance_defects import Defect
from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.gold import PackageKey, PackedFrame
from admlops.annotation.package import PACKAGE_PREFIX
from admlops.errors import DataError
from admlops.files import digest_file, digest_folder
from admlops.formats.cvat.reader import is_cvat, read_cvat
from admlops.formats.kitti.labels import parse_labels
from admlops.formats.openlabel.reader import is_openlabel, read_openlabel
from admlops.lake.predictions import iterate_predictions
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey

_MAX_NAMED = 5
_MAX_MISSING = 200
_KITTI_FOLDER = "label_2"

Labels = tuple[list[tuple[FrameKey, str, Boxes | None]], list[Defect]]
"""Key, name and boxes of the frames of a delivery, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The labels that a vendor delivered for a package.

    Attributes:
        format: "openlabel", "cvat", "kitti" or "parquet"; "" where it has none of them.
        digest: SHA-256 of what was delivered.
        boxes: by the frame's number in the package, with the definition's categories.
        defects: what is wrong with the delivery as a whole.
    """

    format: str
    digest: str
    boxes: Mapping[str, Boxes]
    defects: tuple[Defect, ...] = ()


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
    except DataError as error:
        what = str(error).replace(str(file), file.name)
        return Delivery(name, digest, {}, (Defect(rule_id="ANNO020", what=what),))
    boxes, others = _match(frames, key)
    if not others or boxes:
        defects += _missing(key, boxes, defects)
    if others:
        what = f"{len(others)} frames are not in {key.package_id}, for example {others[0]}"
        defects.append(Defect(rule_id="ANNO022", what=what))
    names = definition.names_by_source()
    own = {frame_id: _with_names(item, names) for frame_id, item in boxes.items()}
    return Delivery(name, digest, own, tuple(defects))


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
        return "openlabel" if is_openlabel(file) else ""
    return "cvat" if file.suffix == ".xml" and is_cvat(file) else ""


def _read_openlabel(file: Path) -> Labels:
    labels = read_openlabel(file)
    broken = [item for item in labels.findings if item.rule.severity == "error"]
    defects = [
        Defect(rule_id="ANNO023", what=f"{item.rule.rule_id} {item.where}: {item.what}")
        for item in broken
    ]
    return [(frame.key, frame.frame_id, frame.boxes) for frame in labels.frames], defects


def _read_cvat(file: Path) -> Labels:
    labels = read_cvat(file)
    broken = [item for item in labels.findings if item.rule.severity == "error"]
    defects = [
        Defect(rule_id="ANNO023", what=f"{item.rule.rule_id} {item.where}: {item.what}")
        for item in broken
    ]
    return [(frame.key, frame.frame_id, frame.boxes) for frame in labels.frames], defects


def _read_parquet(file: Path) -> Labels:
    return [(key, "", boxes) for key, boxes in iterate_predictions(file)], []


def _read_kitti(folder: Path) -> Labels:
    frames: list[tuple[FrameKey, str, Boxes | None]] = []
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
        frames.append((FrameKey("", "", 0), file.stem, boxes))
    return frames, defects


_READERS: Mapping[str, Callable[[Path], Labels]] = {
    "openlabel": _read_openlabel,
    "cvat": _read_cvat,
    "parquet": _read_parquet,
    "kitti": _read_kitti,
}


def _match(
    frames: Iterable[tuple[FrameKey, str, Boxes | None]], key: PackageKey
) -> tuple[dict[str, Boxes], list[str]]:
    """Return boxes by frame number, and the names of frames that are not the package's."""
    by_alias = {frame.alias_key: frame for frame in key.frames}
    by_number = {int(frame.frame_id): frame for frame in key.frames}
    boxes: dict[str, Boxes] = {}
    others: list[str] = []
    for alias, name, found in frames:
        packed: PackedFrame | None = by_alias.get(alias)
        is_foreign = alias.log.startswith(PACKAGE_PREFIX) and alias.log != key.package_id
        if packed is None and not is_foreign and name.isascii() and name.isdigit():
            packed = by_number.get(int(name[:12]))
        if packed is None:
            others.append(f"{alias.log} {name}".strip() if is_foreign else name or str(alias))
        elif found is not None:
            boxes[packed.frame_id] = found
    return boxes, others


def _missing(key: PackageKey, boxes: Mapping[str, Boxes], broken: list[Defect]) -> list[Defect]:
    if broken:
        return []  # what cannot be read is said already, and its frames are not known
    missing = [frame.frame_id for frame in key.frames if frame.frame_id not in boxes]
    if not missing:
        return []
    more = ", ..." if len(missing) > _MAX_MISSING else ""
    named = ", ".join(missing[:_MAX_MISSING]) + more
    what = f"{len(missing)} of {len(key.frames)} frames are missing: {named}"
    return [Defect(rule_id="ANNO021", what=what)]


def _with_names(boxes: Boxes, names: Mapping[str, str]) -> Boxes:
    ours = [names.get(str(name), str(name)) for name in boxes.category]
    return boxes.replace(category=np.array(ours, dtype=object).reshape(-1))
