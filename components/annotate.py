"""The KFP component of the step `annotate`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("annotate"), install_kfp_package=False)
def annotate(
    config: dict,
    dataset: Input[Dataset],
    request: Input[Artifact],
    labelled: Output[Dataset],
    acceptance: Output[Artifact],
    predictions: Input[Artifact] = None,
    earlier: Input[Artifact] = None,
) -> bool:
    """Fulfil a label request; make a new dataset version.

    Args:
        config: the fields of AnnotateConfig.
        dataset: a dataset version in the lake, as a reference.
        request: the frames to label, with reasons.
        predictions: boxes that a vendor starts from.
        earlier: the judgement of an earlier delivery; after an accepted one nothing is asked.
        labelled: the dataset version with the new labels, as a reference.
        acceptance: the judgement of a delivery, as JSON and as a page.

    Returns:
        Whether the labels were accepted; where not, the dataset is as it was.
    """
    from admlops.steps.component import run_component

    scores = run_component(
        "annotate",
        config,
        inputs={
            "dataset": dataset,
            "request": request,
            "predictions": predictions,
            "earlier": earlier,
        },
        outputs={"labelled": labelled, "acceptance": acceptance},
    )
    return scores["accepted"] > 0
