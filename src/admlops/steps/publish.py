"""The step `publish`: make, prove and activate an immutable Triton release."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from admlops.config import Config, read_json_object
from admlops.detection.backends import ONNX_FILE, Precision, Runtime, load_network
from admlops.detection.config import read_detector_config
from admlops.detection.predictor import Network, Predictor
from admlops.detection.voxelization import Voxelizer
from admlops.errors import ConfigError, DataError, GateError
from admlops.evaluation.result import EVALUATION_FILE
from admlops.export.verification import read_verification_scores
from admlops.files import digest_file
from admlops.geometry.pose import transform_points
from admlops.lake.rows import spread_evenly
from admlops.lake.store import Dataset
from admlops.serving.bucket_store import open_store
from admlops.serving.engine_key import EngineKey, require_engine_for
from admlops.serving.engine_proof import largest_cloud, make_prover, read_engine, this_node
from admlops.serving.golden import Golden, total_boxes
from admlops.serving.inventory import FILES_FILE, Inventory
from admlops.serving.licences import Use, require_permission
from admlops.serving.publication import (
    PARITY_TOLERANCE,
    Papers,
    Publication,
    prove_release,
    publish_release,
)
from admlops.serving.release import ReleaseContent
from admlops.serving.release_reference import ReleaseReference
from admlops.serving.rollout import Track, require_overlay, set_release
from admlops.serving.stages import ServingSettings
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame
from admlops.structures.manifest import Manifest

MANIFEST_FILE = "manifest.json"
_NUM_CANDIDATES = 12
"""Frames among which the golden ones are chosen: those with the most boxes."""


@dataclass(frozen=True, slots=True)
class PublishInputs:
    """What is read.

    Attributes:
        built: folder of the network in the runtime's own form.
        dataset: manifest of the frames that golden requests are taken from.
        verification: folder of parity and latency.
        evaluation: folder of the model's scores.
        verdict: folder of the gate's decision.
    """

    built: Path
    dataset: Path
    verification: Path
    evaluation: Path
    verdict: Path


@dataclass(frozen=True, slots=True)
class PublishOutputs:
    """What is written.

    Attributes:
        release: manifest of the release.
    """

    release: Path


class PublishConfig(Config):
    """Where the release goes, and how it runs."""

    releases_uri: str
    """Where releases are kept: a folder, or s3://bucket/folder."""
    target: Literal["store", "kustomize"] = "store"
    """"kustomize" also names the release in an overlay, ready to be applied."""
    overlay: str = ""
    """Folder of the overlay, for the target kustomize."""
    track: Track = "stable"
    """Which of the overlay's Deployments gets the release: stable or canary."""
    runtime: Runtime = "openvino"
    """What runs the network; tensorrt is published on a GPU of the kind that will serve."""
    precision: Precision = "f32"
    """Arithmetic of the network; bf16 and int8 are OpenVINO's, an engine has its own."""
    num_threads: int = Field(default=0, ge=0)
    """Threads of the network; 0 lets the runtime choose."""
    max_points: int = Field(default=2_000_000, ge=1)
    """Larger clouds are refused by the server."""
    use: Use = "research"
    """What the release is for; commercial use is refused where a licence forbids it."""
    num_golden: int = Field(default=2, ge=1)
    """Golden requests from the dataset; an empty cloud is added."""
    tolerance: float = Field(default=PARITY_TOLERANCE, gt=0)
    """Largest difference of the served boxes from those computed in this process; an engine in f16
    needs more than the default."""
    ego_from_lidar: tuple[tuple[float, float, float, float], ...] | None = None
    """(4, 4) nominal calibration; that of the dataset's first cloud where none is given."""


def publish(inputs: PublishInputs, outputs: PublishOutputs, config: PublishConfig) -> Scores:
    """Write a release, prove it in a real Triton server, and make it the current one.

    A release with a TensorRT engine is proved with the engine in this process, against the ONNX
    file that it was built from. Whatever fails, the release that was current stays current.

    Raises:
        ConfigError: a licence forbids the use, or the overlay cannot name a release.
        GateError: the verdict is no, or the answers differ from those of this process.
        ServiceError: Triton is not installed or did not start.
        DataError: an input cannot be read, or an engine is not for this machine's GPU.
    """
    _require_passed(inputs.verdict)
    if config.target == "kustomize":
        require_overlay(Path(config.overlay), config.track)
    built = Manifest.read(inputs.built / MANIFEST_FILE, "built")
    dataset_manifest = Manifest.read(inputs.dataset, "dataset")
    require_permission(_licences(built, dataset_manifest), config.use)
    dataset = Dataset.open(dataset_manifest.reference)
    content = _content(inputs.built, dataset, config)
    papers = _papers(inputs, config, built, dataset_manifest)
    store = open_store(config.releases_uri)
    prove = make_prover(this_node()) if config.runtime == "tensorrt" else prove_release
    activate = config.track == "stable"
    publication = publish_release(
        store, content, papers, config.tolerance, activate=activate, prove=prove
    )
    release_id = publication.record.release_id
    kept = store.manifest_path(release_id)
    if not kept.is_file():
        uri = store.uri_of(release_id)
        store.keep_manifest(release_id, _manifest(uri, publication, papers, content))
    manifest = Manifest.read(kept, "release")
    manifest.write(outputs.release)
    if config.target == "kustomize":
        reference = ReleaseReference(release_id, digest_file(publication.path / FILES_FILE))
        set_release(Path(config.overlay), reference, config.track)
    return {name: manifest.scores[name] for name in _OWN_SCORES}


def _licences(built: Manifest, dataset: Manifest) -> tuple[str, ...]:
    return tuple(sorted({*built.licences, *dataset.licences}))


def _papers(
    inputs: PublishInputs, config: PublishConfig, built: Manifest, dataset: Manifest
) -> Papers:
    """Return what the release records about where it comes from."""
    own = {
        "step": "publish",
        "built_digest": built.digest,
        "dataset": dataset.reference,
        "dataset_digest": dataset.digest,
    }
    return Papers(
        licences=_licences(built, dataset),
        use=config.use,
        provenance=built.provenance | own,
        scores=_figures(inputs),
        evaluation=inputs.evaluation,
    )


_OWN_SCORES = ("golden_max_abs_diff", "num_golden", "num_golden_boxes", "release_number")


def _manifest(
    uri: str, publication: Publication, papers: Papers, content: ReleaseContent
) -> Manifest:
    """Return what the step hands on; one that was published before keeps its first proof."""
    release_id = publication.record.release_id
    own = (
        publication.largest_difference,
        float(len(content.goldens)),
        float(total_boxes(content.goldens)),
        float(release_id.partition("-")[0]),
    )
    return Manifest(
        kind="release",
        uri=uri,
        digest=publication.record.digest,
        licences=papers.licences,
        provenance=dict(papers.provenance) | {"release_id": release_id},
        scores=dict(papers.scores) | dict(zip(_OWN_SCORES, own, strict=True)),
    )


def _require_passed(verdict: Path) -> None:
    path = verdict / "verdict.json"
    values = read_json_object(path, "run gate again")
    if values.get("passed") is not True:
        raise GateError(
            f"{path}: the gate did not pass this model; see verdict.md beside it. The current "
            "release stays"
        )


def _content(built: Path, dataset: Dataset, config: PublishConfig) -> ReleaseContent:
    max_points, reference = config.max_points, config.runtime
    if config.runtime == "tensorrt":
        max_points = min(max_points, largest_cloud(_require_engine(built, config)))
        reference = "onnxruntime"  # the engine has to answer as the file that it was built from
    network = load_network(built, reference, config.precision, config.num_threads)
    frames = list(_candidates(dataset))
    if not frames:
        raise DataError(f"{dataset.reference}: no frame with a lidar sweep for golden requests")
    ego_from_lidar = _calibration(frames[0], config)
    shapes = _output_shapes(built, network)
    settings = ServingSettings(
        ego_from_lidar=tuple(tuple(float(v) for v in row) for row in ego_from_lidar),
        runtime=config.runtime,
        precision=config.precision,
        num_threads=config.num_threads,
        max_points=max_points,
        output_shapes=shapes,
    )
    predictor = Predictor(read_detector_config(built), network)
    goldens = _goldens(frames, ego_from_lidar, predictor, config.num_golden)
    return ReleaseContent(built=built, settings=settings, goldens=goldens)


def _require_engine(built: Path, config: PublishConfig) -> EngineKey:
    """Return the key of the engine that is to be published, after holding it to this machine."""
    if config.precision != "f32":
        raise ConfigError(
            f"precision {config.precision!r} is not for tensorrt: an engine has the one that it "
            "was built with; leave it out"
        )
    key = read_engine(built)
    require_engine_for(this_node(), [key], Inventory({ONNX_FILE: key.onnx_sha256}))
    return key


def _candidates(dataset: Dataset) -> Iterator[Frame]:
    """Yield frames with clouds: of the validation split, or of any where there is none."""
    rows = dataset.rows_where("split = 'val'")
    rows = rows if len(rows) else np.arange(dataset.num_frames)
    for frame in dataset.iterate(spread_evenly(rows, _NUM_CANDIDATES)):
        if frame.lidar is not None:
            yield frame


def _calibration(frame: Frame, config: PublishConfig) -> NDArray[np.float64]:
    if config.ego_from_lidar is not None:
        matrix = np.array(config.ego_from_lidar)
        if matrix.shape != (4, 4):
            raise ConfigError(f"ego_from_lidar: expected 4 rows of 4 numbers, got {matrix.shape}")
        return matrix
    if frame.lidar is None:
        raise DataError(f"frame {frame.key} has no lidar sweep")
    return frame.lidar.sensor.ego_from_sensor


def _output_shapes(built: Path, network: Network) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the network's outputs, by running it on one point."""
    detector = read_detector_config(built)
    middle = (detector.range_low_m + detector.range_high_m) / 2
    point = np.array([[*middle, 0.5]], dtype=np.float32)
    outputs = network(Voxelizer(detector)(point).as_inputs())
    return {name: tuple(int(n) for n in array.shape) for name, array in outputs.items()}


def _goldens(
    frames: list[Frame],
    ego_from_lidar: NDArray[np.float64],
    predictor: Predictor,
    num_golden: int,
) -> list[Golden]:
    """Return the clouds with the most boxes, and an empty one, with the answers expected."""
    goldens = []
    for frame in frames:
        if frame.lidar is None:
            continue
        points = np.ascontiguousarray(frame.lidar.points, dtype=np.float32)
        moved = points.copy()
        moved[:, :3] = transform_points(ego_from_lidar, points[:, :3])
        name = f"{frame.key.log}-{frame.frame_id}".replace("/", "_")
        goldens.append(Golden(name, points, predictor(moved)))
    goldens.sort(key=lambda golden: -len(golden.boxes))
    empty = Golden("empty", np.empty((0, 4), dtype=np.float32), Boxes.empty())
    return [*goldens[:num_golden], empty]


def _figures(inputs: PublishInputs) -> dict[str, float]:
    """Return the flat scores of evaluation and verification."""
    evaluation = read_json_object(inputs.evaluation / EVALUATION_FILE, "run evaluate again")
    scores = evaluation.get("scores", {})
    figures = {name: float(v) for name, v in scores.items() if isinstance(v, (int, float))}
    return figures | read_verification_scores(inputs.verification)
