"""The KFP component of the step `train`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("train"), install_kfp_package=False)
def train(
    config: dict,
    dataset: Input[Dataset],
    model: Output[Model],
) -> None:
    """Train a detector on a dataset version.

    Args:
        config: the fields of TrainConfig.
        dataset: a dataset version in the lake, as a reference.
        model: weights and settings of a detector.
    """
    from admlops.steps.component import run_component

    run_component(
        "train",
        config,
        inputs={"dataset": dataset},
        outputs={"model": model},
    )
