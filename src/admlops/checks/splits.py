"""Rules on splits: SPLIT001 to SPLIT005. Memory is some 50 bytes a frame."""

import hashlib
import math
from array import array
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.checks.findings import MAX_KEPT_PER_RULE, FindingLog
from admlops.checks.nearness import Rows, near_across_splits
from admlops.structures.frame import Frame

SAME_PLACE_M = 1.0
SAME_HEADING_RAD = math.radians(10.0)
SAME_TIME_NS = 10_000_000_000
MIN_BOXES_OF_COPY = 3
_COLUMNS = ("digest", "labels", "log", "scene", "split", "number", "time_ns")


@dataclass(slots=True)
class SplitCheck:
    """Looks for frames of one split that give away another split."""

    log: FindingLog
    names: dict[str, int] = field(default_factory=dict)
    columns: dict[str, "array[int]"] = field(
        default_factory=lambda: {name: array("q") for name in _COLUMNS}
    )
    poses: "array[float]" = field(default_factory=lambda: array("d"))
    boxes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    num_frames: int = 0

    def look(self, frame: Frame, sensor_digest: str) -> None:
        """Record one frame of a named split; `sensor_digest` is empty where it holds no payload."""
        number = self.num_frames
        self.num_frames += 1
        if frame.split == "":
            return
        if frame.boxes is not None:
            self.boxes[frame.split].update(frame.boxes.category.tolist())
        values = {
            "digest": _to_int(sensor_digest.encode()) if sensor_digest else 0,
            "labels": _fingerprint(frame),
            "log": self._code(frame.key.log),
            "scene": self._code(f"{frame.key.log}/{frame.key.scene}"),
            "split": self._code(frame.split),
            "number": number,
            "time_ns": frame.key.timestamp_ns,
        }
        for name, value in values.items():
            self.columns[name].append(value)
        pose = frame.global_from_ego
        heading = math.atan2(pose[1, 0], pose[0, 0])
        known = not np.array_equal(pose, np.eye(4))
        place = (pose[0, 3], pose[1, 3], heading) if known else (math.nan, math.nan, math.nan)
        self.poses.extend(float(value) for value in place)

    def finish(self) -> None:
        """Add the findings."""
        table = {name: np.array(column, dtype=np.int64) for name, column in self.columns.items()}
        names = list(self.names)
        present = {names[code] for code in np.unique(table["split"])}
        labelled = sorted(present - {"pool", "test"})
        missing = {"train", "val"} - present
        if missing:
            found = ", ".join(labelled) or "none"
            what = f"no frame belongs to {' or '.join(sorted(missing))}; splits are {found}"
            self.log.add("SPLIT004", "split", what)
        self._check_scenes(table, present)
        same = self._find_shared(table, "digest", "SPLIT002", "the same sensor data is in")
        fresh = {name: column[~same] for name, column in table.items()}
        leaked = self._find_shared(fresh, "labels", "SPLIT003", "the same boxes are in")
        self._find_same_place(table, np.flatnonzero(~same)[~leaked])
        for name, count in self.boxes["val"].items():
            if "train" in present and self.boxes["train"][name] == 0:
                self.log.add("SPLIT005", name, f"boxes in val: {count}, in train: none")

    def _check_scenes(self, table: dict[str, NDArray[np.int64]], present: set[str]) -> None:
        """Report scenes in several splits; a single scene for everything names no scene at all."""
        if len(np.unique(table["scene"])) > 1:
            self._find_shared(table, "scene", "SPLIT001", "frames of one scene are in")
        elif len(present) > 1:
            name = list(self.names)[table["scene"][0]]
            splits = ", ".join(sorted(present))
            what = f"all {len(table['scene'])} frames are in one scene, splits are {splits}"
            self.log.add("SPLIT006", name, what)

    def _code(self, name: str) -> int:
        return self.names.setdefault(name, len(self.names))

    def _find_shared(
        self, table: dict[str, NDArray[np.int64]], column: str, rule_id: str, words: str
    ) -> NDArray[np.bool_]:
        """Report values of a column that occur in several splits; return the rows that hold one."""
        names = list(self.names)
        value, split = table[column], table["split"]
        useful = value != 0 if column != "scene" else np.ones(len(value), dtype=bool)
        pairs, counts = np.unique(
            np.stack([value[useful], split[useful]]), axis=1, return_counts=True
        )
        repeated, times = np.unique(pairs[0], return_counts=True)
        shared = repeated[times > 1]
        if len(shared) > MAX_KEPT_PER_RULE:
            self.log.counts[rule_id] += len(shared) - MAX_KEPT_PER_RULE
        for one in shared[:MAX_KEPT_PER_RULE]:
            mine = pairs[0] == one
            parts = [f"{names[pairs[1, i]]} ({counts[i]})" for i in np.flatnonzero(mine)]
            if column == "scene":
                where = names[one]
            else:
                numbers = table["number"][value == one]
                where = "frames " + ", ".join(str(number) for number in numbers[:4])
            self.log.add(rule_id, where, f"{words} {' and '.join(parts)}")
        return useful & np.isin(value, shared)

    def _find_same_place(self, table: dict[str, NDArray[np.int64]], fresh: Rows) -> None:
        """Report frames of one log in other scenes and splits, within a metre and ten seconds."""
        poses = np.array(self.poses).reshape(-1, 3)
        rows = fresh[np.isfinite(poses[fresh]).all(axis=1)]
        log, scene, split, time_ns = (
            table[name][rows] for name in ("log", "scene", "split", "time_ns")
        )
        x, y, heading = poses[rows].T

        def are_near(one: Rows, other: Rows) -> NDArray[np.bool_]:
            near = np.hypot(x[one] - x[other], y[one] - y[other]) < SAME_PLACE_M
            turn = np.abs((heading[one] - heading[other] + np.pi) % (2 * np.pi) - np.pi)
            near &= turn < SAME_HEADING_RAD
            near &= np.abs(time_ns[one] - time_ns[other]) < SAME_TIME_NS
            return np.asarray(near & (scene[one] != scene[other]))

        place = np.floor(np.column_stack([x, y]) / SAME_PLACE_M).astype(np.int64)
        cell = np.column_stack([place, time_ns // SAME_TIME_NS])
        names = list(self.names)
        found: dict[tuple[int, int], tuple[int, int]] = {}
        for one, other in near_across_splits(log, cell, split, are_near):
            found.setdefault((int(scene[one]), int(scene[other])), (one, other))
        for one, other in found.values():
            scenes = f"{names[scene[one]]} and {names[scene[other]]}"
            distance = math.hypot(x[one] - x[other], y[one] - y[other])
            splits = f"{names[split[one]]} and {names[split[other]]}"
            self.log.add("SPLIT003", scenes, f"poses {distance:.2f} m apart are in {splits}")


def _fingerprint(frame: Frame) -> int:
    boxes = frame.boxes
    if boxes is None or len(boxes) < MIN_BOXES_OF_COPY:
        return 0
    rounded = np.round(boxes.center_m, 3) + 0.0
    return _to_int(rounded[np.argsort(rounded[:, 0], kind="stable")].tobytes())


def _to_int(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "big", signed=True) or 1
