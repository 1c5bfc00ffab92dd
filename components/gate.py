"""The KFP component of the step `gate`."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("gate"), install_kfp_package=False)
def gate(
    config: dict,
    evaluation: Input[Artifact],
    verdict: Output[Artifact],
    verification: Input[Artifact] = None,
    baseline: Input[Artifact] = None,
) -> bool:
    """Decide whether a model may be published.

    Args:
        config: the fields of GateConfig.
        evaluation: scores, slices, curves and failures.
        verification: parity and latency of every runtime.
        baseline: the evaluation to compare with.
        verdict: the decision and its reasons.

    Returns:
        Whether the model may be published.
    """
    from admlops.steps.component import run_component

    scores = run_component(
        "gate",
        config,
        inputs={"evaluation": evaluation, "verification": verification, "baseline": baseline},
        outputs={"verdict": verdict},
    )
    return scores["passed"] > 0
