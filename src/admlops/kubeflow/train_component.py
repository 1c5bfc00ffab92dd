"""The KFP component that takes the place of `train` where the profile asks for TrainJobs."""

# mypy: disable-error-code="type-arg"
# KFP reads the signature, and the source goes into every compiled pipeline as it is

from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(
    base_image=image_for("train"),
    install_kfp_package=False,
    task_config_passthroughs=[
        dsl.TaskConfigField.RESOURCES,
        dsl.TaskConfigField.KUBERNETES_AFFINITY,
        dsl.TaskConfigField.KUBERNETES_TOLERATIONS,
        dsl.TaskConfigField.KUBERNETES_NODE_SELECTOR,
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.ENV, apply_to_task=True),
        dsl.TaskConfigPassthrough(field=dsl.TaskConfigField.KUBERNETES_VOLUMES, apply_to_task=True),
    ],
)
def train(
    config: dict,
    launch: dict,
    dataset: Input[Dataset],
    model: Output[Model],
    task_config: dsl.TaskConfig,
) -> None:
    """Train a detector on a dataset version, in the pods of a TrainJob.

    Args:
        config: the fields of TrainConfig.
        launch: the fields of TrainJobSettings.
        dataset: a dataset version in the lake, as a reference.
        model: weights and settings of a detector.
        task_config: the task's own settings; KFP fills them in.
    """
    from admlops.kubeflow.train_launcher import train_on_cluster

    train_on_cluster(config, launch, dataset, model, task_config)
