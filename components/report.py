"""The KFP component of the step `report`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Model, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("report"), install_kfp_package=False)
def report(
    config: dict,
    report: Output[Artifact],
    dataset: Input[Dataset] = None,
    findings: Input[Artifact] = None,
    analysis: Input[Artifact] = None,
    model: Input[Model] = None,
    predictions: Input[Artifact] = None,
    evaluation: Input[Artifact] = None,
    exported: Input[Model] = None,
    verification: Input[Artifact] = None,
    verdict: Input[Artifact] = None,
    request: Input[Artifact] = None,
    recordings: Input[Artifact] = None,
    prelabels: Input[Artifact] = None,
    acceptance: Input[Artifact] = None,
    acceptance_baseline: Input[Artifact] = None,
    dataset_baseline: Input[Dataset] = None,
    analysis_baseline: Input[Artifact] = None,
    model_baseline: Input[Model] = None,
    predictions_baseline: Input[Artifact] = None,
    evaluation_baseline: Input[Artifact] = None,
    verification_baseline: Input[Artifact] = None,
    verdict_baseline: Input[Artifact] = None,
) -> None:
    """Write one HTML page about a run.

    Args:
        config: the fields of ReportConfig.
        report: the page, one HTML file.
        dataset: the dataset version.
        findings: what the check found.
        analysis: distributions and coverage.
        model: the detector.
        predictions: what it found.
        evaluation: how it scored.
        exported: the network with its operator audit.
        verification: parity and latency.
        verdict: the gate's decision.
        request: the frames that were to be labelled.
        recordings: findings of the ingest of recordings, with their quality.
        prelabels: automatic labels.
        acceptance: the judgement of the last delivery of labels.
        acceptance_baseline: the judgement of the delivery before it.
        dataset_baseline: the dataset version, of the first of two rounds.
        analysis_baseline: distributions and coverage, of the first of two rounds.
        model_baseline: the detector, of the first of two rounds.
        predictions_baseline: what it found, of the first of two rounds.
        evaluation_baseline: how it scored, of the first of two rounds.
        verification_baseline: parity and latency, of the first of two rounds.
        verdict_baseline: the gate's decision, of the first of two rounds.
    """
    from admlops.steps.component import run_component

    run_component(
        "report",
        config,
        inputs={
            "dataset": dataset,
            "findings": findings,
            "analysis": analysis,
            "model": model,
            "predictions": predictions,
            "evaluation": evaluation,
            "exported": exported,
            "verification": verification,
            "verdict": verdict,
            "request": request,
            "recordings": recordings,
            "prelabels": prelabels,
            "acceptance": acceptance,
            "acceptance_baseline": acceptance_baseline,
            "dataset_baseline": dataset_baseline,
            "analysis_baseline": analysis_baseline,
            "model_baseline": model_baseline,
            "predictions_baseline": predictions_baseline,
            "evaluation_baseline": evaluation_baseline,
            "verification_baseline": verification_baseline,
            "verdict_baseline": verdict_baseline,
        },
        outputs={"report": report},
    )
