"""Fixtures that every kind of test shares."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data files, or skip."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("ADMLOPS_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ADMLOPS_REAL_DATA")
    return folder
