"""Rows by part in a file without a name, and that a version of many scenes takes no more memory."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from admlops.errors import DataError
from admlops.formats.nuscenes.parts import PART, PartFile, distinct

SWEEPS, ANNOTATIONS = 390, 1300
"""Of a scene, as in the published versions."""


def rows(parts, texts):
    return pa.record_batch({PART: pa.array(parts, pa.int32()), "text": pa.array(texts)})


def test_rows_are_read_by_part_in_order_of_arrival():
    file = PartFile(Path("v1.0"), 1 << 30)
    file.add("a", rows([2, 0, 2, 0], ["c", None, "b", "a"]))
    file.add("b", rows([0], ["other table"]))
    file.add("a", rows([], pa.array([], pa.string())))
    file.add("a", rows([2], ["a"]))
    assert file.read("a", [2])["text"].to_pylist() == ["c", "b", "a"]
    assert file.read("a", [0, 1])["text"].to_pylist() == [None, "a"]
    assert file.read("a", [1]).to_pylist() == []


def test_pairs_are_told_once():
    key, part = np.array([5, 3, 5, 5], np.uint64), np.array([1, 0, 0, 1], np.int32)
    assert distinct(key, part).to_pylist() == [
        {"key": 3, PART: 0},
        {"key": 5, PART: 0},
        {"key": 5, PART: 1},
    ]
    assert len(distinct(key[:0], part[:0])) == 0


def test_rows_that_multiply_are_refused():
    file = PartFile(Path("v1.0"), 3000)
    with pytest.raises(DataError, match="more than 3000 bytes.*many times"):
        for _ in range(100):
            file.add("a", rows([0], ["x"]))
    assert len(file.read("a", [0])) < 100


FULL = textwrap.dedent(
    """
    import resource
    from pathlib import Path

    import pyarrow as pa

    from admlops.errors import DataError
    from admlops.formats.nuscenes.parts import PartFile

    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    file = PartFile(Path("v1.0"), 1 << 30)
    try:
        for number in range(2000):
            file.add("a", pa.record_batch({"part": pa.array([0], pa.int32()), "n": [number]}))
    except DataError as error:
        print(error)
    """
)


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_a_full_disk_is_named():
    said = run(FULL)
    assert said.startswith("v1.0: cannot be kept in a temporary file")
    assert "TMPDIR" in said
    assert len(said.splitlines()) == 1


def write_tables(folder, num_scenes):
    """Write tables with sweeps and annotations only; what they say of a scene has no pattern."""
    folder.mkdir()
    pose = '"translation": [1.5, 2.5, 3.5], "rotation": [1.0, 0.0, 0.0, 0.0]'
    tables = {
        "sensor": ['{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}'],
        "calibrated_sensor": [f'{{"token": "calibrated", "sensor_token": "lidar", {pose}}}'],
        "log": ['{"token": "log", "logfile": "log", "location": "boston"}'],
        "category": ['{"token": "car", "name": "vehicle.car"}'],
        "instance": ['{"token": "instance", "category_token": "car"}'],
    }
    for scene in range(num_scenes):
        tokens = os.urandom(16 * ANNOTATIONS).hex()
        token = [tokens[start : start + 32] for start in range(0, len(tokens), 32)]
        add = {
            "scene": f'{{"token": "s{scene}", "name": "scene-{scene:04d}", "description": "rain",'
            f' "log_token": "log"}}',
            "sample": f'{{"token": "s{scene}", "timestamp": 5, "scene_token": "s{scene}"}}',
        }
        for name, row in add.items():
            tables.setdefault(name, []).append(row)
        tables.setdefault("ego_pose", []).extend(
            f'{{"token": "{token[n]}", {pose}}}' for n in range(SWEEPS)
        )
        tables.setdefault("sample_data", []).extend(
            f'{{"token": "{token[n]}", "sample_token": "s{scene}", "ego_pose_token": "{token[n]}",'
            f'"calibrated_sensor_token": "calibrated", "timestamp": {n}, "is_key_frame": false,'
            f'"filename": "sweeps/LIDAR_TOP/n015-2018-07-18-11-07-57+0800__LIDAR_TOP__{n}.bin"}}'
            for n in range(SWEEPS)
        )
        tables.setdefault("sample_annotation", []).extend(
            f'{{"token": "{one}", "sample_token": "s{scene}", "instance_token": "instance",'
            f'"size": [1, 2, 3], "prev": "", "next": "", {pose}}}'
            for one in token
        )
    for name in (*tables, "attribute"):
        (folder / f"{name}.json").write_text("[" + ",\n".join(tables.get(name, [])) + "]")


MEASURE = textwrap.dedent(
    """
    import sys
    from pathlib import Path

    from admlops.formats.nuscenes.source import open_folder
    from admlops.formats.source import ReadOptions

    for folder in sys.argv[1:]:
        source = open_folder(Path(folder), ReadOptions())
        assert source._tables.boxes("s1")
        rules = [finding.rule.rule_id for finding in source.read(len(source) - 1).findings]
        assert rules == ["READ001"]
        status = Path("/proc/self/status").read_text()
        print("\\n=", len(source), int(status.partition("VmHWM:")[2].split()[0]) >> 10)
    """
)


def test_memory_does_not_grow_with_the_number_of_scenes(tmp_path):
    """Twice the scenes; where all rows are held, they take 200 MiB more."""
    for count in (100, 200):
        (tmp_path / str(count)).mkdir()
        write_tables(tmp_path / str(count) / "v1.0-mini", count)
    said = run(MEASURE, tmp_path / "100", tmp_path / "200")
    told = [line.split() for line in said.splitlines() if line.startswith("=")]
    few, many = ((int(num_sweeps), int(peak_mib)) for _, num_sweeps, peak_mib in told)
    assert (few[0], many[0]) == (100 * SWEEPS, 200 * SWEEPS)
    assert many[1] - few[1] < 40, f"MiB more than {few[1]}, in a process of its own"
