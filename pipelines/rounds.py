"""Parts that several pipelines share."""

from dataclasses import dataclass
from typing import Any

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model

from admlops_components.build import build
from admlops_components.evaluate import evaluate
from admlops_components.export import export
from admlops_components.gate import gate
from admlops_components.publish import publish
from admlops_components.train import train
from admlops_components.verify import verify
from admlops_pipelines.fan_out import predict_in_shards


@dataclass(frozen=True, slots=True)
class RoundConfigs:
    """The pipeline parameters that one round of training to publishing takes."""

    train: Any
    predict: Any
    predict_shards: Any
    evaluate: Any
    export: Any
    build: Any
    verify: Any
    gate: Any
    publish: Any


@dataclass(frozen=True, slots=True)
class Round:
    """The artifacts of one round, and the task that ends it."""

    model: Any
    exported: Any
    predictions: Any
    evaluation: Any
    verification: Any
    verdict: Any
    published: Any

    def reported(self) -> dict[str, Any]:
        """Return what the report takes of the last round, by its names."""
        return {"exported": self.exported, **self._of_any_round()}

    def reported_as_baseline(self) -> dict[str, Any]:
        """Return what the report takes of an earlier round, by its names."""
        return {f"{name}_baseline": value for name, value in self._of_any_round().items()}

    def _of_any_round(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "predictions": self.predictions,
            "evaluation": self.evaluation,
            "verification": self.verification,
            "verdict": self.verdict,
        }


@dsl.pipeline(name="publish-if-passed")
def publish_if_passed(
    passed: bool,
    publish_config: dict,
    built: Input[Model],
    dataset: Input[Dataset],
    verification: Input[Artifact],
    evaluation: Input[Artifact],
    verdict: Input[Artifact],
):
    """Publish a release where the gate said yes; leave the published one where it said no.

    Args:
        passed: the gate's answer.
        publish_config: the fields of PublishConfig.
        built: the network in the runtime's own form.
        dataset: the dataset version that the model was trained on.
        verification: parity and latency of every runtime.
        evaluation: scores of the model.
        verdict: the gate's decision and reasons.
    """
    with dsl.If(passed == True):  # noqa: E712 - KFP overloads the operator
        published = publish(
            config=publish_config,
            built=built,
            dataset=dataset,
            verification=verification,
            evaluation=evaluation,
            verdict=verdict,
        )
        published.set_caching_options(False)


def train_round(configs: RoundConfigs, dataset: Any, after: Any, baseline: Any = None) -> Round:
    """Add one round to the pipeline under construction: train, prove, and publish what passes.

    Args:
        configs: the steps' configs and shards.
        dataset: the dataset artifact.
        after: the task that must have succeeded before training starts.
        baseline: the evaluation artifact that the gate compares with; None where there is none.
    """
    trained = train(config=configs.train, dataset=dataset).after(after)
    model = trained.outputs["model"]
    predictions = predict_in_shards(configs.predict, configs.predict_shards, dataset, model)
    evaluated = evaluate(config=configs.evaluate, labels=dataset, predictions=predictions)
    evaluation = evaluated.outputs["evaluation"]
    exported = export(config=configs.export, model=model).outputs["exported"]
    built = build(config=configs.build, exported=exported, dataset=dataset).outputs["built"]
    verified = verify(config=configs.verify, model=model, built=built, dataset=dataset)
    verification = verified.outputs["verification"]
    compared = {} if baseline is None else {"baseline": baseline}
    decided = gate(
        config=configs.gate, evaluation=evaluation, verification=verification, **compared
    )
    decided.set_caching_options(False)
    verdict = decided.outputs["verdict"]
    published = publish_if_passed(
        passed=decided.outputs["Output"],
        publish_config=configs.publish,
        built=built,
        dataset=dataset,
        verification=verification,
        evaluation=evaluation,
        verdict=verdict,
    )
    return Round(model, exported, predictions, evaluation, verification, verdict, published)
