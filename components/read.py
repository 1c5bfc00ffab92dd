"""The KFP component of the step `read`."""

from kfp import dsl
from kfp.dsl import Artifact, Input, Output

from admlops.steps.images import image_for


@dsl.component(base_image=image_for("read"), install_kfp_package=False)
def read(
    config: dict,
    shard: str,
    source: Input[Artifact],
    part: Output[Artifact],
) -> None:
    """Read one shard of a source into the lake, for ingest to merge.

    Args:
        config: the fields of IngestConfig.
        shard: which part of the source, "2/8" for the second of eight.
        source: the folder of raw data, as a reference.
        part: what was written and found, for ingest.
    """
    from admlops.steps.component import run_component

    run_component(
        "read", {**config, "shard": shard}, inputs={"source": source}, outputs={"part": part}
    )
