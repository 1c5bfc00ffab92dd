"""From raw data to a published release: every stage of the lifecycle once."""

from kfp import dsl
from kfp.dsl import Artifact

from admlops_components.analyze import analyze
from admlops_components.check import check
from admlops_components.collect import collect
from admlops_components.report import report
from admlops_pipelines.fan_out import ingest_in_shards
from admlops_pipelines.rounds import RoundConfigs, train_round


@dsl.pipeline(name="train-and-publish")
def train_and_publish(
    collect_config: dict,
    ingest_config: dict,
    ingest_shards: list,
    check_config: dict,
    analyze_config: dict,
    train_config: dict,
    predict_config: dict,
    predict_shards: list,
    evaluate_config: dict,
    export_config: dict,
    build_config: dict,
    verify_config: dict,
    gate_config: dict,
    publish_config: dict,
    report_config: dict,
) -> Artifact:
    """Collect, ingest, check, analyze, train, prove, publish what passes, and report.

    Args:
        collect_config: the fields of CollectConfig.
        ingest_config: the fields of IngestConfig.
        ingest_shards: names of the shards that are read at the same time, ["1/2", "2/2"].
        check_config: the fields of CheckConfig.
        analyze_config: the fields of AnalyzeConfig.
        train_config: the fields of TrainConfig.
        predict_config: the fields of PredictConfig.
        predict_shards: names of the shards that are predicted at the same time.
        evaluate_config: the fields of EvaluateConfig.
        export_config: the fields of ExportConfig.
        build_config: the fields of BuildConfig.
        verify_config: the fields of VerifyConfig.
        gate_config: the fields of GateConfig.
        publish_config: the fields of PublishConfig.
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
    last = train_round(configs, dataset, after=checked)
    reported = report(
        config=report_config,
        dataset=dataset,
        findings=checked.outputs["findings"],
        analysis=analyzed.outputs["analysis"],
        **last.reported(),
    ).after(last.published)
    reported.set_caching_options(False)
    return reported.outputs["report"]
