"""Where a TensorRT engine lies. Needs no numpy: what loads releases in a pod has none."""

from pathlib import Path

from admlops.errors import DataError

ENGINE_SUFFIX = ".plan"
KEY_FILE = "key.json"
"""Lies beside each engine and says what it is bound to."""


def find_engine(folder: Path) -> Path:
    """Return the only engine at any depth of a built folder or of a release's network.

    Raises:
        DataError: there is none, or there are several.
    """
    found = sorted(folder.rglob(f"*{ENGINE_SUFFIX}"))
    if not found:
        raise DataError(f"{folder}: no TensorRT engine; build it with the target tensorrt")
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found)
        raise DataError(f"{folder}: several TensorRT engines ({names}); a release serves one")
    return found[0]
