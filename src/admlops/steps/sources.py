"""Which formats can be read, how each is told, and how a folder of one is opened."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from admlops.errors import ConfigError, DataError
from admlops.formats.source import FrameSource, ReadOptions

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "argoverse2": "admlops.formats.argoverse2.source",
        "kitti_object": "admlops.formats.kitti.source",
        "kitti_raw": "admlops.formats.kitti_raw.source",
        "kitti_tracking": "admlops.formats.kitti_tracking.source",
        "once": "admlops.formats.once.source",
        "recording": "admlops.recordings.source",
        "waymo": "admlops.formats.waymo.source",
        "bdd100k": "admlops.formats.bdd100k.source",
        "coco": "admlops.formats.coco.source",
        "cvat": "admlops.formats.cvat.source",
        "nuscenes": "admlops.formats.nuscenes.source",
        "openlabel": "admlops.formats.openlabel.source",
        "voc": "admlops.formats.voc.source",
    }
)
"""The module of each format; it has `looks_like(root)` and `open_folder(root, options)`."""

AUTO = "auto"


def open_source(
    root: Path, format_name: str = AUTO, options: ReadOptions | None = None
) -> FrameSource:
    """List the frames of a folder or file of recorded or downloaded data.

    Args:
        root: the folder or file.
        format_name: a key of `FORMATS`, or "auto" to tell it by its files.
        options: what is read.

    Raises:
        ConfigError: there is no such format.
        DataError: the folder is not of the format, or of none that is known.
    """
    if format_name != AUTO and format_name not in FORMATS:
        raise ConfigError(f"no format is called {format_name!r}; there are {', '.join(FORMATS)}")
    if not root.exists():
        raise DataError(f"{root}: no such file or folder")
    name = find_format(root) if format_name == AUTO else format_name
    source: FrameSource = import_module(FORMATS[name]).open_folder(root, options or ReadOptions())
    return source


def find_format(root: Path) -> str:
    """Return the name of the format that a folder or file is in.

    Raises:
        DataError: none, or more than one fits.
    """
    fitting = [name for name, module in FORMATS.items() if import_module(module).looks_like(root)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        named = ", ".join(fitting)
        raise DataError(f"{root}: fits more than one format; name one with `format`: {named}")
    raise DataError(
        f"{root}: is in no format that can be read; give the folder that holds the whole dataset, "
        f"not one in it, or name its format to learn what it lacks: {', '.join(FORMATS)}"
    )


def is_data(file: Path) -> bool:
    """Return whether a file is itself in a format that can be read, and no manifest of one."""
    return any(import_module(module).looks_like(file) for module in FORMATS.values())
