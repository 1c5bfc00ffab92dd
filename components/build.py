"""The KFP component of the step `build`."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("build"), install_kfp_package=False)
def build(
    config: dict,
    exported: Input[Model],
    built: Output[Model],
    dataset: Input[Dataset] = None,
) -> None:
    """Build the exported network for a runtime.

    Args:
        config: the fields of BuildConfig.
        exported: the network as ONNX with its audit.
        dataset: a dataset version in the lake, as a reference.
        built: the network in the runtime's own form.
    """
    from admlops.steps.component import run_component

    run_component(
        "build",
        config,
        inputs={"exported": exported, "dataset": dataset},
        outputs={"built": built},
    )
