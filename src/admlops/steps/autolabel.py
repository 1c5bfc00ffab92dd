"""The step `autolabel`: labels from models, and the frames that need a person."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.annotation.autolabel_report import AUTOLABEL_PAGE, draw_scenes, render_autolabel
from admlops.annotation.calibration import Calibration, calibrate
from admlops.annotation.fusion import FusionConfig, fuse_boxes
from admlops.annotation.package_exchange import complete_boxes
from admlops.annotation.routing import (
    ROUTES,
    ExpectedQuality,
    RoutedFrame,
    RoutingConfig,
    ask_for,
    expect_quality,
    judge,
    route_frame,
)
from admlops.annotation.tracking import (
    SceneDetections,
    TrackedBoxes,
    TrackingConfig,
    track_scene,
)
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import digest_file, write_folder_atomically
from admlops.lake.predictions import iterate_predictions, write_predictions
from admlops.lake.query import quoted
from admlops.lake.store import Dataset
from admlops.steps.candidates import read_rivals
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelCost, LabelRequest
from admlops.structures.manifest import MANIFEST_FILE, PREDICTIONS_FILE, Manifest


@dataclass(frozen=True, slots=True)
class AutolabelInputs:
    """What is read.

    Attributes:
        dataset: manifest of the dataset version that holds the frames.
        predictions: folder with a model's boxes, for frames to label and for labelled ones.
        rivals: folder with another model's boxes for the same frames, or a folder of such folders.
    """

    dataset: Path
    predictions: Path
    rivals: Path | None = None


@dataclass(frozen=True, slots=True)
class AutolabelOutputs:
    """What is written.

    Attributes:
        prelabels: folder of `predictions.parquet` and its manifest, boxes to start from, and of
            `autolabel.html`, what became of them.
        request: folder of `request.json`: frames that need a person.
        labelled: manifest of the dataset version with the frames that need none as labelled; of
            the same version as before where nothing is merged.
    """

    prelabels: Path
    request: Path
    labelled: Path | None = None


class AutolabelConfig(Config):
    """How models' boxes become labels."""

    candidates: str = "split = 'pool'"
    """SQL condition on the view `frames` that frames to label meet; labelled ones never do."""
    judged: str = "split <> 'auto'"
    """SQL condition on the view `frames` that labelled frames meet to tell what scores are
    worth."""
    fusion: FusionConfig = FusionConfig()
    """Which boxes of the models are of one object."""
    tracking: TrackingConfig = TrackingConfig()
    """How objects are followed from frame to frame."""
    routing: RoutingConfig = RoutingConfig()
    """What must be so that a box is trusted."""
    max_frames: int | None = Field(default=None, ge=0)
    """How many frames may be requested, those with most to correct first; None for all."""
    max_pictures: int = Field(default=3, ge=0)
    """How many scenes the page shows from above."""
    round_name: str = "autolabel"
    """Name of the request's round."""
    merge: bool = False
    """Whether frames of which every box is accepted become labelled in a new version."""
    split: str = "auto"
    """Split that merged frames move to, so that they are told from those that people labelled."""


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where labels come from: provenance, and the licence terms of data and models."""

    provenance: dict[str, str]
    licences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Frames:
    """Frames with predictions: rows of the dataset, and what the models show in each."""

    rows: NDArray[np.int64]
    models: list[tuple[Boxes, ...]]


def autolabel(
    inputs: AutolabelInputs, outputs: AutolabelOutputs, config: AutolabelConfig
) -> Scores:
    """Fuse, track and route models' boxes; write labels to start from and a label request.

    Raises:
        ConfigError: the models' weights are not as many as the models.
        DataError: no frame meets the condition, or it has no predictions.
    """
    manifest = Manifest.read(inputs.dataset, "dataset")
    dataset = Dataset.open(manifest.reference)
    origin = _origin(dataset, manifest, inputs)
    frames = _read(dataset, inputs, config)
    tracked = _track(dataset, frames, config)
    labels = _labels(dataset, frames.rows, config.judged)
    found, known = [tracked[key] for key in labels], list(labels.values())
    calibration = calibrate(judge(found, known, config.routing), config.routing.min_judged)
    quality = expect_quality(tracked, labels, config.routing)
    every = {
        key: route_frame(key, boxes, calibration, config.routing) for key, boxes in tracked.items()
    }
    asked = _candidates(dataset, config)
    routed = [every[key] for key in sorted(every.keys() & asked)]
    num_merged, changed = 0, dataset
    if config.merge:
        changed, num_merged = _merge(dataset, routed, (origin, config))
    scores = _scores(routed, calibration, quality) | {"num_merged_frames": float(num_merged)}
    request = _request(changed, routed, config)
    scores["num_requested"] = float(len(request.frames))
    poses = dict(zip(dataset.keys(), dataset.poses(), strict=True))
    page = render_autolabel(routed, draw_scenes(routed, poses, config.max_pictures), scores)
    _write_prelabels(outputs.prelabels, list(every.values()), (origin, scores, page))
    with write_folder_atomically(outputs.request) as draft:
        request.write(draft)
    if outputs.labelled is not None:
        changed.manifest(origin.provenance, scores).write(outputs.labelled)
    return scores


def _candidates(dataset: Dataset, config: AutolabelConfig) -> set[FrameKey]:
    rows = dataset.rows_where(f"({config.candidates}) AND NOT is_keyframe")
    if len(rows) == 0:
        raise DataError(
            f"{dataset.reference}: no unlabelled frame meets {config.candidates!r}; ingest "
            "unlabelled frames, or change the condition"
        )
    keys = dataset.keys()
    return {keys[row] for row in rows}


def _read(dataset: Dataset, inputs: AutolabelInputs, config: AutolabelConfig) -> _Frames:
    where = {key: row for row, key in enumerate(dataset.keys())}
    file = inputs.predictions / PREDICTIONS_FILE
    own = {key: boxes for key, boxes in iterate_predictions(file) if key in where}
    missing = sorted(_candidates(dataset, config) - own.keys())
    if missing:
        raise DataError(
            f"{inputs.predictions}: no predictions for {len(missing)} frames that meet "
            f"{config.candidates!r}, for example {missing[0]}; run predict on them"
        )
    keys = sorted(own)
    rows = np.array([where[key] for key in keys], np.int64)
    rivals = read_rivals(dataset, rows, inputs.rivals) or [()] * len(rows)
    models = [(own[key], *others) for key, others in zip(keys, rivals, strict=True)]
    num_models = len(models[0])
    if config.fusion.weights and len(config.fusion.weights) != num_models:
        raise ConfigError(
            f"fusion.weights has {len(config.fusion.weights)} weights for {num_models} models; "
            "give one for predictions and one for each folder of rivals, in order of their names"
        )
    return _Frames(rows, models)


def _track(
    dataset: Dataset, frames: _Frames, config: AutolabelConfig
) -> dict[FrameKey, TrackedBoxes]:
    keys, poses = dataset.keys(), dataset.poses()
    scenes: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, row in enumerate(frames.rows):
        scenes[keys[row][:2]].append(place)
    tracked: dict[FrameKey, TrackedBoxes] = {}
    console = Console(stderr=True)
    for places in track(scenes.values(), "autolabel", total=len(scenes), console=console):
        places.sort(key=lambda place: keys[frames.rows[place]].timestamp_ns)
        rows = frames.rows[places]
        scene = SceneDetections(
            keys=[keys[row] for row in rows],
            global_from_ego=poses[rows],
            fused=[fuse_boxes(frames.models[place], config.fusion) for place in places],
        )
        tracked |= zip(scene.keys, track_scene(scene, config.tracking), strict=True)
    return tracked


def _labels(dataset: Dataset, rows: NDArray[np.int64], condition: str) -> dict[FrameKey, Boxes]:
    labelled = np.intersect1d(rows, dataset.rows_where(f"({condition}) AND num_boxes IS NOT NULL"))
    frames = dataset.take(labelled, lidar=False)
    return {frame.key: frame.boxes for frame in frames if frame.boxes is not None}


def _request(
    dataset: Dataset, routed: Sequence[RoutedFrame], config: AutolabelConfig
) -> LabelRequest:
    names = dict(zip(dataset.keys(), dataset.frame_ids(), strict=True))
    asked = [ask_for(frame) for frame in routed if frame.route != "accept"]
    asked.sort(key=lambda frame: (-frame.score, frame.key))
    picked = [frame.replace(frame_id=names[frame.key]) for frame in asked[: config.max_frames]]
    return LabelRequest(
        dataset=dataset.reference,
        frames=tuple(picked),
        cost=LabelCost(frames=len(picked), boxes=sum(frame.expected_boxes for frame in picked)),
        round_name=config.round_name,
        num_candidates=len(routed),
    )


def _merge(
    dataset: Dataset, routed: Sequence[RoutedFrame], of: tuple[_Origin, AutolabelConfig]
) -> tuple[Dataset, int]:
    """Label the frames of which every box is accepted; return the version that has them.

    They go onto the latest version, where frames that others labelled meanwhile stay as they are.
    A repeated run leads to the first one's version.
    """
    origin, config = of
    passed = {frame.key: frame for frame in routed if frame.route == "accept"}
    if not passed:
        return dataset, 0
    described = [[str(key), *frame.boxes.as_7().ravel().tolist()] for key, frame in passed.items()]
    content = json.dumps([dataset.reference, config.to_json_dict(), described])
    tag = f"autolabel-{hashlib.sha256(content.encode()).hexdigest()[:16]}"
    if tag in dataset.tags():
        latest = Dataset.open(f"{dataset.uri}@{tag}")
    else:
        latest = Dataset.create(dataset.uri, licences=origin.licences)
        latest.relabel(_complete(latest, passed), split=config.split)
        latest.tag(tag)
    keys = latest.keys()
    rows = latest.rows_where("is_keyframe AND split = " + quoted(config.split))
    return latest, sum(keys[row] in passed for row in rows)


def _complete(latest: Dataset, passed: Mapping[FrameKey, RoutedFrame]) -> dict[FrameKey, Boxes]:
    keys = latest.keys()
    rows = [row for row in latest.rows_where("NOT is_keyframe") if keys[row] in passed]
    return {
        frame.key: complete_boxes(passed[frame.key].accepted, frame)
        for frame in latest.iterate(rows)
    }


def _scores(
    routed: Sequence[RoutedFrame], calibration: Calibration, quality: ExpectedQuality
) -> Scores:
    routes = np.concatenate([np.empty(0, np.int64), *(frame.routes for frame in routed)])
    of_frames = [frame.route for frame in routed]
    tracks = {str(name) for frame in routed for name in frame.boxes.track_id} - {""}
    words = {"accept": "accepted", "review": "review", "ask": "asked"}
    return {
        "num_frames": float(len(routed)),
        "num_tracks": float(len(tracks)),
        "num_interpolated": float(sum(int(frame.is_interpolated.sum()) for frame in routed)),
        **{
            f"num_{words[route]}": float(np.count_nonzero(routes == number))
            for number, route in enumerate(ROUTES)
        },
        **{f"num_{words[route]}_frames": float(of_frames.count(route)) for route in ROUTES},
        "num_calibrated_categories": float(len(calibration.curves)),
        **quality.scores(),
    }


def _origin(dataset: Dataset, manifest: Manifest, inputs: AutolabelInputs) -> _Origin:
    folders = [inputs.predictions]
    if inputs.rivals is not None:
        folders += sorted(file.parent for file in inputs.rivals.glob(f"**/{PREDICTIONS_FILE}"))
    files = [folder / MANIFEST_FILE for folder in folders]
    known = [Manifest.read(file, "predictions") for file in files if file.is_file()]
    models = [found.provenance.get("model_digest", "") for found in known]
    provenance = {
        "step": "autolabel",
        "parent": manifest.reference,
        "dataset": manifest.reference,
        "models": ", ".join(filter(None, models)),
    }
    terms = {*dataset.licences, *(name for found in known for name in found.licences)}
    return _Origin(provenance, tuple(sorted(terms)))


def _write_prelabels(
    path: Path,
    frames: Sequence[RoutedFrame],
    of: tuple[_Origin, Scores, str],
) -> None:
    origin, scores, page = of
    with write_folder_atomically(path) as folder:
        items = ((frame.key, frame.prelabels) for frame in frames)
        write_predictions(folder / PREDICTIONS_FILE, items)
        (folder / AUTOLABEL_PAGE).write_text(page)
        Manifest(
            kind="predictions",
            uri=str(path.resolve()),
            digest=digest_file(folder / PREDICTIONS_FILE),
            licences=origin.licences,
            provenance=origin.provenance,
            scores=scores,
        ).write(folder / MANIFEST_FILE)
