"""From recorded drives to a better dataset: what labels lack is recorded, labelled, accepted."""

from kfp import dsl
from kfp.dsl import Artifact

from admlops_components.analyze import analyze
from admlops_components.annotate import annotate
from admlops_components.autolabel import autolabel
from admlops_components.check import check
from admlops_components.collect import collect
from admlops_components.evaluate import evaluate
from admlops_components.mine import mine
from admlops_components.report import report
from admlops_components.train import train
from admlops_pipelines.fan_out import ingest_in_shards, predict_in_shards


@dsl.pipeline(name="iterate-dataset")
def iterate_dataset(
    collect_config: dict,
    collect_drives_config: dict,
    ingest_config: dict,
    ingest_drives_config: dict,
    ingest_shards: list,
    train_config: dict,
    predict_config: dict,
    predict_shards: list,
    predict_pool_config: dict,
    evaluate_config: dict,
    autolabel_config: dict,
    mine_config: dict,
    annotate_config: dict,
    annotate_again_config: dict,
    check_config: dict,
    analyze_config: dict,
    report_config: dict,
) -> Artifact:
    """Ingest labelled data and drives; pre-label; have labelled what is missing; accept or not.

    A rejected delivery changes nothing, and the corrected one is judged anew.

    Args:
        collect_config: the fields of CollectConfig for what is labelled.
        collect_drives_config: the fields of CollectConfig for recorded drives.
        ingest_config: the fields of IngestConfig for what is labelled.
        ingest_drives_config: the fields of IngestConfig for recorded drives; the same lake.
        ingest_shards: names of the shards that are read at the same time; one where drives are
            screened.
        train_config: the fields of TrainConfig of the model that pre-labels.
        predict_config: the fields of PredictConfig for labelled frames.
        predict_shards: names of the shards that are predicted at the same time.
        predict_pool_config: the fields of PredictConfig for all frames that are not trained on.
        evaluate_config: the fields of EvaluateConfig.
        autolabel_config: the fields of AutolabelConfig.
        mine_config: the fields of MineConfig.
        annotate_config: the fields of AnnotateConfig for the first delivery.
        annotate_again_config: the fields of AnnotateConfig for the corrected delivery.
        check_config: the fields of CheckConfig.
        analyze_config: the fields of AnalyzeConfig, before and after.
        report_config: the fields of ReportConfig.

    Returns:
        The report, one HTML file.
    """
    source = collect(config=collect_config).outputs["source"]
    ingested = ingest_in_shards(ingest_config, ingest_shards, source)
    base = ingested.outputs["dataset"]
    model = train(config=train_config, dataset=base).outputs["model"]
    known = predict_in_shards(predict_config, predict_shards, base, model)
    evaluation = evaluate(config=evaluate_config, labels=base, predictions=known)
    drives = collect(config=collect_drives_config).after(ingested).outputs["source"]
    recorded = ingest_in_shards(ingest_drives_config, ingest_shards, drives)
    dataset = recorded.outputs["dataset"]
    analyzed = analyze(config=analyze_config, dataset=dataset)
    found = predict_in_shards(predict_pool_config, predict_shards, dataset, model)
    prelabelled = autolabel(config=autolabel_config, dataset=dataset, predictions=found)
    prelabels = prelabelled.outputs["prelabels"]
    mined = mine(
        config=mine_config,
        dataset=dataset,
        predictions=found,
        evaluation=evaluation.outputs["evaluation"],
        judged=known,
    )
    request = mined.outputs["request"]
    first = annotate(
        config=annotate_config, dataset=dataset, request=request, predictions=prelabels
    )
    second = annotate(
        config=annotate_again_config,
        dataset=first.outputs["labelled"],
        request=request,
        predictions=prelabels,
        earlier=first.outputs["acceptance"],
    )
    labelled = second.outputs["labelled"]
    checked = check(config=check_config, dataset=labelled)
    analyzed_again = analyze(config=analyze_config, dataset=labelled)
    reported = report(
        config=report_config,
        dataset=labelled,
        dataset_baseline=dataset,
        recordings=recorded.outputs["findings"],
        findings=checked.outputs["findings"],
        analysis=analyzed_again.outputs["analysis"],
        analysis_baseline=analyzed.outputs["analysis"],
        model_baseline=model,
        predictions=found,
        evaluation_baseline=evaluation.outputs["evaluation"],
        request=request,
        prelabels=prelabels,
        acceptance=second.outputs["acceptance"],
        acceptance_baseline=first.outputs["acceptance"],
    )
    reported.set_caching_options(False)
    return reported.outputs["report"]
