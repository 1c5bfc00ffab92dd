"""The KFP component of the step `verify`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("verify"), install_kfp_package=False)
def verify(
    config: dict,
    model: Input[Model],
    built: Input[Model],
    dataset: Input[Dataset],
    verification: Output[Artifact],
) -> None:
    """Compare every runtime with torch, and measure latency.

    Args:
        config: the fields of VerifyConfig.
        model: weights and settings of a detector.
        built: the network in the runtime's own form.
        dataset: a dataset version in the lake, as a reference.
        verification: parity and latency of every runtime.
    """
    from admlops.steps.component import run_component

    run_component(
        "verify",
        config,
        inputs={"model": model, "built": built, "dataset": dataset},
        outputs={"verification": verification},
    )
