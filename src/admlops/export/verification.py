"""The file in which `verify` leaves parity and latency, as other steps read it."""

from pathlib import Path

from admlops.config import read_json_object

VERIFICATION_FILE = "verification.json"


def read_verification_scores(folder: Path) -> dict[str, float]:
    """Return the flat figures of a verification: its `scores`, or its numbers on the top level.

    Raises:
        DataError: there is no verification, or it is no JSON object.
    """
    values = read_json_object(folder / VERIFICATION_FILE, "run verify again")
    figures = values.get("scores", values)
    return {
        name: float(value) for name, value in figures.items() if isinstance(value, (int, float))
    }
