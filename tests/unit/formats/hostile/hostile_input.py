"""Damages small sources in many ways and reads them: a reader may find fault, and nothing else.

Each number is one damage, so that a failure is repeated by its number. As a script it runs many:

    python tests/unit/formats/hostile/hostile_input.py --count 10000 once waymo
"""

import argparse
import json
import math
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

sys.path += [str(Path(__file__).parents[1] / name) for name in ("kitti_tracking", "waymo")]

from test_kitti_raw import CAMERAS, IMU, TRACKLETS, VELODYNE
from waymo_messages import encode_record, small_frame

from admlops.errors import DataError
from admlops.formats.argoverse2.writer import write_log
from admlops.formats.bdd100k.writer import write_labels
from admlops.formats.coco.writer import write_instances
from admlops.formats.cvat.writer import write_cvat
from admlops.formats.kitti.writer import write_frames
from admlops.formats.kitti_tracking.writer import write_sequences as write_tracking
from admlops.formats.nuscenes.writer import write_version
from admlops.formats.once.writer import write_sequences as write_once
from admlops.formats.openlabel.writer import write_openlabel
from admlops.formats.source import ReadOptions
from admlops.formats.voc.writer import write_annotations
from admlops.simulation.config import CameraConfig, LidarConfig, SceneGroup, WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.sources import open_source
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import Frame

LIMIT_S = 10.0
"""For reading one source of a few small frames."""
MEMORY_BYTES = 4 << 30
"""Of addresses beyond what the process has when it starts."""
MAX_FRAMES = 3
NUMBERS = (
    "-1",
    "0",
    "1e400",
    "-1e308",
    "nan",
    "NaN",
    "99999999999999999999",
    "1e-320",
    "2147483648",
)
TOKENS = ("null", "[]", "{}", '""', "true", "[[[[[[", "\\ud800", "²", "../../../etc/passwd", "\0")
_NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
_BYTES = (
    b"\xff" * 8,
    b"\0" * 8,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\x80\x7f",
    b"\0\0\xc0\x7f",
)


class TooSlowError(Exception):
    """A source was not read in time."""


@dataclass(frozen=True)
class Seed:
    """A whole source.

    Attributes:
        folder: of its files.
        files: their content by path below the folder, before `seal`.
        seal: makes a file of content, as by adding its checksum.
        damaged: by path, files that are damaged as they are on disk, too.
        options: with which it is read.
    """

    folder: Path
    files: dict[str, bytes]
    seal: Callable[[bytes], bytes] = bytes
    options: ReadOptions = field(default_factory=ReadOptions)


def small_world() -> list[Frame]:
    """Return a scene of two small frames with boxes and labels in images."""
    world = WorldConfig(
        seed=7,
        train=SceneGroup(num_scenes=1, frames_per_scene=2),
        val=SceneGroup(num_scenes=0, frames_per_scene=1),
        pool=SceneGroup(num_scenes=0, frames_per_scene=1),
        lidar=LidarConfig(num_beams=8, azimuth_step_deg=2.0),
        camera=CameraConfig(width_px=64, height_px=48, focal_px=40.0),
    )
    labels = Boxes2d.make([[1, 2, 30, 40], [5, 6, 9, 12]], ["car", "person"], track_id=["1", "2"])
    return [replace(frame, boxes_2d=labels) for frame in simulate(world)]


def make_seed(name: str, folder: Path) -> Seed:
    """Write a whole source of a format.

    Raises:
        KeyError: none is made of that format here.
    """
    frames = small_world()
    images = [replace(frame, boxes=None, lidar=None) for frame in frames]
    writers: dict[str, Callable[[], object]] = {
        "argoverse2": lambda: write_log(folder / "drive", frames),
        "bdd100k": lambda: write_labels(folder, "det_train", images, is_video=False),
        "coco": lambda: write_instances(folder, "train", images),
        "cvat": lambda: write_cvat(folder / "annotations.xml", frames),
        "kitti_object": lambda: write_frames(folder, frames),
        "kitti_raw": lambda: write_drive(folder / "2011_09_26"),
        "kitti_tracking": lambda: write_tracking(folder, [frames]),
        "nuscenes": lambda: write_version(folder, [frames]),
        "once": lambda: write_once(folder, [frames]),
        "openlabel": lambda: write_openlabel(folder / "openlabel.json", frames),
        "voc": lambda: write_annotations(folder, images),
        "waymo": lambda: (folder / "a.tfrecord").write_bytes(small_frame().SerializeToString()),
    }
    writers[name]()
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    categories = {str(item) for frame in frames for item in frame.boxes.category} | {"person"}
    known = {kind: item for item in categories for kind in (item, item.upper(), item.capitalize())}
    seal = encode_record if name == "waymo" else bytes
    return Seed(folder, files, seal, ReadOptions(categories=known))


def write_drive(day: Path) -> None:
    """Write two frames of KITTI raw by hand: there is no writer of it."""
    drive = day / "2011_09_26_drive_0001_sync"
    times = "".join(f"2011-09-26 13:02:25.{number}64389445\n" for number in range(2))
    texts = {
        day / "calib_cam_to_cam.txt": CAMERAS,
        day / "calib_velo_to_cam.txt": VELODYNE,
        day / "calib_imu_to_velo.txt": IMU,
        drive / "tracklet_labels.xml": TRACKLETS,
        drive / "velodyne_points/timestamps.txt": times,
    }
    for number in range(2):
        row = " ".join(map(str, [0, 1e-5 * number, 100, 0, 0, 0, *[0] * 24]))
        texts[drive / "oxts/data" / f"{number:010d}.txt"] = row
    points = np.array([[10.0, 2.0, -1.0, 0.5]] * 9, dtype="<f4")
    (drive / "velodyne_points/data").mkdir(parents=True)
    for number in range(2):
        path = drive / "velodyne_points/data" / f"{number:010d}.bin"
        path.write_bytes(points.tobytes())
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def damage(content: bytes, chance: random.Random) -> bytes:
    """Return content with one to three damages."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(_DAMAGES)(content, chance)
    return content


def _cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randint(0, len(content))]


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4) if content else 0):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _insert(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(content))
    what = chance.choice((*_BYTES, chance.randbytes(chance.randint(1, 20)), b" ", b"\n"))
    return content[:at] + what + content[at:]


def _overwrite(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(content))
    what = chance.choice(_BYTES)
    return content[:at] + what + content[at + len(what) :]


def _remove(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(content))
    return content[:at] + content[at + chance.randint(1, 64) :]


def _repeat(content: bytes, chance: random.Random) -> bytes:
    at = chance.randint(0, len(content))
    size = chance.randint(1, 200)
    return content[: at + size] + content[at:]


def _number(content: bytes, chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content[:200_000]))
    if not found:
        return _overwrite(content, chance)
    match = chance.choice(found)
    return content[: match.start()] + chance.choice(NUMBERS).encode() + content[match.end() :]


def _token(content: bytes, chance: random.Random) -> bytes:
    found = list(_NUMBER.finditer(content[:200_000])) or [None]
    match = chance.choice(found)
    start, end = match.span() if match else (chance.randint(0, len(content)),) * 2
    return content[:start] + chance.choice(TOKENS).encode() + content[end:]


def _json(content: bytes, chance: random.Random) -> bytes:
    """Put a value of another kind somewhere into a JSON document."""
    try:
        document = json.loads(content)
    except ValueError:
        return _flip(content, chance)
    holder, keys = document, list(_keys(document))
    while keys:
        key = chance.choice(keys)
        inner = list(_keys(holder[key]))
        if not inner or chance.random() < 0.15:
            holder[key] = chance.choice(
                (None, -1, 1e308, 10**30, "x", "", [], {}, True, [[1]], "nan")
            )
            break
        holder, keys = holder[key], inner
    return json.dumps(document).encode()


def _keys(value: object) -> Iterator[object]:
    if isinstance(value, dict):
        yield from value
    elif isinstance(value, list):
        yield from range(len(value))


_DAMAGES = (
    _cut,
    _flip,
    _flip,
    _insert,
    _overwrite,
    _remove,
    _repeat,
    _number,
    _number,
    _token,
    _json,
    _json,
)


def attempt(name: str, seed: Seed, number: int) -> Counter[str]:
    """Damage a source, read it, and mend it; return the rules that fired.

    Raises:
        Exception: what a reader must not do.
    """
    chance = random.Random(f"{name} {number}")  # noqa: S311 - damage, not secrets
    path = chance.choice(sorted(seed.files))
    whole = seed.files[path]
    if chance.random() < 0.8:
        damaged = seed.seal(damage(whole, chance))
    else:
        damaged = damage(seed.seal(whole), chance)
    file = seed.folder / path
    if chance.random() < 0.02:
        file.unlink()
    else:
        file.write_bytes(damaged)
    try:
        with time_limit():
            return read_seed(name, seed)
    finally:
        file.write_bytes(seed.seal(whole))


def read_seed(name: str, seed: Seed) -> Counter[str]:
    """Read a source as it is; return how often each rule fired."""
    rules: Counter[str] = Counter()
    try:
        source = open_source(seed.folder, name, seed.options)
    except DataError:
        return Counter(["DataError"])
    rules.update(finding.rule.rule_id for finding in source.findings)
    for index in range(min(len(source), MAX_FRAMES)):
        result = source.read(index)
        rules.update(finding.rule.rule_id for finding in result.findings)
        if result.frame is not None:
            require_sound(result.frame)
    return rules


def require_sound(frame: Frame) -> None:
    """Raise AssertionError if a frame holds what no later step may meet."""
    assert np.isfinite(frame.global_from_ego).all()
    assert abs(np.linalg.det(frame.global_from_ego[:3, :3]) - 1.0) < 0.1
    assert -(2**63) <= frame.key.timestamp_ns < 2**63
    if frame.lidar is not None:
        assert np.isfinite(frame.lidar.points).all()
        assert np.isfinite(frame.lidar.sensor.ego_from_sensor).all()
    if frame.boxes is not None:
        assert np.isfinite(frame.boxes.as_7()).all()
        assert (frame.boxes.size_m > 0).all()
    if frame.boxes_2d is not None:
        assert np.isfinite(frame.boxes_2d.box2d_px).all()
    for image in frame.cameras:
        assert np.isfinite(image.sensor.ego_from_sensor).all()
        assert image.sensor.camera_matrix is None or np.isfinite(image.sensor.camera_matrix).all()


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise TooSlowError in a block that takes too long."""

    def stop(_number: int, _frame: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def limit_memory() -> None:
    """Make the process fail where it asks for far more memory than it has."""
    status = Path("/proc/self/statm").read_text().split()
    limit = int(status[0]) * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


FORMATS = (
    "argoverse2",
    "bdd100k",
    "coco",
    "cvat",
    "kitti_object",
    "kitti_raw",
    "kitti_tracking",
    "nuscenes",
    "once",
    "openlabel",
    "voc",
    "waymo",
)


def main() -> int:
    """Run many damages of some formats; print what fired, and every failure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("formats", nargs="*", default=FORMATS)
    arguments = parser.parse_args()
    num_failed = 0
    for name in arguments.formats:
        folder = Path(tempfile.mkdtemp(prefix=f"hostile_{name}_"))
        seed = make_seed(name, folder)
        for path, content in seed.files.items():
            (folder / path).write_bytes(seed.seal(content))
        assert not read_seed(name, seed).keys() - {"READ014", "READ018", "READ019"}
        limit_memory()
        rules: Counter[str] = Counter()
        failures: dict[str, tuple[int, str]] = {}
        slowest_s, begin = 0.0, time.perf_counter()
        for number in range(arguments.start, arguments.start + arguments.count):
            started = time.perf_counter()
            try:
                rules.update(attempt(name, seed, number).keys() or ["nothing"])
            except Exception as error:  # noqa: BLE001 - every kind is a failure that is reported
                text = traceback.format_exc()
                failures.setdefault("\n".join(text.splitlines()[-3:]), (number, text))
                rules[f"FAILED {type(error).__name__}"] += 1
            slowest_s = max(slowest_s, time.perf_counter() - started)
        shutil.rmtree(folder)
        took_s = time.perf_counter() - begin
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{name}: {arguments.count} damages, {len(failures)} kinds of failure, "
            f"{math.ceil(took_s)} s, slowest {slowest_s:.2f} s, peak {peak_mib} MiB"
        )
        print("  " + ", ".join(f"{rule} {count}" for rule, count in rules.most_common()))
        for number, text in failures.values():
            print(f"  number {number}:\n{text}")
        num_failed += len(failures)
    return int(num_failed > 0)


if __name__ == "__main__":
    sys.exit(main())
