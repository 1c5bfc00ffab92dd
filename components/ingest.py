"""The KFP component of the step `ingest`."""

from kfp import dsl
from kfp.dsl import Artifact, Dataset, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("ingest"), install_kfp_package=False)
def ingest(
    config: dict,
    source: Input[Artifact],
    parts: Input[list[Artifact]],
    dataset: Output[Dataset],
    findings: Output[Artifact],
) -> None:
    """Read a dataset format into the lake; quarantine bad frames.

    Args:
        config: the fields of IngestConfig.
        source: the folder of raw data, as a reference.
        parts: what `read` made of every shard of the source.
        dataset: a dataset version in the lake, as a reference.
        findings: what was found, by rule.
    """
    from admlops.steps.component import run_component

    run_component(
        "ingest",
        config,
        inputs={"source": source, "parts": parts},
        outputs={"dataset": dataset, "findings": findings},
    )
