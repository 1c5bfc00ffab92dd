"""The KFP component of the step `check`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("check"), install_kfp_package=False)
def check(
    config: dict,
    dataset: Input[Dataset],
    findings: Output[Artifact],
    model: Input[Model] = None,
) -> None:
    """Examine data against rules, and against a model's settings.

    Args:
        config: the fields of CheckConfig.
        dataset: a dataset version in the lake, as a reference.
        model: weights and settings of a detector.
        findings: what was found, by rule.
    """
    from admlops.steps.component import run_component

    run_component(
        "check",
        config,
        inputs={"dataset": dataset, "model": model},
        outputs={"findings": findings},
    )
