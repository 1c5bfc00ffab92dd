"""JSON files of labels from anywhere."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from admlops.errors import DataError

MAX_BYTES = 2 << 30


def read_json(path: Path, slim: Callable[[dict[str, Any]], Any] | None = None) -> Any:  # noqa: ANN401
    """Return the content of a JSON file.

    Args:
        path: the file.
        slim: called on every object, to keep only what is wanted of it.

    Raises:
        DataError: the file cannot be read, is no JSON, or is larger than labels are.
    """
    with explain_json_errors(path):
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"{path}: {size} bytes, more than a file of labels may have")
        return json.loads(path.read_bytes(), object_hook=slim)


@contextmanager
def explain_json_errors(path: Path) -> Iterator[None]:
    """Turn what goes wrong while a JSON file is read into a DataError that names it."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except RecursionError as error:
        raise DataError(f"{path}: nests too deep") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); copy the file again") from error


def split_in_name(path: Path) -> str:
    """Return the split that a file's name names: "train", "val", "test", or ""."""
    name = path.stem.lower()
    return next((split for split in ("train", "val", "test") if split in name), "")
