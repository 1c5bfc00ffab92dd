"""Names of the container images that components run in; the only place that knows them."""

import os
from importlib.metadata import version

from admlops.steps.step import STEPS

DEFAULT_REGISTRY = "registry.example.com/admlops"


def image_for(word: str) -> str:
    """Return the image of a step's component.

    ``ADMLOPS_IMAGE_DATA`` (``_TRAIN``, ``_EXPORT``) names one image outright;
    ``ADMLOPS_REGISTRY`` replaces the registry. The tag is the installed version, never "latest".
    """
    stage = STEPS[word].stage
    override = os.environ.get(f"ADMLOPS_IMAGE_{stage.upper()}")
    if override:
        return override
    registry = os.environ.get("ADMLOPS_REGISTRY", DEFAULT_REGISTRY)
    return f"{registry}/admlops-{stage}-python:{version('admlops')}"
