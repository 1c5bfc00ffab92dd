"""Watching a folder: what counts as complete, exactly once, and kills at any moment."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hand_drives import write_drive

from admlops.collection.arrivals import Arrival, Arrivals, says_complete
from admlops.collection.triggers import TriggerConfig
from admlops.collection.watch import Watch, WatchConfig
from admlops.errors import ConfigError, ServiceError
from admlops.lake.store import Dataset
from admlops.recordings.recording import name_below
from admlops.structures.boxes import Boxes
from admlops.structures.manifest import Manifest

NUM_FRAMES = 12
STEADY = [10.0] * (NUM_FRAMES + 1)


@pytest.fixture(scope="module")
def drives(tmp_path_factory):
    """Four drives of 12 frames; the last sweep of each has no pose behind it."""
    folder = tmp_path_factory.mktemp("drives")
    return [write_drive(folder / f"drive-{name}.mcap", STEADY, 100 * i)
            for i, name in enumerate("abcd")]  # fmt: skip


def make_watch(tmp_path, **changes):
    root = tmp_path / "incoming"
    root.mkdir(parents=True, exist_ok=True)
    values = {"lake_uri": str(tmp_path / "lake"), "settle_s": 0.05, "poll_s": 0.02}
    return Watch(root, WatchConfig.parse({**values, **changes}))


def look(watch):
    lines = []
    watch.run(once=True, report=lines.append)
    return lines


def frames_by_log(tmp_path):
    counts = {}
    keys = Dataset.open(str(tmp_path / "lake")).keys()
    for key in keys:
        counts[key.log] = counts.get(key.log, 0) + 1
    return counts


def test_every_recording_is_ingested_once_whatever_it_is_called(drives, tmp_path):
    watch = make_watch(tmp_path)
    shutil.copy(drives[0], watch.root)
    (first,) = look(watch)
    assert first.startswith("drive-a.mcap: ")
    num_kept = frames_by_log(tmp_path)["drive-a"]
    assert num_kept >= NUM_FRAMES
    version = Dataset.open(str(tmp_path / "lake")).version
    assert look(watch) == []
    assert look(make_watch(tmp_path)) == []  # a new process reads the journal
    (watch.root / "deeper").mkdir()
    shutil.copy(drives[0], watch.root / "deeper" / "copy.mcap")
    assert look(make_watch(tmp_path)) == [
        "deeper/copy.mcap: the same content as drive-a, not ingested again"
    ]
    assert look(make_watch(tmp_path)) == []
    assert Dataset.open(str(tmp_path / "lake")).version == version
    shutil.copy(drives[1], watch.root / "deeper")
    look(make_watch(tmp_path))
    assert frames_by_log(tmp_path) == {"drive-a": num_kept, "deeper-drive-b": num_kept}


def test_a_lost_journal_adds_no_frame_twice(drives, tmp_path):
    watch = make_watch(tmp_path)
    shutil.copy(drives[0], watch.root)
    look(watch)
    before = Dataset.open(str(tmp_path / "lake"))
    shutil.rmtree(watch.journal.folder)
    assert len(look(make_watch(tmp_path))) == 1
    after = Dataset.open(str(tmp_path / "lake"))
    assert (after.version, after.keys()) == (before.version, before.keys())


def test_an_mcap_file_is_complete_when_it_ends_with_its_magic(drives, tmp_path):
    whole = drives[0].read_bytes()
    path = tmp_path / "drive.mcap"
    for cut in (8, 1000, len(whole) - 1):
        path.write_bytes(whole[:cut])
        assert not says_complete(path)
    path.write_bytes(whole)
    assert says_complete(path)
    part = tmp_path / "drive_0.mcap"
    part.write_bytes(whole)  # drive_1 may follow
    assert not says_complete(part)


def test_a_rosbag2_folder_is_complete_with_metadata_and_all_its_files(tmp_path, real_data):
    bags = sorted(path.parent for path in (real_data / "recordings").rglob("metadata.yaml"))
    complete = [bag for bag in bags if says_complete(bag)]
    assert len(complete) >= 3
    copy = tmp_path / "bag"
    shutil.copytree(complete[0], copy)
    metadata = (copy / "metadata.yaml").read_text()
    (copy / "metadata.yaml").unlink()
    assert not says_complete(copy)
    (copy / "metadata.yaml").write_text(metadata[: len(metadata) // 2])
    assert not says_complete(copy)
    (copy / "metadata.yaml").write_text(metadata)
    next(file for file in copy.iterdir() if file.suffix != ".yaml").unlink()
    assert not says_complete(copy)


def test_a_ros1_bag_is_complete_with_its_index(tmp_path, real_data):
    bag = next((real_data / "recordings" / "ros1").rglob("*.bag"))
    data = bytearray(bag.read_bytes())
    path = tmp_path / "drive.bag"
    path.write_bytes(data)
    assert says_complete(path)
    at = data.find(b"index_pos=") + 10
    data[at : at + 8] = bytes(8)  # as while recording
    path.write_bytes(data)
    assert not says_complete(path)
    (tmp_path / "drive.bag.done").touch()
    assert says_complete(path)


def test_what_never_says_that_it_is_complete_settles(drives, tmp_path):
    path = tmp_path / "cut.mcap"
    path.write_bytes(drives[0].read_bytes()[:-300])
    arrivals = Arrivals(tmp_path, settle_s=0.3)
    assert list(arrivals.complete()) == []
    time.sleep(0.2)
    with path.open("ab") as file:
        file.write(b"more")
    assert list(arrivals.complete()) == []
    time.sleep(0.2)
    assert list(arrivals.complete()) == []  # 0.2 s after the last change
    time.sleep(0.2)
    (arrival,) = arrivals.complete()
    assert arrival.is_unchanged()
    old = time.time() - 3600
    os.utime(path, (old, old))
    assert not arrival.is_unchanged()
    assert list(Arrivals(tmp_path, settle_s=60).complete()) == []  # seen for the first time
    assert len(list(Arrivals(tmp_path, settle_s=60, looks_once=True).complete())) == 1


def test_refused_recordings_are_told_once_and_read_again_when_they_change(drives, tmp_path):
    watch = make_watch(tmp_path)
    broken = watch.root / "broken.mcap"
    broken.write_bytes(b"no recording at all")
    gap = write_drive(watch.root / "gap.mcap", STEADY, period_s=1.5)
    time.sleep(0.1)
    lines = look(watch)
    assert [line.split(":")[:2] for line in lines] == [
        ["broken.mcap", " refused (REC001 1)"],
        ["gap.mcap", lines[1].split(":")[1]],
    ]
    assert "refused (REC009" in lines[1]
    assert look(make_watch(tmp_path)) == []
    assert frames_by_log(tmp_path) == {}
    shutil.copy(drives[0], gap)
    assert len(look(make_watch(tmp_path))) == 1
    assert list(frames_by_log(tmp_path)) == ["gap"]


def test_a_mended_mapping_makes_a_refused_recording_read_again(tmp_path):
    watch = make_watch(tmp_path)
    write_drive(watch.root / "gap.mcap", STEADY, period_s=1.5)
    mapping = watch.root / "admlops_recording.yaml"
    mapping.write_text("accept_por: true")
    (line,) = look(watch)
    assert "refused (REC001 1)" in line
    assert "accept_por" in line
    assert look(watch) == []
    shutil.copy(watch.root / "gap.mcap", watch.root / "copy.mcap")
    again = "copy.mcap: the same content as gap, not ingested again"
    assert [look(make_watch(tmp_path)) for _ in range(3)] == [[again], [], []]
    (watch.root / "copy.mcap").unlink()
    mapping.write_text("accept_poor: true")
    assert "gap.mcap: refused" not in look(watch)[0]
    assert list(frames_by_log(tmp_path)) == ["gap"]
    mapping.write_text("accept_poor: false")
    assert look(make_watch(tmp_path)) == ["gap.mcap: the same content as gap, not ingested again"]


def test_what_fails_is_tried_again_and_holds_nothing_else_up(drives, tmp_path):
    failures = iter([ServiceError("Triton at far:8001: away")])

    def detect(_):
        for failure in failures:
            raise failure
        return Boxes.empty()

    watch = make_watch(tmp_path)
    triggers = {"triggers": [{"name": "n", "when": {"none_of": [{"category": "car"}]}}]}
    config = watch.config.replace(triggers=TriggerConfig.parse(triggers))
    for drive in drives[:2]:
        shutil.copy(drive, watch.root)
    watch = Watch(watch.root, config.replace(clips_folder=tmp_path / "clips"), detect)
    lines = []
    with pytest.raises(ServiceError, match="Triton at far:8001: away"):
        watch.run(once=True, report=lines.append)
    assert [line.split(":")[0] for line in lines] == ["drive-b.mcap"]
    assert set(frames_by_log(tmp_path)) == {"drive-b"}
    assert {file.name.split("-1")[0] for file in (tmp_path / "clips").glob("*.mcap")} == {"drive-b"}
    assert len(look(watch)) == 1
    assert set(frames_by_log(tmp_path)) == {"drive-a", "drive-b"}


def test_a_file_that_cannot_be_read_is_told_until_it_can(drives, tmp_path, monkeypatch):
    watch = make_watch(tmp_path)
    shutil.copy(drives[0], watch.root)

    def fail(*_):
        raise PermissionError(13, "Permission denied", "drive-a.mcap")

    monkeypatch.setattr(Arrival, "digest", fail)
    with pytest.raises(ServiceError, match=r"drive-a\.mcap: .*Permission denied"):
        look(watch)
    monkeypatch.undo()
    assert len(look(watch)) == 1


def test_triggers_choose_frames_and_make_clips_and_screening_drops(tmp_path):
    speeds = [12.0] * 40 + [12.0 - 0.5 * i for i in range(1, 11)] + [7.0] * 40
    trigger = {"name": "brake", "when": {"signal": "acceleration_mps2", "below": -3}}
    watch = make_watch(
        tmp_path,
        triggers={"triggers": [trigger], "before_s": 1, "after_s": 1},
        clips_folder=tmp_path / "clips",
        screening={"min_points": 151},
        dataset_file=tmp_path / "dataset.json",
    )
    write_drive(watch.root / "brake.mcap", speeds)
    (line,) = look(watch)
    (entry,) = (json.loads(f.read_text()) for f in watch.journal.folder.glob("*.json"))
    assert entry["num_dropped"] == entry["rules"]["SCRN003"] > 20
    assert entry["num_frames"] == entry["num_outside"] + entry["num_dropped"]
    assert entry["num_outside"] > 50
    assert (tmp_path / "clips" / entry["clips"][0]).is_file()
    assert "SCRN003" in line
    again = make_watch(tmp_path / "all", triggers=watch.config.triggers)
    shutil.copy(watch.root / "brake.mcap", again.root)
    look(again)
    dataset = Dataset.open(str(tmp_path / "all" / "lake"))
    assert len(dataset.keys()) == entry["num_dropped"]
    assert dataset.take([0])[0].tags == ("trigger:brake",)
    manifest = Manifest.read(tmp_path / "dataset.json", "dataset")
    assert manifest.provenance["source"] == str(watch.root)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"triggers": {"triggers": [{"name": "n", "when": {"category": "car"}}]}},
            "give `detector`",
        ),
        ({"detector": {"kind": "server", "url": "localhost:8001"}}, "no trigger asks"),
        ({"clips_folder": "clips"}, "give `triggers`"),
        ({"privacy": {"file": "absent.onnx"}}, "no such file"),
    ],
)
def test_settings_are_checked_before_the_first_recording(tmp_path, changes, reason):
    with pytest.raises(ConfigError, match=reason):
        make_watch(tmp_path, **changes)


def test_clips_are_not_watched_and_journals_not_shared(tmp_path):
    triggers = {"triggers": [{"name": "n", "when": {"tag": "night"}}]}
    (tmp_path / "drives").mkdir()
    (tmp_path / "drives" / "drive.mcap").touch()
    with pytest.raises(ConfigError, match="name a folder for clips alone"):
        make_watch(tmp_path, triggers=triggers, clips_folder=tmp_path / "drives")
    with pytest.raises(ConfigError, match="must lie outside"):
        make_watch(tmp_path, triggers=triggers, clips_folder=tmp_path / "incoming" / "clips")
    first, second = make_watch(tmp_path), make_watch(tmp_path)
    with first.journal.locked(), pytest.raises(ConfigError, match="another process watches"):
        look(second)


def test_names_come_from_paths(tmp_path):
    (tmp_path / "2024.01.05").mkdir()
    file = tmp_path / "2024.01.05" / "drive.mcap.zstd"
    file.touch()
    assert name_below(file, tmp_path) == "2024.01.05-drive"
    assert name_below(file.parent, tmp_path) == "2024.01.05"
    assert name_below(tmp_path / "10.30.00.mcap", tmp_path) == "10.30.00"


def test_conditions_of_a_drive_are_found_by_its_file_or_its_log(drives, tmp_path):
    watch = make_watch(tmp_path)
    conditions = {"drive-a": ["night"], "deeper-drive-b": ["rain"], "": ["test"]}
    for drive in drives[:2]:
        (watch.root / "deeper").mkdir(exist_ok=True)
        shutil.copy(drive, watch.root / "deeper")
    mapping = watch.root / "deeper" / "admlops_recording.yaml"
    mapping.write_text(json.dumps({"conditions": conditions}))
    look(watch)
    dataset = Dataset.open(str(tmp_path / "lake"))
    frames = dataset.take(range(len(dataset.keys())))
    assert {(frame.key.log, frame.tags) for frame in frames} == {
        ("deeper-drive-a", ("night", "test")),
        ("deeper-drive-b", ("rain", "test")),
    }


def test_a_watch_that_is_stopped_leaves_a_drive_for_later(drives, tmp_path):
    watch = make_watch(tmp_path)
    shutil.copy(drives[0], watch.root)
    calls = iter(range(10**6))

    class StopsAtTheFourth(threading.Event):
        def is_set(self):
            return next(calls) >= 6 or super().is_set()

    watch.stop = StopsAtTheFourth()
    lines = []
    watch.run(once=False, report=lines.append)
    assert lines == ["stopped; what was not finished is done by the next watch"]
    assert frames_by_log(tmp_path) == {}
    assert list(watch.journal.folder.glob("*.json")) == []
    assert len(look(make_watch(tmp_path))) == 1


def start(tmp_path):
    code = (
        "import sys, time; from admlops.cli import main\n"
        "sys.argv = ['admlops', 'collect', 'watch', *sys.argv[1:]]\n"
        "import admlops.collection.watch, admlops.recordings.source, lance\n"
        "print('ready', flush=True); main()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "incoming"), "--config",
         str(tmp_path / "watch.yaml")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def catches_sigterm(process):
    """Return whether a process has come so far; where all was done before, it has nothing else."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def check_whole(tmp_path, num_frames):
    """Assert that the lake can be read and holds whole drives only."""
    if (tmp_path / "lake").exists():
        counts = frames_by_log(tmp_path)
        assert set(counts.values()) <= {num_frames}
        return len(counts)
    return 0


def run_kills(drives, tmp_path, delays_s):
    """Kill the watch after each delay, then let it finish; return drives whole after each kill."""
    reference = make_watch(tmp_path / "reference")
    watch = make_watch(tmp_path)
    for drive in drives:
        shutil.copy(drive, reference.root)
        shutil.copy(drive, watch.root)
    look(reference)
    expected = frames_by_log(tmp_path / "reference")
    (tmp_path / "watch.yaml").write_text(json.dumps(watch.config.to_json_dict()))
    progress = []
    for delay_s in delays_s:
        process = start(tmp_path)
        time.sleep(delay_s)
        process.kill()
        process.wait()
        process.stdout.close()
        progress.append(check_whole(tmp_path, next(iter(expected.values()))))
    process = start(tmp_path)
    deadline = time.monotonic() + 60
    while not catches_sigterm(process) or len(list(watch.journal.folder.glob("*.json"))) < len(
        drives
    ):
        assert time.monotonic() < deadline, "the watch does not finish"
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert rest.endswith("stopped; what was not finished is done by the next watch\n")
    assert frames_by_log(tmp_path) == expected
    assert sorted(Dataset.open(str(tmp_path / "lake")).keys()) == sorted(
        Dataset.open(str(tmp_path / "reference" / "lake")).keys()
    )
    return progress


def test_kills_leave_whole_drives_and_sigterm_ends_it(drives, tmp_path):
    rng = np.random.default_rng(7)
    delays = rng.uniform(0.0, 1.0, int(os.environ.get("ADMLOPS_NUM_KILLS", "3")))
    progress = run_kills(drives, tmp_path, delays)
    assert progress == sorted(progress)
