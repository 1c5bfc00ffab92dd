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
) -> None:
    """Fulfil a label request; make a new dataset version.

    Args:
        config: the fields of AnnotateConfig.
        dataset: a dataset version in the lake, as a reference.
        request: the frames to label, with reasons.
        labelled: the dataset version with the new labels, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "annotate",
        config,
        inputs={"dataset": dataset, "request": request},
        outputs={"labelled": labelled},
    )
