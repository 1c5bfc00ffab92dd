"""Parts that several pipelines share."""

from dataclasses import dataclass
from typing import Any

from admlops_components.build import build
from admlops_components.evaluate import evaluate
from admlops_components.export import export
from admlops_components.gate import gate
from admlops_components.predict import predict
from admlops_components.publish import publish
from admlops_components.train import train
from admlops_components.verify import verify
from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model


@dataclass(frozen=True, slots=True)
class RoundConfigs:
    """The pipeline parameters that one round of training to publishing takes."""

    train: Any
    predict: Any
    evaluate: Any
    export: Any
    build: Any
    verify: Any
    gate: Any
    publish: Any


@dataclass(frozen=True, slots=True)
class Round:
    """The tasks of one round that others take outputs from or wait for."""

    model: Any
    predictions: Any
    evaluation: Any
    verification: Any
    verdict: Any
    published: Any


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


def train_round(configs: RoundConfigs, dataset: Any, baseline: Any = None) -> Round:
    """Add one round to the pipeline under construction: train, prove, and publish what passes.

    Args:
        configs: the steps' configs.
        dataset: the dataset artifact.
        baseline: the evaluation artifact that the gate compares with; None where there is none.
    """
    trained = train(config=configs.train, dataset=dataset)
    model = trained.outputs["model"]
    predicted = predict(config=configs.predict, dataset=dataset, model=model)
    predictions = predicted.outputs["predictions"]
    evaluated = evaluate(config=configs.evaluate, labels=dataset, predictions=predictions)
    evaluation = evaluated.outputs["evaluation"]
    exported = export(config=configs.export, model=model)
    built = build(config=configs.build, exported=exported.outputs["exported"], dataset=dataset)
    runtime = built.outputs["built"]
    verified = verify(config=configs.verify, model=model, built=runtime, dataset=dataset)
    verification = verified.outputs["verification"]
    optional = {} if baseline is None else {"baseline": baseline}
    decided = gate(
        config=configs.gate, evaluation=evaluation, verification=verification, **optional
    )
    decided.set_caching_options(False)
    verdict = decided.outputs["verdict"]
    published = publish_if_passed(
        passed=decided.outputs["Output"],
        publish_config=configs.publish,
        built=runtime,
        dataset=dataset,
        verification=verification,
        evaluation=evaluation,
        verdict=verdict,
    )
    return Round(model, predictions, evaluation, verification, verdict, published)
