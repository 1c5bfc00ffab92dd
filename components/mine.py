"""The KFP component of the step `mine`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("mine"), install_kfp_package=False)
def mine(
    config: dict,
    dataset: Input[Dataset],
    predictions: Input[Artifact],
    request: Output[Artifact],
    evaluation: Input[Artifact] = None,
    judged: Input[Artifact] = None,
    rivals: Input[Artifact] = None,
) -> None:
    """Pick the unlabelled frames that are worth labelling next.

    Args:
        config: the fields of MineConfig.
        dataset: a dataset version in the lake, as a reference.
        predictions: detected boxes per frame.
        evaluation: scores, slices, curves and failures.
        judged: detected boxes per labelled frame, of the same model.
        rivals: detected boxes per frame, of other models.
        request: the frames to label, with reasons.
    """
    from admlops.steps.component import run_component

    run_component(
        "mine",
        config,
        inputs={
            "dataset": dataset,
            "predictions": predictions,
            "evaluation": evaluation,
            "judged": judged,
            "rivals": rivals,
        },
        outputs={"request": request},
    )
