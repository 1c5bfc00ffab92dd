"""The KFP component of the step `analyze`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("analyze"), install_kfp_package=False)
def analyze(
    config: dict,
    dataset: Input[Dataset],
    analysis: Output[Artifact],
    earlier: Input[Dataset] = None,
) -> None:
    """Show distributions, repetitions, coverage, gaps and changes.

    Args:
        config: the fields of AnalyzeConfig.
        dataset: a dataset version in the lake, as a reference.
        analysis: distributions, repeated frames, coverage, gaps and differences.
        earlier: the version to compare with, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "analyze",
        config,
        inputs={"dataset": dataset, "earlier": earlier},
        outputs={"analysis": analysis},
    )
