"""The step `mine`: pick the unlabelled frames that are worth labelling next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.analysis.requirement import Requirement
from admlops.curation.consistency import Neighbourhood, flicker
from admlops.curation.content import Content
from admlops.curation.ledger import LabelLimit, Ledger, LedgerEntry
from admlops.curation.mining import Candidates, Experience, MiningRule, mine_frames
from admlops.curation.moments import Moments
from admlops.curation.needs import Need, expect_supply
from admlops.errors import DataError
from admlops.files import write_folder_atomically
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.steps.candidates import (
    Failures,
    count_labels_where,
    describe,
    embedding_names,
    expect,
    find_needs,
    narrow,
    read_failures,
    read_judged,
    read_predictions,
    read_rivals,
    rows_with_boxes,
    same_model,
)
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.label_request import LabelCost, LabelRequest, RequestedFrame
from admlops.structures.manifest import Manifest


@dataclass(frozen=True, slots=True)
class MineInputs:
    """What is read.

    Attributes:
        dataset: manifest of the dataset version that holds the unlabelled frames.
        predictions: folder with a model's boxes for those frames.
        evaluation: folder with the model's failures on labelled frames of the dataset.
        judged: folder with the same model's boxes for labelled frames, those that were evaluated:
            they tell what its predictions stand for.
        rivals: folder with another model's boxes for the same frames, or a folder of such folders.
    """

    dataset: Path
    predictions: Path
    evaluation: Path | None = None
    judged: Path | None = None
    rivals: Path | None = None


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
    categories: tuple[str, ...] = ()
    """Categories whose balance counts; empty for those that are evaluated or predicted."""
    counted: str = "split = 'train'"
    """SQL condition on the view `boxes` that labels meet which a category has already."""
    requirement: Requirement | None = None
    """What the dataset must hold: what it lacks is asked for, what it has is not."""
    like: tuple[str, ...] = ()
    """Frames ("log/scene/timestamp_ns") that picks shall be like."""
    embedding: str = "auto"
    """Name of an embedding in the dataset; "cloud" describes the points instead; "auto" takes the
    one that was made with the predictions, or the first that all frames have, else "cloud"."""
    max_labelled: int = Field(default=256, ge=0)
    """Labelled frames, spread evenly, from which picks keep away."""
    max_failed: int = Field(default=256, ge=0)
    """Failed frames, worst first, that picks are likened to."""
    max_judged: int = Field(default=2000, ge=0)
    """Labelled frames, spread evenly, that correct what the model predicts."""
    shortlist: int = Field(default=50_000, ge=1)
    """Candidates that are looked at; of a larger pool half are the nearest to failed and named
    frames by the vector index, the others are spread evenly."""
    flicker_gap_s: float = Field(default=0.6, ge=0)
    """Frames of a scene at most this far apart must show the same boxes."""
    flicker_speed_mps: float = Field(default=15.0, ge=0)
    """How fast objects may have moved between them."""
    round_name: str = "round"
    """Name of the loop's round, for the ledger."""
    ledger: str = ""
    """File that records what labelling costs; empty for none."""
    limit: LabelLimit = LabelLimit()
    """What all requests in the ledger may cost together."""


def mine(inputs: MineInputs, outputs: MineOutputs, config: MineConfig) -> Scores:
    """Pick the frames that bring most for their price; charge the label budget.

    Raises:
        DataError: there are no candidates, or no predictions for them, or what was evaluated or
            judged is of another dataset or model.
        GateError: the label budget would be passed.
    """
    dataset = Dataset.open(Manifest.read(inputs.dataset, "dataset").reference)
    same_model(inputs.predictions, inputs.judged)
    failures = read_failures(dataset, inputs.evaluation, config.max_failed)
    pool = _open_pool(dataset, inputs, failures, config)
    if config.strategy == "random":
        frames = _pick_randomly(dataset, pool, config)
    else:
        needs = find_needs(dataset, config.requirement)
        experience, descriptors = _remember(dataset, pool, failures, needs, config)
        candidates = _look(dataset, pool, needs, (inputs.rivals, descriptors, config))
        frames = mine_frames(candidates, experience, config)
    request = _request(dataset, frames, len(pool.rows), config)
    request = _charge(request, config)
    with write_folder_atomically(outputs.request) as draft:
        request.write(draft)
    return {
        "num_candidates": float(len(pool.rows)),
        "num_requested": float(len(frames)),
        "expected_boxes": request.cost.boxes,
        **{f"budget_{name}": value for name, value in request.budget.items()},
    }


@dataclass(frozen=True, slots=True)
class _Pool:
    """The candidates: their rows, what is predicted, what they hold and what describes them.

    `every_moment` is that of all frames of the dataset.
    """

    rows: NDArray[np.int64]
    predictions: list[Boxes]
    content: Content
    embeddings: list[str]
    every_moment: Moments


def _open_pool(
    dataset: Dataset, inputs: MineInputs, failures: Failures, config: MineConfig
) -> _Pool:
    every = dataset.rows_where(f"({config.candidates}) AND NOT is_keyframe")
    if len(every) == 0:
        raise DataError(
            f"{dataset.reference}: no unlabelled frame meets {config.candidates!r}; ingest "
            "unlabelled frames, or change the condition"
        )
    queries = np.concatenate([failures.rows, _named_rows(dataset, config.like)])
    names = embedding_names(dataset, inputs.predictions, config.embedding)
    rows = narrow(dataset, every, queries, config.shortlist, names)
    predictions = read_predictions(dataset, rows, inputs.predictions)
    judged = read_judged(dataset, inputs.judged, config.max_judged)
    known = config.categories or failures.categories
    content = expect(predictions, judged, known, (config.min_score, config.box_score))
    if config.categories:
        kept = [content.categories.index(name) for name in config.categories]
        content = Content(config.categories, content.boxes[:, kept], content.cost)
    every_moment = Moments.of(dataset.keys(), dataset.poses())
    return _Pool(rows, predictions, content, names, every_moment)


def _named_rows(dataset: Dataset, names: Sequence[str]) -> NDArray[np.int64]:
    where = {str(key): row for row, key in enumerate(dataset.keys())} if names else {}
    unknown = [name for name in names if name not in where]
    if unknown:
        raise DataError(
            f"{dataset.reference}: no frame is called {', '.join(map(repr, unknown[:3]))}; frames "
            f"are named log/scene/timestamp_ns, for example {next(iter(where), '')!r}"
        )
    return np.array([where[name] for name in names], np.int64)


def _pick_randomly(dataset: Dataset, pool: _Pool, config: MineConfig) -> list[RequestedFrame]:
    keys, names = dataset.keys(), dataset.frame_ids()
    frames: list[RequestedFrame] = []
    spent = 0.0
    for place in np.random.default_rng(config.seed).permutation(len(pool.rows)):
        cost = float(pool.content.cost[place])
        if len(frames) == config.num_frames:
            break
        if config.max_boxes is not None and spent + cost > config.max_boxes:
            continue
        spent += cost
        row = pool.rows[place]
        frames.append(
            RequestedFrame(
                **keys[row]._asdict(),
                frame_id=names[row],
                reason="picked at random",
                expected_boxes=round(cost, 3),
            )
        )
    return frames


def _remember(
    dataset: Dataset,
    pool: _Pool,
    failures: Failures,
    needs: Sequence[Need],
    config: MineConfig,
) -> tuple[Experience, NDArray[np.floating]]:
    """Return what is known from labelled frames, and the candidates' descriptors beside it."""
    labelled = spread_evenly(dataset.rows_where("num_boxes > 0"), config.max_labelled)
    groups = [pool.rows, failures.rows, _named_rows(dataset, config.like), labelled]
    described = describe(dataset, np.concatenate(groups).astype(np.int64), pool.embeddings)
    own, failed, like, seen = np.split(described, np.cumsum([len(part) for part in groups])[:-1])
    experience = Experience(
        failure_descriptors=failed,
        failure_counts=failures.counts,
        labelled_descriptors=seen,
        labelled_moments=pool.every_moment.select(rows_with_boxes(dataset, config.counted)),
        label_counts=count_labels_where(dataset, config.counted),
        like_descriptors=like,
        missing=np.array([need.num_missing for need in needs]),
        by_scene=np.array([need.scenes is not None for need in needs], np.bool_),
    )
    return experience, own


def _look(
    dataset: Dataset,
    pool: _Pool,
    needs: Sequence[Need],
    seen: tuple[Path | None, NDArray[np.floating], MineConfig],
) -> Candidates:
    rivals, descriptors, config = seen
    keys, names = dataset.keys(), dataset.frame_ids()
    tags = dataset.query("SELECT tags FROM frames ORDER BY row")["tags"].to_pylist()
    own = [(keys[row][:2], tags[row]) for row in pool.rows]
    shown = [boxes.select(boxes.score >= config.box_score) for boxes in pool.predictions]
    moments = pool.every_moment.select(pool.rows)
    near = Neighbourhood(round(config.flicker_gap_s * 1e9), config.flicker_speed_mps)
    return Candidates(
        keys=[keys[row] for row in pool.rows],
        moments=moments,
        frame_ids=[names[row] for row in pool.rows],
        predictions=pool.predictions,
        descriptors=descriptors,
        content=pool.content,
        supply=expect_supply(needs, pool.content, pool.predictions, own),
        rivals=read_rivals(dataset, pool.rows, rivals),
        flicker=flicker(moments, shown, near),
    )


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
