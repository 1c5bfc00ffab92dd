"""Triton's Python backend around one stage. Copied into a release as each model's ``model.py``.

Runs with the release's own copy of the source and in Triton's interpreter, never in admlops.
"""

import os
import sys
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

RELEASE = Path(__file__).resolve().parents[3]
SOURCE_VARIABLE = "ADMLOPS_RELEASE_SOURCE"
"""Names a copy of the release's source elsewhere, so that compiled code is kept between starts."""


class TritonPythonModel:
    """One stage, as the backend wants it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the stage that has the model's name, and warm it up."""
        sys.path.insert(0, os.environ.get(SOURCE_VARIABLE, str(RELEASE / "source")))
        from admlops.serving.stages import load_stage

        self._stage = load_stage(args["model_name"], RELEASE)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer each request; bad input becomes that request's error."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:  # noqa: ANN401 - the backend's own types
        from admlops.errors import AdmlopsError

        inputs = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
        try:
            outputs = self._stage(inputs)
        except AdmlopsError as error:
            return pb_utils.InferenceResponse([], pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor(name, array) for name, array in outputs.items()]
        return pb_utils.InferenceResponse(tensors)
