"""The closed loop: what the published model gets wrong decides what is labelled next."""

from kfp import dsl
from kfp.dsl import Artifact

from admlops_components.analyze import analyze
from admlops_components.annotate import annotate
from admlops_components.check import check
from admlops_components.collect import collect
from admlops_components.mine import mine
from admlops_components.report import report
from admlops_pipelines.fan_out import ingest_in_shards, predict_in_shards
from admlops_pipelines.rounds import RoundConfigs, train_round


@dsl.pipeline(name="closed-loop")
def closed_loop(
    collect_config: dict,
    ingest_config: dict,
    ingest_shards: list,
    check_config: dict,
    analyze_config: dict,
    train_config: dict,
    predict_config: dict,
    predict_shards: list,
    predict_pool_config: dict,
    evaluate_config: dict,
    export_config: dict,
    build_config: dict,
    verify_config: dict,
    gate_config: dict,
    publish_config: dict,
    mine_config: dict,
    annotate_config: dict,
    report_config: dict,
) -> Artifact:
    """Train and publish; mine, label, and do it again; keep the first release if it is better.

    Args:
        collect_config: the fields of CollectConfig.
        ingest_config: the fields of IngestConfig.
        ingest_shards: names of the shards that are read at the same time, ["1/2", "2/2"].
        check_config: the fields of CheckConfig.
        analyze_config: the fields of AnalyzeConfig.
        train_config: the fields of TrainConfig, for both rounds.
        predict_config: the fields of PredictConfig for the labelled frames.
        predict_shards: names of the shards that are predicted at the same time.
        predict_pool_config: the fields of PredictConfig for the unlabelled frames.
        evaluate_config: the fields of EvaluateConfig.
        export_config: the fields of ExportConfig.
        build_config: the fields of BuildConfig.
        verify_config: the fields of VerifyConfig.
        gate_config: the fields of GateConfig.
        publish_config: the fields of PublishConfig.
        mine_config: the fields of MineConfig.
        annotate_config: the fields of AnnotateConfig.
        report_config: the fields of ReportConfig.

    Returns:
        The report, one HTML file.
    """
    source = collect(config=collect_config).outputs["source"]
    dataset = ingest_in_shards(ingest_config, ingest_shards, source).outputs["dataset"]
    checked = check(config=check_config, dataset=dataset)
    analyzed = analyze(config=analyze_config, dataset=dataset)
    configs = RoundConfigs(
        train_config,
        predict_config,
        predict_shards,
        evaluate_config,
        export_config,
        build_config,
        verify_config,
        gate_config,
        publish_config,
    )
    first = train_round(configs, dataset, after=checked)
    pool = predict_in_shards(predict_pool_config, predict_shards, dataset, first.model)
    mined = mine(
        config=mine_config,
        dataset=dataset,
        predictions=pool,
        evaluation=first.evaluation,
        judged=first.predictions,
    )
    request = mined.outputs["request"]
    annotated = annotate(config=annotate_config, dataset=dataset, request=request)
    labelled = annotated.outputs["labelled"]
    analyzed_again = analyze(config=analyze_config, dataset=labelled)
    second = train_round(configs, labelled, after=first.published, baseline=first.evaluation)
    reported = report(
        config=report_config,
        dataset=labelled,
        findings=checked.outputs["findings"],
        analysis=analyzed_again.outputs["analysis"],
        request=request,
        dataset_baseline=dataset,
        analysis_baseline=analyzed.outputs["analysis"],
        **second.reported(),
        **first.reported_as_baseline(),
    ).after(second.published)
    reported.set_caching_options(False)
    return reported.outputs["report"]
