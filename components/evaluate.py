"""The KFP component of the step `evaluate`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("evaluate"), install_kfp_package=False)
def evaluate(
    config: dict,
    labels: Input[Dataset],
    predictions: Input[Artifact],
    evaluation: Output[Artifact],
) -> None:
    """Score predictions against labels, with slices.

    Args:
        config: the fields of EvaluateConfig.
        labels: the dataset version that holds the labels.
        predictions: detected boxes per frame.
        evaluation: scores, slices, curves and failures.
    """
    from admlops.steps.component import run_component

    run_component(
        "evaluate",
        config,
        inputs={"labels": labels, "predictions": predictions},
        outputs={"evaluation": evaluation},
    )
