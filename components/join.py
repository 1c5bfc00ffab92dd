"""The KFP component of the step `join`."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("join"), install_kfp_package=False)
def join(
    config: dict,
    predictions: Input[list[Artifact]],
    joined: Output[Artifact],
) -> None:
    """Put the predictions of shards together.

    Args:
        config: the fields of JoinConfig.
        predictions: detected boxes per frame, of every shard.
        joined: detected boxes per frame, of all shards.
    """
    from admlops.steps.component import run_component

    run_component("join", config, inputs={"predictions": predictions}, outputs={"joined": joined})
