"""Where the benchmarks find real data files."""

import os
from pathlib import Path


def real_data(name: str) -> Path:
    """Return a folder of real data, which may be absent: ADMLOPS_REAL_DATA names their parent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("ADMLOPS_REAL_DATA", default)) / name
