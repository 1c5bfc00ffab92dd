"""How much memory and work files of labels take: OpenLABEL and CVAT with 30 boxes a frame.

Every file is read in a process of its own: opened, then all its frames one by one. Boxes are
cuboids with four attributes, on tracks of 200 frames; CVAT's shapes are all keyframes, or every
tenth is and those between are computed.

Run: python -m bench.label_files [--frames 2000,20000] [--json FILE]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from admlops.formats.source import read_all
from admlops.steps.sources import open_source

NUM_BOXES = 30
TRACK_FRAMES = 200
KINDS = ("openlabel", "cvat", "cvat_sparse")


def tracks(num_frames: int) -> Iterator[tuple[int, range]]:
    """Yield the number of each track, and its frames."""
    starts = range(0, num_frames, TRACK_FRAMES)
    for place, start in enumerate(start for start in starts for _ in range(NUM_BOXES)):
        yield place, range(start, min(start + TRACK_FRAMES, num_frames))


def write_openlabel(path: Path, num_frames: int) -> None:
    systems = {
        "odom": {"type": "scene_cs", "parent": "", "children": ["base"]},
        "base": {"type": "local_cs", "parent": "odom", "children": []},
    }
    objects = {
        str(number): {"name": f"t{number}", "type": "car"} for number, _ in tracks(num_frames)
    }
    head = {"metadata": {"schema_version": "1.0.0"}, "coordinate_systems": systems}
    with path.open("w") as file:
        file.write('{"openlabel": ' + json.dumps(head)[:-1] + ', "frames": {\n')
        for number in range(num_frames):
            file.write(",\n" if number else "")
            file.write(f'"{number}": {json.dumps(openlabel_frame(number))}')
        file.write('},\n"objects": ' + json.dumps(objects) + "}}\n")


def openlabel_frame(number: int) -> dict[str, object]:
    first = number // TRACK_FRAMES * NUM_BOXES
    shapes = {
        str(track): {"object_data": {"cuboid": [openlabel_cuboid(track, number)]}}
        for track in range(first, first + NUM_BOXES)
    }
    return {"frame_properties": {"timestamp": f"{number / 10:.1f}"}, "objects": shapes}


def openlabel_cuboid(track: int, frame: int) -> dict[str, object]:
    x_m, yaw_rad = position(track, frame)
    attributes = {
        "boolean": [{"name": "parked", "val": False}],
        "num": [{"name": "num_points", "val": (track * 7 + frame) % 900}],
        "text": [{"name": "colour", "val": "red"}],
    }
    val = [x_m, float(track % NUM_BOXES), 0.5, 0.0, 0.0, yaw_rad, 4.2, 1.8, 1.5]
    named = {"name": "shape3D", "val": val, "coordinate_system": "base"}
    attributes["num"].append({"name": "truncation", "val": round(yaw_rad / 4, 4)})
    return named | {"attributes": attributes}


def position(track: int, frame: int) -> tuple[float, float]:
    return (track % 7) * 3.1 + (frame % TRACK_FRAMES) * 0.123456789, (frame % 100) / 37


def write_cvat(path: Path, num_frames: int, step: int = 1) -> None:
    with path.open("w") as file:
        file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>\n')
        file.write(f"<meta><task><name>t</name><size>{num_frames}</size></task></meta>\n")
        for number, frames in tracks(num_frames):
            file.write(f'<track id="{number}" label="car" source="manual">\n')
            file.writelines(cvat_cuboid(number, frame) for frame in frames[::step])
            if frames.stop < num_frames:
                file.write(cvat_cuboid(number, frames.stop).replace('outside="0"', 'outside="1"'))
            file.write("</track>\n")
        file.write("</annotations>\n")


def cvat_cuboid(track: int, frame: int) -> str:
    x_m, yaw_rad = position(track, frame)
    points = f"{x_m!r},{track % NUM_BOXES}.0;0.5,0.0;0.0,{yaw_rad!r};4.2,1.8;1.5" + ",0.0;0.0" * 3
    values = {
        "parked": "false",
        "num_points": (track * 7 + frame) % 900,
        "colour": "red",
        "truncation": round(yaw_rad / 4, 4),
    }
    inner = "".join(f'<attribute name="{name}">{item}</attribute>' for name, item in values.items())
    own = f'frame="{frame}" outside="0" occluded="0" keyframe="1" z_order="{track % NUM_BOXES}"'
    return f'<cuboid {own} points="{points},0.0">{inner}</cuboid>\n'


WRITERS: dict[str, Callable[[Path, int], None]] = {
    "openlabel": lambda folder, count: write_openlabel(folder / "openlabel.json", count),
    "cvat": lambda folder, count: write_cvat(folder / "annotations.xml", count),
    "cvat_sparse": lambda folder, count: write_cvat(folder / "annotations.xml", count, 10),
}


def measure(folder: Path) -> dict[str, float]:
    """Read a folder in this process; return frames, boxes, processor seconds and peak memory.

    A file of a few frames is read before, so that what a program needs anyway is not counted.
    """
    with tempfile.TemporaryDirectory() as small:
        WRITERS["cvat" if (folder / "annotations.xml").exists() else "openlabel"](Path(small), 3)
        list(read_all(open_source(Path(small))))
    before_mib = peak_mib()
    begin = time.process_time()
    source = open_source(folder)
    opened = time.process_time()
    opened_mib = peak_mib()
    num_boxes = sum(len(item.boxes) for item in read_all(source) if hasattr(item, "boxes"))
    return {
        "num_frames": len(source),
        "num_boxes": num_boxes,
        "open_s": opened - begin,
        "read_s": time.process_time() - opened,
        "opened_mib": opened_mib - before_mib,
        "peak_mib": peak_mib() - before_mib,
        "program_mib": before_mib,
    }


def peak_mib() -> float:
    """Return the most memory that this program held; `getrusage` counts the one before it, too."""
    status = Path("/proc/self/status").read_text()
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", default="2000,20000")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    found = []
    for kind in arguments.kinds.split(","):
        for count in map(int, arguments.frames.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                WRITERS[kind](Path(folder), count)
                size_mib = sum(file.stat().st_size for file in Path(folder).iterdir()) / 2**20
                command = [sys.executable, "-m", "bench.label_files", "--measure", folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
            row = {"kind": kind, "file_mib": size_mib, **json.loads(done.stdout)}
            found.append(row)
            print(
                f"{kind}: {count} frames, {row['num_boxes']} boxes, {size_mib:.0f} MiB of file: "
                f"opened in {row['open_s']:.1f} core seconds, read in {row['read_s']:.1f}, "
                f"{row['peak_mib']:.0f} MiB beyond the {row['program_mib']:.0f} of the program",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
