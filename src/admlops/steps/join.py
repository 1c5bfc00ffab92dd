"""The step `join`: put the predictions of shards together."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from admlops.config import Config
from admlops.errors import DataError
from admlops.files import digest_file, write_folder_atomically
from admlops.lake.predictions import (
    VECTORS_FILE,
    iterate_predictions,
    read_vectors,
    write_predictions,
)
from admlops.lake.store import Dataset
from admlops.steps.shards import SHARD, WHOLE, Shard, list_shards
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.manifest import MANIFEST_FILE, PREDICTIONS_FILE, Manifest


@dataclass(frozen=True, slots=True)
class JoinInputs:
    """What is read.

    Attributes:
        predictions: the folders that `predict` wrote for every shard, in any order.
    """

    predictions: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class JoinOutputs:
    """What is written.

    Attributes:
        joined: folder of `predictions.parquet` and its manifest, as one `predict` writes it.
    """

    joined: Path


class JoinConfig(Config):
    """Nothing is to be chosen."""


def join(inputs: JoinInputs, outputs: JoinOutputs, config: JoinConfig) -> Scores:  # noqa: ARG001 - a step's signature
    """Put the predictions of shards together, in the order of the dataset's rows.

    The result is what predicting all frames at once gives, byte by byte. Features that `predict`
    was told to embed are added to the dataset, in one new version of it.

    Raises:
        DataError: shards are missing, come twice, or are of different models, datasets or settings.
    """
    parts = _read_parts(inputs.predictions)
    manifests = [manifest for _, manifest in parts]
    scores: Counter[str] = Counter()
    for manifest in manifests:
        scores.update(manifest.scores)
    _add_vectors(parts)
    with write_folder_atomically(outputs.joined) as folder:
        write_predictions(folder / PREDICTIONS_FILE, _items([path for path, _ in parts]))
        provenance = manifests[0].provenance
        Manifest(
            kind="predictions",
            uri=str(outputs.joined.resolve()),
            digest=digest_file(folder / PREDICTIONS_FILE),
            licences=manifests[0].licences,
            provenance={name: value for name, value in provenance.items() if name != SHARD},
            scores=dict(scores),
        ).write(folder / MANIFEST_FILE)
    return dict(scores)


def _add_vectors(parts: Sequence[tuple[Path, Manifest]]) -> None:
    """Write the features of all shards into the dataset that they are of."""
    files = [folder / VECTORS_FILE for folder, _ in parts]
    vectors = {
        key: vector
        for file in files
        if file.is_file()
        for key, vector in read_vectors(file).items()
    }
    if vectors:
        provenance = parts[0][1].provenance
        Dataset.open(provenance["dataset"]).add_embedding(provenance["embedding"], vectors)


def _read_parts(folders: Sequence[Path]) -> list[tuple[Path, Manifest]]:
    """Return folders and manifests of a complete set of shards, in order."""
    found = [(folder, Manifest.read(folder / MANIFEST_FILE, "predictions")) for folder in folders]
    found.sort(key=lambda part: Shard.parse(_shard_of(part[1])))
    shards = [_shard_of(manifest) for _, manifest in found]
    if not shards or shards != list_shards(len(shards)):
        raise DataError(
            f"the predictions are of the shards {', '.join(shards) or '(none)'}; give every shard "
            "of one prediction exactly once"
        )
    for folder, manifest in found[1:]:
        first = found[0][1].provenance
        differing = [
            name
            for name in sorted({*first, *manifest.provenance} - {SHARD})
            if first.get(name) != manifest.provenance.get(name)
        ]
        if differing:
            raise DataError(
                f"{folder} and {found[0][0]}: predictions that differ in {', '.join(differing)}; "
                "join the shards of one prediction"
            )
    return found


def _shard_of(manifest: Manifest) -> str:
    return manifest.provenance.get(SHARD, WHOLE)


def _items(folders: Sequence[Path]) -> Iterator[tuple[FrameKey, Boxes]]:
    for folder in folders:
        yield from iterate_predictions(folder / PREDICTIONS_FILE)
