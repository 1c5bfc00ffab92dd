"""The KFP component of the step `curate`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("curate"), install_kfp_package=False)
def curate(
    config: dict,
    report: Output[Artifact],
    curated: Output[Dataset],
    dataset: Input[Dataset] = None,
    earlier: Input[Dataset] = None,
) -> None:
    """Merge, divide, compare and tag dataset versions.

    Args:
        config: the fields of CurateConfig.
        dataset: a dataset version in the lake, as a reference.
        earlier: the version to compare with, as a reference.
        report: what was done, terms, mix of the splits, and differences.
        curated: the resulting dataset version, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "curate",
        config,
        inputs={"dataset": dataset, "earlier": earlier},
        outputs={"report": report, "curated": curated},
    )
