"""The KFP component of the step `predict`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("predict"), install_kfp_package=False)
def predict(
    config: dict,
    shard: str,
    dataset: Input[Dataset],
    model: Input[Model],
    predictions: Output[Artifact],
) -> None:
    """Detect objects in a dataset, or in one cloud through Triton.

    Args:
        config: the fields of PredictConfig.
        shard: which part of the chosen frames, "2/8" for the second of eight.
        dataset: a dataset version in the lake, as a reference.
        model: weights and settings of a detector.
        predictions: detected boxes per frame.
    """
    from admlops.steps.component import run_component

    run_component(
        "predict",
        {**config, "shard": shard},
        inputs={"dataset": dataset, "model": model},
        outputs={"predictions": predictions},
    )
