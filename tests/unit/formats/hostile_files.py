"""Damages files of every format at random and reads them: only findings and `DataError` may come.

Usage: python hostile_files.py NUMBER [FORMAT ...]; ends with 1 where a reader broke.
"""

import io
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from admlops.errors import DataError
from admlops.formats.argoverse2.writer import write_log
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.coco.writer import write_instances
from admlops.formats.kitti.writer import write_frames
from admlops.formats.kitti_tracking.writer import write_sequences
from admlops.formats.nuscenes.writer import write_version
from admlops.formats.once.writer import write_sequences as write_once
from admlops.formats.source import ReadOptions
from admlops.formats.voc.writer import write_annotations
from admlops.geometry.pose import make_transform, rotation_about_z
from admlops.steps.sources import open_source
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.finding import Finding
from admlops.structures.frame import CalibratedSensor, CameraImage, Frame, FrameKey, LidarSweep

MAX_SECONDS = 20
_CATEGORIES = {"car": "car", "CAR": "car", "person": "person"}
_FRONT = np.array([[0.0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 1.65], [0, 0, 0, 1]])
_NUMBERS = (b"-1", b"1e309", b"nan", b"99999999999999999999", b"\x00", b"0", b"../..", b"")


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), (9, 90, 90)).save(file, "PNG")
    return file.getvalue()


def make_frame(number: int, *, in_space: bool = True) -> Frame:
    """Return a small frame with everything that formats can hold."""
    rng = np.random.default_rng(number)
    points = rng.uniform(-20, 20, (60, 4)).astype(np.float32)
    points[:, 3] = rng.random(60)
    matrix = np.array([[30.0, 0, 20], [0, 30, 15], [0, 0, 1]])
    sensor = CalibratedSensor("camera_front", "camera", _FRONT, matrix)
    image = CameraImage(sensor, _png(), 40, 30, np.array([[1.0, 2, 9, 8]]))
    boxes = Boxes.make(
        [[10, 1, 0.8], [15, -3, 0.9]],
        [[4, 2, 1.5], [4.2, 1.9, 1.6]],
        [0.1, -2.0],
        ["car", "car"],
        track_id=np.array(["1", "2"], dtype=object),
        num_points=[3, 0],
        occlusion=[0, 1],
    )
    labels = Boxes2d.make([[1, 2, 20, 25], [5, 6, 9, 9]], ["car", "person"])
    return Frame(
        key=FrameKey("log", "scene", 1_700_000_000_000_000_000 + number * 500_000_000),
        frame_id=f"{number:06d}",
        global_from_ego=make_transform(rotation_about_z(0.1 * number), [number, 2.0, 0.1]),
        lidar=LidarSweep(CalibratedSensor("lidar_top", "lidar", np.eye(4)), points),
        camera=image,
        boxes=boxes if in_space else None,
        boxes_2d=None if in_space else labels,
        split="train",
    )


def _kitti_raw(root: Path) -> None:
    """Lay out a drive; there is no writer of this format."""
    drive = root / "day" / "drive"
    write_sequences(root / "tracking", [[make_frame(n) for n in range(3)]])
    (drive / "oxts" / "data").mkdir(parents=True)
    (drive / "velodyne_points").mkdir()
    shutil.move(root / "tracking/training/velodyne/0000", drive / "velodyne_points/data")
    rows = (root / "tracking/training/oxts/0000.txt").read_text().splitlines()
    for number, row in enumerate(rows):
        (drive / "oxts" / "data" / f"{number:06d}.txt").write_text(row)
    shutil.rmtree(root / "tracking")
    lines = [f"2011-09-26 13:02:{second:02d}.5" for second in range(3)]
    (drive / "velodyne_points" / "timestamps.txt").write_text("\n".join(lines))
    texts = {
        "cam_to_cam": "R_rect_00: 1 0 0 0 1 0 0 0 1\nP_rect_02: 30 0 20 0 0 30 15 0 0 0 1 0\n"
        "P_rect_03: 30 0 20 -9 0 30 15 0 0 0 1 0\n",
        "velo_to_cam": "R: 0 -1 0 0 0 -1 1 0 0\nT: 0 -0.08 -0.27\n",
        "imu_to_velo": "R: 1 0 0 0 1 0 0 0 1\nT: 0 0 0\n",
    }
    for name, text in texts.items():
        (root / "day" / f"calib_{name}.txt").write_text(text)
    tags = ("tx", "ty", "tz", "rx", "ry", "rz", "occlusion", "truncation")
    pose = "".join(f"<{tag}>1</{tag}>" for tag in tags)
    (drive / "tracklet_labels.xml").write_text(
        '<?xml version="1.0"?><!DOCTYPE boost_serialization><boost_serialization><tracklets><item>'
        "<objectType>Car</objectType><h>1</h><w>1</w><l>1</l><first_frame>0</first_frame><poses>"
        f"<item>{pose}</item></poses></item></tracklets></boost_serialization>"
    )


def _in_images() -> list[Frame]:
    return [make_frame(number, in_space=False) for number in range(3)]


def _in_space() -> list[Frame]:
    return [make_frame(number) for number in range(3)]


WRITERS: dict[str, Callable[[Path], object]] = {
    "argoverse2": lambda root: write_log(root / "train" / "log", _in_space()),
    "bdd100k": lambda root: write_labels(root, "train", _in_images(), is_video=False),
    "coco": lambda root: write_instances(root, "train", _in_images()),
    "kitti_object": lambda root: write_frames(root, _in_space()),
    "kitti_raw": _kitti_raw,
    "kitti_tracking": lambda root: write_sequences(root, [_in_space()]),
    "nuscenes": lambda root: write_version(root, [_in_space()]),
    "once": lambda root: write_once(root, [_in_space()]),
    "voc": lambda root: write_annotations(root, _in_images()),
}


@dataclass
class Outcome:
    """What came of many damages.

    Attributes:
        counts: "refused", "frames lost" or "unharmed".
        broken: what was done, and what a reader raised instead of saying what is wrong.
        slowest_s: of one reading.
    """

    counts: Counter[str]
    broken: list[str]
    slowest_s: float = 0.0


def attack(name: str, number: int, seed: int = 0) -> Outcome:
    """Damage a file of a format `number` times, one damage at a time, and read all of it."""
    rng = np.random.default_rng(seed)
    outcome = Outcome(Counter(), [])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        WRITERS[name](root)
        files = sorted(path for path in root.rglob("*") if path.is_file())
        whole = _read(root, name)
        if whole != "unharmed":
            raise ValueError(f"{name}: the files are not read before they are damaged: {whole}")
        for turn in range(number):
            file = files[rng.integers(len(files))]
            content = file.read_bytes()
            damaged = mutate(content, rng)
            file.write_bytes(damaged)
            start = time.perf_counter()
            try:
                with _alarm():
                    outcome.counts[_read(root, name)] += 1
            except Exception as error:  # noqa: BLE001 - whatever comes is what is looked for
                what = f"{file.relative_to(root)} turn {turn}: {type(error).__name__}: {error}"
                outcome.broken.append(what)
            outcome.slowest_s = max(outcome.slowest_s, time.perf_counter() - start)
            file.write_bytes(content)
    return outcome


def _read(root: Path, name: str) -> str:
    try:
        source = open_source(root, name, ReadOptions(categories=_CATEGORIES))
        results = [source.read(index) for index in range(len(source))]
    except DataError:
        return "refused"
    findings = [*source.findings, *(finding for item in results for finding in item.findings)]
    assert all(isinstance(finding, Finding) for finding in findings)
    is_whole = not source.num_refused and all(item.frame is not None for item in results)
    return "unharmed" if is_whole and len(results) == 3 else "frames lost"


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one random damage."""
    size = len(content)
    place = int(rng.integers(size + 1))
    length = int(min(rng.geometric(0.1), size))
    kind = rng.integers(7)
    if kind == 0:
        return content[:place]
    if kind == 1:
        noise = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        return content[:place] + noise + content[place + length :]
    if kind == 2:
        return content[:place] + content[place + length :]
    if kind == 3:
        return content[:place] + content[place : place + length] * 3 + content[place:]
    if kind == 4:
        number = _NUMBERS[rng.integers(len(_NUMBERS))]
        return content[:place] + number + content[place + length :]
    if kind == 5:
        flipped = bytearray(content)
        for at in rng.integers(0, max(size, 1), 3):
            if size:
                flipped[at] ^= 1 << int(rng.integers(8))
        return bytes(flipped)
    return rng.integers(0, 256, int(rng.integers(200)), dtype=np.uint8).tobytes()


@contextmanager
def _alarm() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"a reader took more than {MAX_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(MAX_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def main(number: int, names: list[str]) -> int:
    import resource

    num_broken = 0
    for name in names or sorted(WRITERS):
        outcome = attack(name, number)
        num_broken += len(outcome.broken)
        counts = ", ".join(f"{count} {what}" for what, count in sorted(outcome.counts.items()))
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name}: {counts}, {len(outcome.broken)} broken, slowest {outcome.slowest_s:.2f} s, "
            f"peak so far {peak_mib:.0f} MiB",
            flush=True,
        )
        for what in outcome.broken[:5]:
            print(f"    {what[:300]}", flush=True)
    return 1 if num_broken else 0


if __name__ == "__main__":
    warnings.simplefilter("error")
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
