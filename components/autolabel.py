"""The KFP component of the step `autolabel`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("autolabel"), install_kfp_package=False)
def autolabel(
    config: dict,
    dataset: Input[Dataset],
    predictions: Input[Artifact],
    prelabels: Output[Artifact],
    request: Output[Artifact],
    labelled: Output[Dataset],
    rivals: Input[Artifact] = None,
) -> None:
    """Fuse and track models' boxes; decide which need a person.

    Args:
        config: the fields of AutolabelConfig.
        dataset: a dataset version in the lake, as a reference.
        predictions: detected boxes per frame, of frames to label and of labelled ones.
        rivals: detected boxes per frame, of other models.
        prelabels: boxes per frame that an annotator starts from.
        request: the frames that need a person, with reasons.
        labelled: the dataset version with the frames that need none, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "autolabel",
        config,
        inputs={"dataset": dataset, "predictions": predictions, "rivals": rivals},
        outputs={"prelabels": prelabels, "request": request, "labelled": labelled},
    )
