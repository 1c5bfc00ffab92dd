"""The KFP component of the step `export`."""

from kfp import dsl
from kfp.dsl import Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("export"), install_kfp_package=False)
def export(
    config: dict,
    model: Input[Model],
    exported: Output[Model],
) -> None:
    """Write a trained detector as ONNX and audit its operators.

    Args:
        config: the fields of ExportConfig.
        model: weights and settings of a detector.
        exported: the network as ONNX with its audit.
    """
    from admlops.steps.component import run_component

    run_component(
        "export",
        config,
        inputs={"model": model},
        outputs={"exported": exported},
    )
