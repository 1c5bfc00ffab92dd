"""Rules on lidar points: FRAME001 to FRAME007."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from admlops.checks.findings import FindingLog
from admlops.checks.units import UNITS_PER_METRE, ground_mode, name_point_unit
from admlops.structures.frame import Frame, LidarSweep

INTENSITY_SCALES = (255.0, 100.0, 4095.0, 65535.0)
GROUND_TOLERANCE_M = 0.5
NEAR_M = 20.0
FEW_POINTS_SHARE = 0.1


@dataclass(slots=True)
class CloudCheck:
    """Checks the sweeps of sampled frames, one after the other.

    Attributes:
        log: where findings go.
        num_points: per frame key, points of the sweep.
        ground_m: the height of the ground near the vehicle, one per frame.
        units: the unit of the points, one per frame.
    """

    log: FindingLog
    num_points: dict[str, int] = field(default_factory=dict)
    ground_m: list[float] = field(default_factory=list)
    units: list[str] = field(default_factory=list)

    def look(self, frame: Frame) -> NDArray[np.float32]:
        """Check one frame; return its finite points (P, 4) in the ego frame, in metres."""
        where = str(frame.key)
        sweep = frame.lidar
        if sweep is None or len(sweep.points) == 0:
            self.log.add("FRAME001", where, "no lidar sweep" if sweep is None else "0 points")
            return np.empty((0, 4), dtype=np.float32)
        self.num_points[where] = len(sweep.points)
        finite = np.asarray(np.isfinite(sweep.points).all(axis=1))
        if not finite.all():
            lost = int((~finite).sum())
            what = f"{lost} of {len(finite)} points hold NaN or infinity"
            self.log.add("FRAME002", where, what)
        sweep = LidarSweep(sweep.sensor, sweep.points[finite])
        if len(sweep.points) == 0:
            return np.empty((0, 4), dtype=np.float32)
        self._look_at_intensity(sweep.points[:, 3], where)
        return self._look_at_unit(sweep, where)

    def finish(self) -> None:
        """Add what only all frames together tell."""
        if self.ground_m:
            ground = float(np.median(self.ground_m))
            if abs(ground) > GROUND_TOLERANCE_M:
                frames = f"median of {len(self.ground_m)} frames"
                what = f"the ground lies at z = {ground:+.2f} m ({frames})"
                self.log.add("FRAME006", "ego_from_sensor of the lidar", what)
        if len(self.num_points) >= 3:
            usual = float(np.median(list(self.num_points.values())))
            for where, count in self.num_points.items():
                if count < FEW_POINTS_SHARE * usual:
                    self.log.add("FRAME007", where, f"{count} points, {usual:.0f} are usual")

    def _look_at_intensity(self, intensity: NDArray[np.float32], where: str) -> None:
        low, high = float(intensity.min()), float(intensity.max())
        if high > 1.0 or low < 0.0:
            what = f"intensity reaches from {low:.3g} to {high:.3g}"
            scale = next((s for s in INTENSITY_SCALES if high <= s), None)
            if scale is not None and low >= 0.0:
                what += f", so its full scale is likely {scale:.0f}"
            self.log.add("FRAME003", where, what)
        elif high - low < 1e-6:
            self.log.add("FRAME004", where, f"every point has intensity {low:.3g}")
        elif high <= 1.0 / 200.0:
            what = f"intensity ends at {high:.4f}: it was likely divided by 255 twice"
            self.log.add("FRAME003", where, what)

    def _look_at_unit(self, sweep: LidarSweep, where: str) -> NDArray[np.float32]:
        pose = sweep.sensor.ego_from_sensor
        unit = name_point_unit(sweep.points, float(pose[2, 3]))
        self.units.append(unit)
        points = sweep.points.copy()
        if unit != "metres":
            points[:, :3] /= UNITS_PER_METRE[unit]
            reach = float(np.hypot(sweep.points[:, 0], sweep.points[:, 1]).max())
            factor = 1.0 / UNITS_PER_METRE[unit]
            what = f"the farthest point is at {reach:.0f}; points are in {unit}: times {factor:.4g}"
            self.log.add("FRAME005", where, what)
        matrix = pose.astype(np.float32)
        points[:, :3] = points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
        near = points[np.hypot(points[:, 0], points[:, 1]) < NEAR_M]
        if unit == "metres" and len(near) >= 100:
            self.ground_m.append(ground_mode(near))
        return points
