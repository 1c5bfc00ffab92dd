"""A scene: objects on a road, how they move, and what surrounds them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.simulation.config import SceneGroup, SplitName, WorldConfig
from admlops.simulation.road import LANE_WIDTH_M, PAVEMENT_WIDTH_M, Road, draw_road
from admlops.simulation.shapes import build_object, build_static, draw_size_m
from admlops.simulation.solids import Solids

_SPLIT_NUMBER: dict[SplitName, int] = {"train": 0, "val": 1, "pool": 2}
_NUM_TRIES = 12


@dataclass(frozen=True, slots=True)
class Track:
    """One object's way through a scene, in road positions.

    Attributes:
        category: label, or "" for what is never labelled.
        size_m: length, width, height; of statics only what keeps others away.
        along_m: position at the scene's start.
        left_m: offset from the middle line then.
        heading_rad: direction of its front relative to the road's.
        speed_along_mps: change of `along_m`.
        speed_left_mps: change of `left_m`.
    """

    category: str
    size_m: tuple[float, float, float]
    along_m: float
    left_m: float
    heading_rad: float
    speed_along_mps: float = 0.0
    speed_left_mps: float = 0.0


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene, ready to be seen at any time.

    Attributes:
        name: for example "train-003".
        split: "train", "val" or "pool".
        times_s: (F,) times of the key frames.
        tags: conditions, sorted.
        road: the ground everything stands on.
        ego: the recording vehicle.
        tracks: every other object.
        solids: their shapes, each in its object's own frame; owners index `tracks`.
    """

    name: str
    split: SplitName
    times_s: NDArray[np.float64]
    tags: tuple[str, ...]
    road: Road
    ego: Track
    tracks: tuple[Track, ...]
    solids: Solids

    def place(
        self, tracks: tuple[Track, ...], time_s: float
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return (N, 3) positions and (N,) yaws of tracks in the scene's frame."""
        rows = np.array(
            [
                (t.along_m, t.left_m, t.heading_rad, t.speed_along_mps, t.speed_left_mps)
                for t in tracks
            ]
        ).reshape(-1, 5)
        position, heading = self.road.place(
            rows[:, 0] + time_s * rows[:, 3], rows[:, 1] + time_s * rows[:, 4]
        )
        return position, heading + rows[:, 2]


def build_scene(config: WorldConfig, split: SplitName, index: int) -> Scene:
    """Return scene number `index` of a split; equal arguments give equal scenes."""
    random = np.random.default_rng([config.seed, _SPLIT_NUMBER[split], index])
    group = config.group(split)
    times = config.keyframe_interval_s * np.arange(group.frames_per_scene, dtype=np.float64)
    road = draw_road(random)
    crew = _Crew(random, road, times, config.lidar.max_range_m)
    crew.add_traffic(group)
    crew.add_people(group)
    crew.add_surroundings(group)
    return Scene(
        name=f"{split}-{index:03d}",
        split=split,
        times_s=times,
        tags=scene_tags(config, split, index),
        road=road,
        ego=crew.ego,
        tracks=tuple(crew.tracks),
        solids=Solids.concatenate(crew.solids),
    )


def scene_tags(config: WorldConfig, split: SplitName, index: int) -> tuple[str, ...]:
    """Return a scene's conditions; over a split they meet the configured shares."""
    group = config.group(split)
    random = np.random.default_rng([config.seed, _SPLIT_NUMBER[split], 2**31])
    tags = []
    for tag, share in (("rain", group.rain_share), ("night", group.night_share)):
        chosen = random.permutation(group.num_scenes)[: round(share * group.num_scenes)]
        if index in chosen:
            tags.append(tag)
    return tuple(sorted(tags)) or ("clear",)


@dataclass
class _Crew:
    """Adds objects to a scene one by one; none ever touches another at a key frame."""

    random: np.random.Generator
    road: Road
    times_s: NDArray[np.float64]
    view_m: float
    tracks: list[Track] = field(default_factory=list)
    solids: list[Solids] = field(default_factory=list)
    ego: Track = field(init=False)
    crossing_m: float = field(init=False)
    _paths: list[NDArray[np.float64]] = field(default_factory=list)

    def __post_init__(self) -> None:
        speed = 0.0 if self.random.random() < 0.1 else self.random.uniform(4, 13)
        lane = -(self.random.integers(self.road.num_lanes) + 0.5) * LANE_WIDTH_M
        self.ego = Track("", (12.0, 1.8, 1.6), 0.0, float(lane), 0.0, float(speed))
        self._paths.append(self._path(self.ego))
        has_crossing = self.random.random() < 0.45
        self.crossing_m = self.random.uniform(15, self.stretch[1]) if has_crossing else -1e9

    @property
    def stretch(self) -> tuple[float, float]:
        """First and last position along the road that may be seen."""
        return -15.0, float(self.ego.speed_along_mps * self.times_s[-1] + self.view_m + 5.0)

    def number(self, per_100_m: float) -> int:
        first, last = self.stretch
        return int(self.random.poisson(per_100_m * (last - first) / 100.0))

    def add_traffic(self, group: SceneGroup) -> None:
        lanes = self._lanes()
        flow = {"car": group.rates.car, "van": group.rates.van, "truck": group.rates.truck}
        for category, rate in flow.items():
            for _ in range(self.number(rate)):
                self._try(lambda category=category: self._driver(category, lanes))
        for _ in range(self.number(group.rates.parked_car)):
            self._try(self._parked)
        for _ in range(self.number(group.rates.cyclist)):
            self._try(self._cyclist)

    def add_people(self, group: SceneGroup) -> None:
        for _ in range(self.number(group.rates.pedestrian)):
            self._try(self._pedestrian)

    def add_surroundings(self, group: SceneGroup) -> None:
        edge = self.road.kerb_m + PAVEMENT_WIDTH_M
        for kind, rate, near, far in (
            ("pole", 5.0, self.road.kerb_m + 0.4, self.road.kerb_m + 0.8),
            ("clutter", group.rates.clutter, self.road.kerb_m + 0.8, edge + 2.0),
            ("building", 8.0, edge + 7.0, edge + 14.0),
            ("wall", 3.0, edge + 0.5, edge + 4.0),
            ("tree", 5.0, edge + 0.5, edge + 6.0),
        ):
            for _ in range(self.number(rate)):
                self._add_static(kind, near, far)

    def _lanes(self) -> list[tuple[float, float, float]]:
        """Return left offset, heading and speed of each lane; a lane's traffic keeps its speed."""
        lanes = []
        for number in range(self.road.num_lanes):
            offset = (number + 0.5) * LANE_WIDTH_M
            oncoming = 0.0 if self.random.random() < 0.2 else self.random.uniform(4, 14)
            same = self.ego.speed_along_mps * self.random.uniform(0.8, 1.15)
            if abs(offset + self.ego.left_m) < 0.1:
                same = self.ego.speed_along_mps
            lanes += [(offset, np.pi, -oncoming), (-offset, 0.0, same)]
        return lanes

    def _driver(self, category: str, lanes: list[tuple[float, float, float]]) -> Track:
        size = draw_size_m(category, self.random)
        first, last = self.stretch
        if self.crossing_m > 0 and self.random.random() < 0.35:
            return self._crosser(category, size)
        offset, heading, speed = lanes[self.random.integers(len(lanes))]
        travel = -speed * float(self.times_s[-1])
        along = self.random.uniform(first + min(travel, 0.0), last + max(travel, 0.0))
        left = offset + self.random.normal(0, 0.2)
        return Track(
            category, size, along, left, heading + self.random.normal(0, 0.02), float(speed)
        )

    def _crosser(self, category: str, size: tuple[float, float, float]) -> Track:
        side = self.random.choice([-1.0, 1.0])
        along = self.crossing_m + side * 0.5 * LANE_WIDTH_M + self.random.normal(0, 0.2)
        waits = self.random.random() < 0.6
        speed = 0.0 if waits else self.random.uniform(2, 7)
        left = side * (self.road.kerb_m + self.random.uniform(1.5, 22))
        heading = -side * np.pi / 2 + self.random.normal(0, 0.1)
        return Track(category, size, along, left, heading, 0.0, -side * speed)

    def _parked(self) -> Track:
        side = self.random.choice([-1.0, 1.0])
        first, last = self.stretch
        heading = (0.0 if side < 0 else np.pi) + np.pi * (self.random.random() < 0.15)
        left = side * (self.road.kerb_m - 1.15 + self.random.normal(0, 0.12))
        heading += self.random.normal(0, 0.04)
        return Track(
            "car", draw_size_m("car", self.random), self.random.uniform(first, last), left, heading
        )

    def _cyclist(self) -> Track:
        side = self.random.choice([-1.0, 1.0])
        first, last = self.stretch
        speed = -side * self.random.uniform(2.5, 6.5)
        left = side * (self.road.num_lanes * LANE_WIDTH_M - 0.25 + self.random.normal(0, 0.15))
        heading = (0.0 if side < 0 else np.pi) + self.random.normal(0, 0.05)
        along = self.random.uniform(first, last) - speed * self.random.uniform(0, self.times_s[-1])
        return Track("cyclist", draw_size_m("cyclist", self.random), along, left, heading, speed)

    def _pedestrian(self) -> Track:
        side = self.random.choice([-1.0, 1.0])
        size = draw_size_m("pedestrian", self.random)
        along = self.random.uniform(*self.stretch)
        pace = self.random.uniform(0.7, 1.7) * (self.random.random() < 0.8)
        left = side * (self.road.kerb_m + self.random.uniform(0.3, PAVEMENT_WIDTH_M))
        if self.random.random() < 0.2:
            heading = -side * np.pi / 2
            return Track("pedestrian", size, along, left, heading, 0.0, -side * pace)
        way = self.random.choice([-1.0, 1.0])
        heading = (0.0 if way > 0 else np.pi) + self.random.normal(0, 0.25)
        if pace == 0.0:
            heading = self.random.uniform(-np.pi, np.pi)
        return Track("pedestrian", size, along, left, heading, way * pace)

    def _add_static(self, kind: str, near_m: float, far_m: float) -> None:
        solids = build_static(kind, self.random)
        length, width = 2 * solids.table[0, 4], 2 * solids.table[0, 5]
        for _ in range(_NUM_TRIES):
            side = self.random.choice([-1.0, 1.0])
            along = self.random.uniform(*self.stretch)
            left = side * (self.random.uniform(near_m, far_m) + (kind == "building") * 1.0)
            is_in_side_road = abs(along - self.crossing_m) < 5.0 + length / 2
            track = Track("", (length, width, 1.0), along, left, 0.0)
            if not is_in_side_road and self._is_free(track):
                self._accept(track, solids)
                return

    def _try(self, draw) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        for _ in range(_NUM_TRIES):
            track = draw()
            if self._is_free(track):
                self._accept(track, build_object(track.category, track.size_m, self.random))
                return

    def _accept(self, track: Track, solids: Solids) -> None:
        self.tracks.append(track)
        self.solids.append(solids)
        self._paths.append(self._path(track))

    def _path(self, track: Track) -> NDArray[np.float64]:
        """Return (F, 4): along, left and half extents on the two axes at each key frame."""
        along = track.along_m + track.speed_along_mps * self.times_s
        left = track.left_m + track.speed_left_mps * self.times_s
        cosine, sine = abs(np.cos(track.heading_rad)), abs(np.sin(track.heading_rad))
        length, width, _ = track.size_m
        half_along = np.full_like(along, (length * cosine + width * sine) / 2)
        half_left = np.full_like(along, (length * sine + width * cosine) / 2)
        return np.column_stack([along, left, half_along, half_left])

    def _is_free(self, track: Track) -> bool:
        path = self._path(track)
        others = np.stack(self._paths)
        gap = np.abs(others[..., :2] - path[:, :2]) - others[..., 2:] - path[:, 2:]
        touches = (gap[..., 0] < 0.5) & (gap[..., 1] < 0.15)
        return not touches.any()
