"""INT8 networks by post-training quantisation with NNCF."""

import logging
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from admlops.detection.backends import without_usage_reports
from admlops.errors import DataError

_ENCODER_OPERATIONS = ("ScatterElementsUpdate", "ScatterNDUpdate", "MatMul")
"""Kept in floating point: the encoder's inputs are coordinates in metres."""


def quantize(model: Any, calibration: Sequence[dict[str, NDArray[Any]]]) -> Any:  # noqa: ANN401
    """Return an OpenVINO model in which convolutions run in INT8.

    Args:
        model: the floating-point OpenVINO model.
        calibration: network inputs of real frames; 16 to 300 are usual.

    Raises:
        DataError: there are no calibration frames.
    """
    if not calibration:
        raise DataError("build: INT8 needs calibration frames; give the step a dataset")
    with without_usage_reports():
        import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    present = {operation.get_type_name() for operation in model.get_ops()}
    return nncf.quantize(
        model,
        nncf.Dataset(list(calibration)),
        subset_size=len(calibration),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(
            types=[name for name in _ENCODER_OPERATIONS if name in present]
        ),
    )
