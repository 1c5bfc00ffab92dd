"""What the step `mine` knows: the pool's frames, and the labelled ones, from its artifacts."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from admlops.analysis.coverage import measure_coverage, scenes_of_cell
from admlops.analysis.requirement import ANY_CONDITION, Requirement
from admlops.curation.content import Content, Judged, expect_content
from admlops.curation.descriptors import DESCRIPTOR_SIZE, describe_cloud
from admlops.curation.needs import Need
from admlops.errors import DataError
from admlops.evaluation.result import Evaluation
from admlops.lake.predictions import iterate_predictions
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.manifest import MANIFEST_FILE, PREDICTIONS_FILE, Manifest

_UNLABELLED = "num_boxes IS NULL AND num_boxes_2d IS NULL"
"""The nearest to a failed frame are mostly itself and its labelled neighbours: they are no help."""


@dataclass(frozen=True, slots=True)
class Failures:
    """Where a model failed.

    Attributes:
        rows: (F,) rows of the dataset, worst first.
        counts: (F,) how often it failed on each.
        categories: what was evaluated.
    """

    rows: NDArray[np.int64]
    counts: NDArray[np.float64]
    categories: tuple[str, ...]


def read_failures(dataset: Dataset, path: Path | None, limit: int) -> Failures:
    """Return the frames on which a model failed.

    Raises:
        DataError: the evaluation is damaged, or none of its failures is of this dataset.
    """
    if path is None:
        return Failures(np.empty(0, np.int64), np.empty(0), ())
    evaluation = Evaluation.read(path)
    where = {key: row for row, key in enumerate(dataset.keys())}
    failures = evaluation.failures
    counts = Counter(FrameKey(item.log, item.scene, item.timestamp_ns) for item in failures)
    known = [(where[key], count) for key, count in counts.most_common() if key in where][:limit]
    if failures and not known:
        raise DataError(
            f"{path}: none of its {len(counts)} failed frames is in {dataset.reference}, for "
            f"example {failures[0].frame}; evaluate on this dataset"
        )
    return Failures(
        rows=np.array([row for row, _ in known], np.int64),
        counts=np.array([count for _, count in known], np.float64),
        categories=tuple(dict.fromkeys(measure.category for measure in evaluation.measures)),
    )


def narrow(
    dataset: Dataset,
    rows: NDArray[np.int64],
    queries: NDArray[np.int64],
    shortlist: int,
    names: Sequence[str],
) -> NDArray[np.int64]:
    """Return at most `shortlist` candidates: half near the queries, the rest spread evenly.

    Nearest by the vector index of the dataset's newest version, where it has the embedding.
    """
    if len(rows) <= shortlist:
        return rows
    newest = Dataset.open(dataset.uri)
    chosen = np.empty(0, np.int64)
    if len(queries) and names[0] in newest.embeddings():
        where = {key: row for row, key in enumerate(dataset.keys())}
        vectors = _vectors(dataset, newest, names[0], queries)
        count = max(shortlist // 2 // len(queries), 1)
        found = {
            where[key]
            for vector in vectors[np.isfinite(vectors).all(axis=1)]
            for key, _ in newest.nearest(names[0], vector, count, _UNLABELLED)
            if key in where
        }
        chosen = np.intersect1d(np.array(sorted(found), np.int64), rows)
    rest = np.setdiff1d(rows, chosen)
    return np.union1d(chosen, spread_evenly(rest, shortlist - len(chosen)))


def read_predictions(dataset: Dataset, rows: NDArray[np.int64], folder: Path) -> list[Boxes]:
    """Return the boxes of each row.

    Raises:
        DataError: the file is damaged, or frames are missing in it.
    """
    keys = dataset.keys()
    wanted = {keys[row] for row in rows}
    found = _read_known(folder, wanted)
    if len(found) < len(wanted):
        raise DataError(
            f"{folder}: no predictions for {len(wanted) - len(found)} of {len(wanted)} candidates, "
            f"for example {min(wanted - found.keys())}; run predict on the pool"
        )
    return [found[keys[row]] for row in rows]


def read_rivals(
    dataset: Dataset, rows: NDArray[np.int64], folder: Path | None
) -> list[tuple[Boxes, ...]]:
    """Return the boxes of each row by every model in a folder of predictions, or of such folders.

    Raises:
        DataError: the folder holds no predictions, or frames are missing in them.
    """
    if folder is None:
        return []
    files = sorted(folder.glob(f"**/{PREDICTIONS_FILE}"))
    if not files:
        raise DataError(f"{folder}: no {PREDICTIONS_FILE} in it or below; run predict into it")
    sets = [read_predictions(dataset, rows, file.parent) for file in files]
    return list(zip(*sets, strict=True))


def read_judged(dataset: Dataset, folder: Path | None, limit: int) -> Judged:
    """Return labelled frames with a model's predictions, spread evenly.

    Raises:
        DataError: the predictions are damaged, or of no labelled frame of the dataset.
    """
    if folder is None:
        return Judged([], [])
    keys = dataset.keys()
    rows = dataset.rows_where("num_boxes IS NOT NULL")
    found = _read_known(folder, {keys[row] for row in rows})
    known = spread_evenly(np.array([row for row in rows if keys[row] in found], np.int64), limit)
    if len(known) == 0:
        raise DataError(
            f"{folder}: no predictions of a labelled frame of {dataset.reference}; give those "
            "that were evaluated"
        )
    frames = dataset.take(known, lidar=False)
    return Judged(
        predictions=[found[frame.key] for frame in frames],
        labels=[frame.boxes if frame.boxes is not None else Boxes.empty() for frame in frames],
    )


def same_model(first: Path, second: Path | None) -> None:
    """Insist that two folders of predictions are of one model, as far as they say.

    Raises:
        DataError: they are of different models.
    """
    digests = [
        Manifest.read_any(folder / MANIFEST_FILE).provenance.get("model_digest", "")
        for folder in (first, second)
        if folder is not None and (folder / MANIFEST_FILE).is_file()
    ]
    if len(digests) == 2 and digests[0] != digests[1]:
        raise DataError(
            f"{first} and {second}: predictions of different models ({digests[0][:8]} and "
            f"{digests[1][:8]}); what one gets wrong does not correct the other"
        )


def _read_known(folder: Path, wanted: set[FrameKey]) -> dict[FrameKey, Boxes]:
    return {k: boxes for k, boxes in iterate_predictions(folder / PREDICTIONS_FILE) if k in wanted}


def expect(
    predictions: Sequence[Boxes],
    judged: Judged,
    categories: tuple[str, ...],
    scores: tuple[float, float],
) -> Content:
    """Return what frames probably hold, of the categories given and of those predicted."""
    predicted = {str(name) for boxes in predictions for name in boxes.category}
    return expect_content(predictions, sorted({*categories, *predicted}), judged, scores)


def find_needs(dataset: Dataset, requirement: Requirement | None) -> list[Need]:
    """Return the boxes and the scenes that the dataset version lacks of a requirement."""
    if requirement is None:
        return []
    needs = []
    for gap in measure_coverage(dataset, requirement).gaps:
        tags = frozenset(gap.cell.condition.split("+")) - {ANY_CONDITION}
        where = (gap.cell.category, gap.cell.range_m, tags)
        if gap.num_missing_boxes:
            needs.append(Need(*where, float(gap.num_missing_boxes)))
        if gap.num_missing_scenes:
            known = scenes_of_cell(dataset, gap.cell, requirement.splits)
            needs.append(Need(*where, float(gap.num_missing_scenes), known))
    return needs


def rows_with_boxes(dataset: Dataset, condition: str) -> NDArray[np.int64]:
    """Return the rows of frames with boxes for which SQL on the view `boxes` holds."""
    chosen = f"SELECT log, scene, timestamp_ns FROM boxes WHERE {condition}"
    return dataset.rows_where(f"(log, scene, timestamp_ns) IN ({chosen})")


def count_labels_where(dataset: Dataset, condition: str) -> Mapping[str, int]:
    """Return the labels of each category in frames for which SQL on the view `boxes` holds."""
    sql = f"SELECT category, count(*) AS n FROM boxes WHERE {condition} GROUP BY category"
    counts = dataset.query(sql)
    return dict(zip(counts["category"].to_pylist(), counts["n"].to_pylist(), strict=True))


def describe(
    dataset: Dataset, rows: NDArray[np.int64], names: Sequence[str]
) -> NDArray[np.floating]:
    """Return (len(rows), D) descriptors, from the first embedding that all frames have.

    Embeddings are looked up in the dataset's newest version: they are computed after the version
    that is mined was made. The name "cloud" describes the clouds instead.

    Raises:
        DataError: there is no such embedding, or frames lack the last one.
    """
    newest = Dataset.open(dataset.uri)
    for name in names:
        if name == "cloud":
            break
        vectors = _vectors(dataset, newest, name, rows)
        lacking = int(np.isnan(vectors).any(axis=1).sum())
        if not lacking:
            return vectors
        if name == names[-1]:
            raise DataError(
                f"{dataset.reference}: {lacking} of {len(rows)} frames have no embedding {name!r}; "
                'embed them, or set embedding to "cloud"'
            )
    distinct, place = np.unique(rows, return_inverse=True)
    frames = track(
        dataset.iterate(distinct),
        "describe",
        total=len(distinct),
        console=Console(stderr=True),
    )
    described = [
        describe_cloud(frame.points_in_ego())
        if frame.lidar is not None
        else np.zeros(DESCRIPTOR_SIZE, np.float32)
        for frame in frames
    ]
    return np.stack(described)[place]


def embedding_names(dataset: Dataset, predictions: Path, wanted: str) -> list[str]:
    """Return by which embeddings frames may be described, best first.

    "auto" stands for the one that was made with the predictions, any other, and the clouds.
    """
    if wanted != "auto":
        return [wanted]
    file = predictions / MANIFEST_FILE
    own = Manifest.read_any(file).provenance.get("embedding") if file.is_file() else None
    names = Dataset.open(dataset.uri).embeddings()
    return [*sorted(names, key=lambda name: name != own), "cloud"]


def _vectors(
    dataset: Dataset, newest: Dataset, name: str, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Return (len(rows), D) vectors of a version's rows from the newest version."""
    keys, where = dataset.keys(), {key: row for row, key in enumerate(newest.keys())}
    return newest.embedding(name)[[where[keys[row]] for row in rows]]
