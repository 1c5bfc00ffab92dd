"""The file in which `verify` leaves parity and latency, as other steps read it."""

import json
from pathlib import Path

from admlops.errors import DataError

VERIFICATION_FILE = "verification.json"


def read_verification_scores(folder: Path) -> dict[str, float]:
    """Return the flat figures of a verification: its `scores`, or its numbers on the top level.

    Raises:
        DataError: there is no verification, or it is no JSON object.
    """
    path = folder / VERIFICATION_FILE
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); run verify first") from error
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); run verify again") from error
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected a JSON object; run verify again")
    figures = values.get("scores", values)
    return {
        name: float(value) for name, value in figures.items() if isinstance(value, (int, float))
    }
