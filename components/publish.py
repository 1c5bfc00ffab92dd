"""The KFP component of the step `publish`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("publish"), install_kfp_package=False)
def publish(
    config: dict,
    built: Input[Model],
    dataset: Input[Dataset],
    verification: Input[Artifact],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
    release: Output[Model],
) -> None:
    """Make, prove and activate an immutable Triton release.

    Args:
        config: the fields of PublishConfig.
        built: the network in the runtime's own form.
        dataset: a dataset version in the lake, as a reference.
        verification: parity and latency of every runtime.
        evaluation: scores, slices, curves and failures.
        verdict: the decision and its reasons.
        release: the published release, as a reference.
    """
    from admlops.steps.component import run_component

    run_component(
        "publish",
        config,
        inputs={
            "built": built,
            "dataset": dataset,
            "verification": verification,
            "evaluation": evaluation,
            "verdict": verdict,
        },
        outputs={"release": release},
    )
