"""Sizes and shapes that are unlike those of the category in the delivery: ANNO044."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from admlops.annotation.acceptance_config import OutlierLimits
from admlops.annotation.acceptance_defects import Defect, box_defect
from admlops.annotation.acceptance_frames import DeliveredFrame, TableT

_LEAST_DEVIATION = 0.1
"""Standard deviation of logarithms, about a tenth of the value: smaller differences are usual."""
_NORMAL_MAD = 1.4826
"""Standard deviation of a normal distribution by its median absolute deviation."""


def find_outliers(
    frames: Sequence[DeliveredFrame[TableT]],
    measures: Sequence[Mapping[str, NDArray[np.float64]]],
    limits: OutlierLimits,
) -> Iterator[Defect]:
    """Yield the boxes that are unlike most of their category.

    Args:
        frames: what was delivered.
        measures: of each frame, by what is measured, (N,) positive numbers; NaN for boxes that are
            not judged.
        limits: from which numbers on.
    """
    places = [(number, row) for number, item in enumerate(frames) for row in range(len(item.boxes))]
    category = np.array([frames[number].boxes.category[row] for number, row in places], object)
    told = np.zeros(len(places), dtype=np.bool_)
    for name in measures[0] if measures else ():
        values = np.concatenate([item[name] for item in measures])
        for kind in sorted(set(category)):
            rows = np.flatnonzero((category == kind) & np.isfinite(values) & ~told)
            if len(rows) < limits.min_boxes:
                continue
            deviation = robust_deviations(np.log(values[rows]))
            usual = float(np.median(values[rows]))
            for row in rows[np.abs(deviation) > limits.max_deviations].tolist():
                told[row] = True
                frame, own = frames[places[row][0]], places[row][1]
                what = f"{name} {values[row]:.3g} of a {kind}, usually {usual:.3g}"
                found = box_defect("ANNO044", frame.boxes, own, what)
                yield found.replace(frame_id=frame.frame_id, box=int(frame.index[own]))


def robust_deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (N,) how many standard deviations values are from the median; outliers do not count.

    Source: median absolute deviation; Rousseeuw and Croux, 1993.
    """
    apart = values - np.median(values)
    deviation = max(_NORMAL_MAD * float(np.median(np.abs(apart))), _LEAST_DEVIATION)
    return np.asarray(apart / deviation)
