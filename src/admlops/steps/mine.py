"""The step `mine`: pick the unlabelled frames that are worth labelling next."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.curation.descriptors import DESCRIPTOR_SIZE, describe_cloud
from admlops.curation.ledger import LabelLimit, Ledger, LedgerEntry
from admlops.curation.mining import Candidates, Experience, MiningRule, expected_boxes, mine_frames
from admlops.errors import DataError
from admlops.evaluation.result import Evaluation
from admlops.files import write_folder_atomically
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelCost, LabelRequest, RequestedFrame
from admlops.structures.manifest import Manifest

PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True, slots=True)
class MineInputs:
    """What is read.

    Attributes:
        dataset: manifest of the dataset version that holds the unlabelled frames.
        predictions: folder with a model's boxes for those frames.
        evaluation: folder with the model's failures on labelled frames of the dataset.
    """

    dataset: Path
    predictions: Path
    evaluation: Path | None = None


@dataclass(frozen=True, slots=True)
class MineOutputs:
    """What is written.

    Attributes:
        request: folder of `request.json`.
    """

    request: Path


class MineConfig(MiningRule):
    """Which frames may be picked, how, and what it may cost."""

    candidates: str = "split = 'pool'"
    """SQL condition on the view `frames` that unlabelled candidates meet."""
    strategy: Literal["mined", "random"] = "mined"
    """Random is the baseline that mining must beat."""
    seed: int = 0
    """Of the random strategy."""
    embedding: str = "auto"
    """Name of an embedding in the dataset; "cloud" describes the points instead; "auto" takes the
    first embedding that all frames have, else "cloud"."""
    max_labelled: int = Field(default=256, ge=0)
    """Labelled frames, spread evenly, from which picks keep away."""
    max_failed: int = Field(default=256, ge=0)
    """Failed frames, worst first, that picks are likened to."""
    round_name: str = "round"
    """Name of the loop's round, for the ledger."""
    ledger: str = ""
    """File that records what labelling costs; empty for none."""
    limit: LabelLimit = LabelLimit()
    """What all requests in the ledger may cost together."""


def mine(inputs: MineInputs, outputs: MineOutputs, config: MineConfig) -> Scores:
    """Pick frames by doubt, likeness to failures, rarity and diversity; charge the label budget.

    Raises:
        DataError: there are no candidates, or no predictions for them, or the evaluation is of
            another dataset.
        GateError: the label budget would be passed.
    """
    dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    rows = _candidate_rows(dataset, config)
    predictions = _predictions_of(dataset, rows, inputs.predictions)
    if config.strategy == "random":
        frames = _pick_randomly(dataset, rows, predictions, config)
    else:
        candidates, experience = _look(dataset, rows, predictions, (inputs.evaluation, config))
        frames = mine_frames(candidates, experience, config)
    request = _request(dataset, frames, len(rows), config)
    request = _charge(request, config)
    with write_folder_atomically(outputs.request) as draft:
        request.write(draft)
    return {
        "num_candidates": float(len(rows)),
        "num_requested": float(len(frames)),
        "expected_boxes": request.cost.boxes,
        **{f"budget_{name}": value for name, value in request.budget.items()},
    }


def _candidate_rows(dataset: Dataset, config: MineConfig) -> NDArray[np.int64]:
    rows = dataset.rows_where(f"({config.candidates}) AND NOT is_keyframe")
    if len(rows) == 0:
        raise DataError(
            f"{dataset.reference}: no unlabelled frame meets {config.candidates!r}; ingest "
            "unlabelled frames, or change the condition"
        )
    return rows


def _predictions_of(dataset: Dataset, rows: NDArray[np.int64], folder: Path) -> list[Boxes]:
    keys = dataset.keys()
    wanted = {keys[row] for row in rows}
    found = {
        key: boxes for key, boxes in iterate_predictions(folder / PREDICTIONS_FILE) if key in wanted
    }
    if len(found) < len(wanted):
        raise DataError(
            f"{folder}: no predictions for {len(wanted) - len(found)} of {len(wanted)} candidates, "
            f"for example {min(wanted - found.keys())}; run predict on the pool"
        )
    return [found[keys[row]] for row in rows]


def _pick_randomly(
    dataset: Dataset, rows: NDArray[np.int64], predictions: list[Boxes], config: MineConfig
) -> list[RequestedFrame]:
    keys, names = dataset.keys(), dataset.frame_ids()
    frames: list[RequestedFrame] = []
    spent = 0.0
    for place in np.random.default_rng(config.seed).permutation(len(rows)):
        cost = expected_boxes(predictions[place], config.box_score)
        if len(frames) == config.num_frames:
            break
        if config.max_boxes is not None and spent + cost > config.max_boxes:
            continue
        spent += cost
        row = rows[place]
        frames.append(
            RequestedFrame(
                **keys[row]._asdict(),
                frame_id=names[row],
                reason="picked at random",
                expected_boxes=cost,
            )
        )
    return frames


def _look(
    dataset: Dataset,
    rows: NDArray[np.int64],
    predictions: list[Boxes],
    evaluated: tuple[Path | None, MineConfig],
) -> tuple[Candidates, Experience]:
    """Return what the candidates look like, and what is known from labelled frames."""
    path, config = evaluated
    failed_rows, failure_counts = _failed_rows(dataset, path, config.max_failed)
    labelled_rows = _spread(dataset.rows_where("num_boxes > 0"), config.max_labelled)
    keys, names = dataset.keys(), dataset.frame_ids()
    whole = np.concatenate([rows, failed_rows, labelled_rows]).astype(np.int64)
    described = _describe(dataset, whole, config.embedding)
    first, second = len(rows), len(rows) + len(failed_rows)
    counts = dataset.query("SELECT category, count(*) AS n FROM boxes GROUP BY category")
    candidates = Candidates(
        keys=[keys[row] for row in rows],
        frame_ids=[names[row] for row in rows],
        predictions=predictions,
        descriptors=described[:first],
    )
    experience = Experience(
        failure_descriptors=described[first:second],
        failure_counts=failure_counts,
        labelled_descriptors=described[second:],
        label_counts=dict(
            zip(counts["category"].to_pylist(), counts["n"].to_pylist(), strict=True)
        ),
    )
    return candidates, experience


def _failed_rows(
    dataset: Dataset, path: Path | None, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows on which the model failed, worst first, and how often it did on each."""
    if path is None:
        return np.empty(0, np.int64), np.empty(0)
    failures = Evaluation.read(path).failures
    where = {key: row for row, key in enumerate(dataset.keys())}
    counts = Counter(FrameKey(item.log, item.scene, item.timestamp_ns) for item in failures)
    known = [(where[key], count) for key, count in counts.most_common() if key in where][:limit]
    if failures and not known:
        raise DataError(
            f"{path}: none of its {len(counts)} failed frames is in {dataset.reference}, for "
            f"example {failures[0].frame}; evaluate on this dataset"
        )
    return (
        np.array([row for row, _ in known], np.int64),
        np.array([count for _, count in known], np.float64),
    )


def _spread(rows: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    if len(rows) <= limit:
        return rows
    return rows[np.linspace(0, len(rows) - 1, limit).astype(np.int64)] if limit else rows[:0]


def _describe(dataset: Dataset, rows: NDArray[np.int64], embedding: str) -> NDArray[np.floating]:
    """Return (len(rows), D) descriptors, from an embedding or from the clouds.

    Raises:
        DataError: the embedding that is asked for is absent, or some frames lack it.
    """
    names = dataset.embeddings() if embedding == "auto" else [embedding]
    for name in names:
        if name == "cloud":
            break
        vectors = dataset.embedding(name)[rows]
        lacking = int(np.isnan(vectors).any(axis=1).sum())
        if not lacking:
            return vectors
        if embedding != "auto":
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


def _request(
    dataset: Dataset, frames: Iterable[RequestedFrame], num_candidates: int, config: MineConfig
) -> LabelRequest:
    picked = tuple(frames)
    cost = LabelCost(frames=len(picked), boxes=sum(frame.expected_boxes for frame in picked))
    return LabelRequest(
        dataset=dataset.reference,
        frames=picked,
        cost=cost,
        round_name=config.round_name,
        num_candidates=num_candidates,
    )


def _charge(request: LabelRequest, config: MineConfig) -> LabelRequest:
    """Enter the request's cost in the ledger, once; return the request with the budget's state."""
    if not config.ledger:
        return request
    ledger = Ledger(Path(config.ledger), config.limit)
    ledger.spend(
        LedgerEntry(request_id=request.request_id, round_name=request.round_name, cost=request.cost)
    )
    spent = ledger.spent()
    budget = {f"spent_{unit}": getattr(spent, unit) for unit in LabelCost.model_fields}
    for unit in LabelLimit.model_fields:
        limit = getattr(config.limit, unit)
        if limit is not None:
            budget[f"limit_{unit}"] = limit
    return request.replace(budget=budget)
