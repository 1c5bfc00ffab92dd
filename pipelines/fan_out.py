"""Steps whose work is cut into shards, one task for each, and put together again."""

from typing import Any

from kfp import dsl

from admlops_components.ingest import ingest
from admlops_components.join import join
from admlops_components.predict import predict
from admlops_components.read import read


def ingest_in_shards(config: Any, shards: Any, source: Any) -> Any:
    """Read shards of a source at the same time, then make them one version of the lake.

    Args:
        config: the fields of IngestConfig.
        shards: list of references, ["1/2", "2/2"].
        source: the artifact of raw data.

    Returns:
        The task of `ingest`.
    """
    with dsl.ParallelFor(items=shards) as shard:
        part = read(config=config, shard=shard, source=source).outputs["part"]
    return ingest(config=config, source=source, parts=dsl.Collected(part))


def predict_in_shards(config: Any, shards: Any, dataset: Any, model: Any) -> Any:
    """Predict shards of a dataset's frames at the same time, then put the boxes together.

    Args:
        config: the fields of PredictConfig.
        shards: list of references, ["1/2", "2/2"].
        dataset: the dataset artifact.
        model: the model artifact.

    Returns:
        The predictions artifact.
    """
    with dsl.ParallelFor(items=shards) as shard:
        predicted = predict(config=config, shard=shard, dataset=dataset, model=model)
    found = dsl.Collected(predicted.outputs["predictions"])
    return join(config={}, predictions=found).outputs["joined"]
