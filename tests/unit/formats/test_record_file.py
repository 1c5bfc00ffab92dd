"""Records on disk: they come back, leave nothing behind, and say so where there is no room."""

import subprocess
import sys
from pathlib import Path

import pytest

from admlops.errors import DataError
from admlops.formats.record_file import RecordFile

FULL = """
import resource, sys
from pathlib import Path
from admlops.errors import DataError
from admlops.formats.record_file import RecordFile
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
file = RecordFile(Path("labels.xml"))
try:
    for _ in range(3000):
        file.append(bytes(1000))
except DataError as error:
    print(error)
"""
FORKED = """
import os
from pathlib import Path
from admlops.formats.record_file import RecordFile
file = RecordFile(Path("labels.xml"))
records = [str(number).encode() for number in range(3000)]
for record in records:
    file.append(record)
assert file.read(0) == b"0"
child = os.fork()
assert [file.read(number) for number in range(3000)] == records
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert file.append(b"more") == 3000
assert (file.read(3000), file.read(2999)) == (b"more", b"2999")
"""


def num_open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_records_come_back_and_the_file_goes(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = num_open_files()
    file = RecordFile(Path("labels.xml"))
    records = [bytes([number]) * number for number in range(256)]
    assert [file.append(record) for record in records] == list(range(256))
    assert len(file) == 256
    assert [file.read(number) for number in reversed(range(256))] == records[::-1]
    assert file.append(b"more") == 256
    assert file.read(256) == b"more"
    assert list(tmp_path.iterdir()) == []
    del file
    assert num_open_files() == before


def test_a_forked_process_reads_the_same_records():
    subprocess.run([sys.executable, "-c", FORKED], check=True)


def test_a_full_disk_is_said():
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, check=True)
    assert "labels.xml: cannot be kept in a temporary file (File too large)" in done.stdout
    assert done.stderr == ""


def test_no_folder_for_temporary_files_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(DataError, match=r"labels.xml: cannot be kept .* set TMPDIR"):
        RecordFile(Path("labels.xml"))
