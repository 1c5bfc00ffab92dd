"""The KFP component of the step `collect`."""

from kfp import dsl
from kfp.dsl import Artifact, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("collect"), install_kfp_package=False)
def collect(
    config: dict,
    source: Output[Artifact],
) -> None:
    """Simulate drives, fetch an open dataset, or register a folder.

    Args:
        config: the fields of CollectConfig.
        source: the folder of raw data, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "collect",
        config,
        inputs={},
        outputs={"source": source},
    )
