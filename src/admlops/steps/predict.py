"""The step `predict`: detections in a dataset, or in one cloud."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Table

from admlops.config import Config
from admlops.detection.backends import load_network
from admlops.detection.config import WEIGHTS_FILE, read_detector_config
from admlops.detection.predictor import Predictor
from admlops.errors import ConfigError, DataError
from admlops.files import digest_file, write_folder_atomically
from admlops.formats.cloud_file import read_cloud
from admlops.lake.predictions import VECTORS_FILE, write_predictions, write_vectors
from admlops.lake.query import quoted
from admlops.lake.store import Dataset
from admlops.loading.augmentation import plain_frame
from admlops.loading.raw_frames import as_raw_frame
from admlops.steps.shards import SHARD, WHOLE, Shard, ShardReference
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.manifest import MANIFEST_FILE, PREDICTIONS_FILE, Manifest
from admlops.training.threads import sleep_while_waiting

if TYPE_CHECKING:
    from admlops.serving.client import ServedDetector


@dataclass(frozen=True, slots=True)
class PredictInputs:
    """What is read.

    Attributes:
        dataset: a dataset manifest.
        model: a model folder (torch), or a built folder (OpenVINO or ONNX Runtime).
        cloud: one raw cloud instead of a dataset: float32 x y z intensity, in the ego frame for a
            model, in the lidar frame for a Triton server.
    """

    dataset: Path | None = None
    model: Path | None = None
    cloud: Path | None = None


@dataclass(frozen=True, slots=True)
class PredictOutputs:
    """What is written.

    Attributes:
        predictions: folder of `predictions.parquet` and its manifest.
    """

    predictions: Path | None = None


class PredictConfig(Config):
    """Which frames, and what runs the network."""

    split: str = "val"
    """Split of the dataset; empty for all frames."""
    condition: str = ""
    """SQL on the view `frames` that the frames must also meet."""
    runtime: Literal["auto", "torch", "openvino", "onnxruntime"] = "auto"
    """What runs the network; "auto" is torch for a model folder, OpenVINO for a built one."""
    precision: Literal["f32", "bf16", "int8"] = "f32"
    """Of a built network."""
    camera_view: bool = False
    """Whether points outside the front camera's image are dropped first."""
    embed: bool = False
    """Whether the detector's features of each frame are written into the dataset, in a new version
    of it, as the embedding `detector_` and the first eight digits of the model's digest; torch."""
    score_threshold: float | None = Field(default=None, gt=0, lt=1)
    """Boxes below are dropped; the detector's own threshold by default."""
    shard: ShardReference = WHOLE
    """Which part of the chosen frames, "2/8" for the second of eight; `join` puts all together."""
    lidar_height_m: float = 0.0
    """Added to the z of a single cloud that is in the lidar's frame: its height above ground."""
    url: str = ""
    """A Triton server's gRPC address, which clouds are sent to instead: a single one, or those of a
    dataset, moved to where the release's lidar is; the model is what was published."""


def predict(inputs: PredictInputs, outputs: PredictOutputs, config: PredictConfig) -> Scores:
    """Detect objects in a dataset's frames, or in one cloud, whose boxes are printed.

    Raises:
        ConfigError: the inputs do not go together, or the runtime does not fit the model.
        DataError: dataset, model or cloud cannot be read, or no frame is chosen.
        ServiceError: Triton cannot be reached or refuses a cloud.
    """
    if inputs.cloud is not None:
        return _predict_cloud(inputs.cloud, inputs.model, config)
    if inputs.dataset is None or inputs.model is None or outputs.predictions is None:
        raise ConfigError(
            "predict needs either --cloud FILE with --url or --model, or --dataset, --model and "
            "--predictions"
        )
    _require_plain(config)
    manifest = Manifest.read(inputs.dataset, kind="dataset")
    dataset = Dataset.open(manifest.reference)
    rows = _rows(dataset, config)
    rows = rows[Shard.parse(config.shard).cut(len(rows))]
    model = Manifest.read_any(inputs.model / MANIFEST_FILE)
    with write_folder_atomically(outputs.predictions) as folder:
        tally = _Tally()
        items = _detect(dataset, rows, inputs.model, config, tally)
        write_predictions(folder / PREDICTIONS_FILE, items)
        embedding = f"detector_{model.digest[:8]}" if config.embed else ""
        if tally.embeddings and config.shard == WHOLE:
            dataset.add_embedding(embedding, tally.embeddings)
        elif tally.embeddings:  # `join` adds those of all shards at once
            write_vectors(folder / VECTORS_FILE, tally.embeddings)
        Manifest(
            kind="predictions",
            uri=str(outputs.predictions.resolve()),
            digest=digest_file(folder / PREDICTIONS_FILE),
            licences=tuple(sorted({*dataset.licences, *model.licences})),
            provenance={
                "step": "predict",
                "dataset": manifest.reference,
                "model": model.uri,
                "model_digest": model.digest,
                "embedding": embedding,
                **_settings(inputs.model, config),
            },
            scores=tally.scores(),
        ).write(folder / MANIFEST_FILE)
    return tally.scores()


def _settings(model: Path, config: PredictConfig) -> dict[str, str]:
    """Return what of the config decides which boxes are found, for the provenance."""
    threshold = config.score_threshold or read_detector_config(model).decode.score_threshold
    settings = {
        "split": config.split,
        "condition": config.condition,
        "runtime": config.runtime,
        "precision": config.precision,
        "camera_view": str(config.camera_view).lower(),
        "score_threshold": f"{threshold:g}",
    }
    if config.url:
        from admlops.serving.client import served_release

        settings |= {"runtime": "triton", "release": served_release(config.url).release_id}
    return settings if config.shard == WHOLE else {**settings, SHARD: config.shard}


def load_predictor(model: Path, config: PredictConfig) -> Predictor:
    """Return a predictor for a model or built folder.

    Raises:
        ConfigError: the runtime does not fit the folder.
        DataError: the folder cannot be read.
    """
    detector = read_detector_config(model)
    if config.score_threshold is not None:
        decode = detector.decode.replace(score_threshold=config.score_threshold)
        detector = detector.replace(decode=decode)
    has_weights = (model / WEIGHTS_FILE).is_file()
    runtime = config.runtime
    if runtime == "auto":
        runtime = "torch" if has_weights else "openvino"
    if runtime != "torch":
        if has_weights:
            raise ConfigError(
                f"runtime {runtime!r} needs a built folder, {model} is a model folder; run "
                "`admlops export` and `admlops build` first, or choose runtime 'torch'"
            )
        if config.embed:
            raise ConfigError("embed needs runtime 'torch': built networks show no features")
        return Predictor(detector, load_network(model, runtime, config.precision))
    if not has_weights:
        raise ConfigError(
            f"runtime 'torch' needs a model folder, {model} has no {WEIGHTS_FILE}; choose "
            "'openvino' or 'onnxruntime'"
        )
    sleep_while_waiting()
    from admlops.training.model_folder import read_model

    loaded = read_model(model)
    return Predictor(detector, loaded.infer_and_embed if config.embed else loaded.infer)


@dataclass(slots=True)
class _Tally:
    """Counts while frames stream by."""

    num_frames: int = 0
    num_boxes: int = 0
    num_points_invalid: int = 0
    embeddings: dict[FrameKey, NDArray[np.float32]] = field(default_factory=dict)

    def scores(self) -> Scores:
        return {
            "predict_frames": float(self.num_frames),
            "predict_boxes": float(self.num_boxes),
            "predict_points_invalid": float(self.num_points_invalid),
        }


def _rows(dataset: Dataset, config: PredictConfig) -> NDArray[np.int64]:
    conditions = [f"split = {quoted(config.split)}"] if config.split else []
    conditions += [f"({config.condition})"] if config.condition else []
    rows = dataset.rows_where(" AND ".join(conditions) or "true")
    if len(rows) == 0:
        splits = dataset.query("SELECT DISTINCT split FROM frames ORDER BY split")
        names = ", ".join(repr(name) for name in splits["split"].to_pylist())
        raise DataError(
            f"{dataset.reference}: no frame of split {config.split!r} meets "
            f"{config.condition or 'the condition'}; its splits are {names or 'none'}"
        )
    return rows


def _detect(
    dataset: Dataset,
    rows: NDArray[np.int64],
    model: Path,
    config: PredictConfig,
    tally: _Tally,
) -> Iterator[tuple[FrameKey, Boxes]]:
    if len(rows) == 0:  # a shard beyond the last frame needs no model
        return
    detect = _detector(model, config)
    frames = dataset.iterate(rows)
    console = Console(stderr=True)
    for frame in track(frames, "predict", total=len(rows), console=console):
        if frame.lidar is None:
            raise DataError(f"{dataset.reference}: frame {frame.key} has no lidar sweep")
        found = detect(frame)
        tally.num_frames += 1
        tally.num_boxes += len(found.boxes)
        if found.embedding is not None:
            tally.embeddings[frame.key] = found.embedding
        tally.num_points_invalid += found.num_points_invalid
        yield frame.key, _in_image(found.boxes, frame)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is found in one frame, and how many of its points were no numbers."""

    boxes: Boxes
    num_points_invalid: int
    embedding: NDArray[np.float32] | None = None


def _detector(model: Path, config: PredictConfig) -> Callable[[Frame], _Found]:
    """Return what finds the boxes of a frame with a lidar sweep: a network here, or a server's."""
    if config.url:
        from admlops.serving.client import ServedDetector

        return partial(_ask_server, ServedDetector(config.url), config.score_threshold or 0.0)
    predictor = load_predictor(model, config)

    def detect(frame: Frame) -> _Found:
        raw = as_raw_frame(frame, with_view=config.camera_view)
        found = predictor.detect(plain_frame(raw).points)
        return _Found(found.boxes, len(raw.points) - _num_finite(raw.points), found.embedding)

    return detect


def _ask_server(server: "ServedDetector", score_threshold: float, frame: Frame) -> _Found:
    assert frame.lidar is not None  # noqa: S101 - frames without were refused
    points = frame.lidar.points
    boxes = server.detect(points, frame.lidar.sensor.ego_from_sensor)
    return _Found(boxes.select(boxes.score >= score_threshold), len(points) - _num_finite(points))


def _require_plain(config: PredictConfig) -> None:
    """Refuse what a server cannot do.

    Raises:
        ConfigError: something of the kind is set beside `url`.
    """
    if config.url and (config.runtime != "auto" or config.embed or config.camera_view):
        raise ConfigError(
            "url does not go with runtime, embed or camera_view: the release decides what runs, "
            "and takes whole clouds"
        )


def _num_finite(points: NDArray[np.float32]) -> int:
    return int(np.isfinite(points).all(axis=1).sum())


def _in_image(boxes: Boxes, frame: Frame) -> Boxes:
    """Return the boxes with their place in the front image, where the frame has one."""
    camera = frame.camera
    if camera is None or camera.sensor.camera_matrix is None:
        return boxes
    return boxes.replace(box2d_px=camera.places_of(boxes.as_7()))


def _predict_cloud(cloud: Path, model: Path | None, config: PredictConfig) -> Scores:
    if config.url and config.lidar_height_m:
        raise ConfigError("lidar_height_m does not go with url: the release knows the calibration")
    points = read_cloud(cloud, config.lidar_height_m)
    if config.url:
        from admlops.serving.client import predict_cloud

        boxes = predict_cloud(config.url, points)
        boxes = boxes.select(boxes.score >= (config.score_threshold or 0.0))
    elif model is not None:
        boxes = load_predictor(model, config)(points)
    else:
        raise ConfigError("predict --cloud needs --url HOST:PORT or --model FOLDER")
    Console().print(_table(boxes, cloud.name))
    return {"predict_points": float(len(points)), "predict_boxes": float(len(boxes))}


def _table(boxes: Boxes, title: str) -> Table:
    heading = f"{len(boxes)} boxes in {title} (ego frame)"
    table = Table(title=heading, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for name in ("category", "score", "x m", "y m", "z m", "length", "width", "height", "yaw rad"):
        table.add_column(name, justify="left" if name == "category" else "right")
    for category, score, row in zip(boxes.category, boxes.score, boxes.as_7(), strict=True):
        table.add_row(str(category), f"{score:.2f}", *(f"{value:.2f}" for value in row))
    return table
