"""Fixtures that every kind of test shares."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep temporary files of tests, and of what they start or kill, in a folder that goes."""
    tmp_path_factory.getbasetemp()  # pytest keeps its own folders longer
    kept = tempfile.TemporaryDirectory(prefix="admlops-tests-", ignore_cleanup_errors=True)
    with kept as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real data files, or skip."""
    default = REPOSITORY.parent / "shared" / "data"
    folder = Path(os.environ.get("ADMLOPS_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ADMLOPS_REAL_DATA")
    return folder
