"""How far a runtime's answers are from torch's, in numbers and in boxes, and how long they take."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.config import Config
from admlops.detection.config import PillarDetectorConfig
from admlops.detection.decode import decode
from admlops.detection.predictor import Network
from admlops.detection.voxelization import Voxelizer
from admlops.geometry.boxes import iou_bev
from admlops.structures.boxes import Boxes

MATCH_IOU = 0.7
"""Overlap in BEV from which a box counts as the same one."""

Outputs = Mapping[str, NDArray[np.float32]]


class OutputDifference(Config):
    """How one output differs from torch's, over all frames."""

    max_abs: float
    """Largest absolute difference."""
    mean_abs: float
    """Mean absolute difference."""


class Latency(Config):
    """How long one stage takes."""

    p50_ms: float
    """Median."""
    p99_ms: float
    """99th percentile."""


class RungReport(Config):
    """One rung of the ladder: a runtime in one precision, against torch."""

    name: str
    """Runtime and precision, for example "openvino_bf16"."""
    outputs: dict[str, OutputDifference]
    """Difference of each output of the network."""
    num_boxes: int
    """Boxes found in all frames."""
    match_rate: float
    """Share of boxes, torch's and the rung's, that have a partner on the other side."""
    latency: dict[str, Latency]
    """Voxelise, network, decode, and the whole: points to boxes."""

    @property
    def max_abs(self) -> float:
        """Return the largest difference of any output."""
        return max((output.max_abs for output in self.outputs.values()), default=0.0)


@dataclass(slots=True)
class _Sums:
    """Running figures of one output."""

    largest: float = 0.0
    total: float = 0.0
    count: int = 0


@dataclass(slots=True)
class Rung:
    """Runs one network on frame after frame and keeps figures.

    Attributes:
        name: runtime and precision.
        network: what runs.
        boxes: what was found, frame by frame.
    """

    name: str
    network: Network
    boxes: list[Boxes] = field(default_factory=list)
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _times_ms: list[tuple[float, float, float]] = field(default_factory=list)

    def run(
        self,
        points_in_ego: NDArray[np.float32],
        voxelizer: Voxelizer,
        config: PillarDetectorConfig,
    ) -> Outputs:
        """Detect in one cloud, keep boxes and times; return the outputs, empty for no pillars."""
        start = time.perf_counter()
        pillars = voxelizer(points_in_ego)
        voxelized = time.perf_counter()
        if len(pillars) == 0:
            self.boxes.append(Boxes.empty())
            return {}
        outputs = self.network(pillars.as_inputs())
        computed = time.perf_counter()
        self.boxes.append(decode(outputs, config))
        end = time.perf_counter()
        times = (voxelized - start, computed - voxelized, end - computed)
        self._times_ms.append((times[0] * 1e3, times[1] * 1e3, times[2] * 1e3))
        return outputs

    def compare(self, outputs: Outputs, reference: Outputs) -> None:
        """Add the differences of one frame's outputs."""
        for name, expected in reference.items():
            difference = np.abs(outputs[name] - expected)
            sums = self._sums.setdefault(name, _Sums())
            sums.largest = max(sums.largest, float(difference.max(initial=0.0)))
            sums.total += float(difference.sum(dtype=np.float64))
            sums.count += difference.size

    def report(self, reference: "Rung") -> RungReport:
        """Return the figures against the reference, which ran on the same frames."""
        return RungReport(
            name=self.name,
            outputs={
                name: OutputDifference(max_abs=s.largest, mean_abs=s.total / max(s.count, 1))
                for name, s in self._sums.items()
            },
            num_boxes=sum(len(boxes) for boxes in self.boxes),
            match_rate=match_rate(reference.boxes, self.boxes),
            latency=self._latency(),
        )

    def _latency(self) -> dict[str, Latency]:
        if not self._times_ms:
            return {}
        times = np.array(self._times_ms)
        columns = {
            "voxelize": times[:, 0],
            "network": times[:, 1],
            "decode": times[:, 2],
            "points_to_boxes": times.sum(axis=1),
        }
        return {
            name: Latency(
                p50_ms=float(np.percentile(column, 50)), p99_ms=float(np.percentile(column, 99))
            )
            for name, column in columns.items()
        }


@dataclass(frozen=True, slots=True)
class Ladder:
    """Torch first, then the runtimes, all on the same clouds.

    Attributes:
        config: of the detector.
        reference: torch.
        rungs: the runtimes.
    """

    config: PillarDetectorConfig
    reference: Rung
    rungs: tuple[Rung, ...]

    def warm_up(self, points_in_ego: NDArray[np.float32]) -> None:
        """Run everything once, so that compiling is not measured."""
        voxelizer = Voxelizer(self.config)
        inputs = voxelizer(points_in_ego).copy().as_inputs()
        if len(inputs[next(iter(inputs))]):
            for rung in (self.reference, *self.rungs):
                decode(rung.network(inputs), self.config)

    def climb(self, clouds: Iterable[NDArray[np.float32]]) -> tuple[RungReport, ...]:
        """Run every rung on every cloud in the ego frame; return torch's report and theirs."""
        voxelizer = Voxelizer(self.config)
        for points in clouds:
            expected = self.reference.run(points, voxelizer, self.config)
            expected = {name: array.copy() for name, array in expected.items()}
            self.reference.compare(expected, expected)
            for rung in self.rungs:
                rung.compare(rung.run(points, voxelizer, self.config), expected)
        return tuple(rung.report(self.reference) for rung in (self.reference, *self.rungs))


def match_rate(first: list[Boxes], second: list[Boxes]) -> float:
    """Return the share of boxes on both sides with a partner of the same category on the other.

    1.0 where neither side has a box.
    """
    matched, total = 0, 0
    for one, other in zip(first, second, strict=True):
        total += len(one) + len(other)
        if len(one) and len(other):
            same = one.category[:, None] == other.category[None, :]
            near = (iou_bev(one.as_7(), other.as_7()) >= MATCH_IOU) & same.astype(np.bool_)
            matched += int(near.any(axis=1).sum()) + int(near.any(axis=0).sum())
    return matched / total if total else 1.0
