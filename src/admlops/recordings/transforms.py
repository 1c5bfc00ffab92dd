"""The tree of coordinate frames of a vehicle, with transforms that hold for ever or for a time."""

from array import array
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.errors import DataError
from admlops.geometry.pose import invert, make_transform, rotation_from_quaternion
from admlops.geometry.trajectory import Trajectory
from admlops.recordings.events import StampedTransform

_MAX_DEPTH = 64


@dataclass(slots=True)
class PoseList:
    """Poses of one frame as they come in."""

    times_ns: "array[int]" = field(default_factory=lambda: array("q"))
    values: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, item: StampedTransform) -> None:
        """Take one pose."""
        self.times_ns.append(item.stamp_ns)
        self.values.extend(item.translation_m)
        self.values.extend(item.quaternion_wxyz)

    def trajectory(self) -> Trajectory:
        """Return the poses in the order of their times."""
        rows = np.array(self.values).reshape(-1, 7)
        return Trajectory.make(np.array(self.times_ns), rows[:, :3], rows[:, 3:])


@dataclass(slots=True)
class TransformTree:
    """Frames by their parents, filled while a recording is read.

    Attributes:
        static: parent and (4, 4) pose of every frame that never moves in its parent.
        parents: parent of every frame that moves.
    """

    static: dict[str, tuple[str, NDArray[np.float64]]] = field(default_factory=dict)
    parents: dict[str, str] = field(default_factory=dict)
    _poses: dict[str, PoseList] = field(default_factory=dict)
    _ready: dict[str, Trajectory] = field(default_factory=dict)

    def add(self, item: StampedTransform, is_static: bool) -> None:
        """Take one transform; a later static one replaces an earlier."""
        if is_static:
            rotation = rotation_from_quaternion(item.quaternion_wxyz)
            self.static[item.child] = (item.parent, make_transform(rotation, item.translation_m))
            return
        self.parents[item.child] = item.parent
        self._poses.setdefault(item.child, PoseList()).add(item)
        self._ready.pop(item.child, None)

    @property
    def frames(self) -> set[str]:
        """Names of all frames."""
        children = self.static.keys() | self.parents.keys()
        return children | set(self.parents.values()) | {name for name, _ in self.static.values()}

    def trajectory(self, child: str) -> Trajectory:
        """Return the way of a moving frame in its parent."""
        if child not in self._ready:
            self._ready[child] = self._poses[child].trajectory()
        return self._ready[child]

    def transform(self, target: str, source: str, time_ns: int) -> NDArray[np.float64]:
        """Return the (4, 4) `target_from_source` at a time, interpolated where frames move.

        Raises:
            DataError: the frames are not connected.
        """
        root_from_target = self._way_up(target)
        root_from_source = self._way_up(source)
        shared = [name for name in root_from_target if name in root_from_source]
        if not shared:
            known = ", ".join(sorted(self.frames)) or "none"
            raise DataError(f"frames {target!r} and {source!r} are not connected; known: {known}")
        top_from_target = self._down(root_from_target, shared[0], time_ns)
        top_from_source = self._down(root_from_source, shared[0], time_ns)
        return invert(top_from_target) @ top_from_source

    def moving_links(self, target: str, source: str) -> list[str]:
        """Return the frames between two that move in their parents."""
        above, below = self._way_up(target), self._way_up(source)
        return [name for name in {*above} ^ {*below} if self._is_moving(name)]

    def _is_moving(self, name: str) -> bool:
        return name in self.parents and name not in self.static

    def _way_up(self, name: str) -> list[str]:
        way = [name]
        while (parent := self._parent(way[-1])) is not None:
            if parent in way or len(way) > _MAX_DEPTH:
                raise DataError(f"the frames above {name!r} form a circle: {', '.join(way)}")
            way.append(parent)
        return way

    def _parent(self, name: str) -> str | None:
        return self.static[name][0] if name in self.static else self.parents.get(name)

    def _down(self, way: list[str], top: str, time_ns: int) -> NDArray[np.float64]:
        """Return `top_from_first` along a way that leads up from its first frame."""
        total = np.eye(4)
        for name in way[: way.index(top)]:
            if self._is_moving(name):
                parent_from_child = self.trajectory(name).at(time_ns)
            else:
                parent_from_child = self.static[name][1]
            total = parent_from_child @ total
        return total
