"""The step `annotate`: fulfil a label request; make a new dataset version."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from admlops.config import Config
from admlops.errors import DataError
from admlops.formats.kitti.reader import read_frames
from admlops.lake.store import Dataset
from admlops.simulation.config import WorldConfig
from admlops.simulation.world import oracle_labels
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.finding import Finding
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest


@dataclass(frozen=True, slots=True)
class AnnotateInputs:
    """What is read.

    Attributes:
        dataset: manifest of a dataset version.
        request: folder of `request.json`.
    """

    dataset: Path
    request: Path


@dataclass(frozen=True, slots=True)
class AnnotateOutputs:
    """What is written.

    Attributes:
        labelled: manifest of the dataset version with the new labels.
    """

    labelled: Path


class OracleAnnotator(Config):
    """The simulator, which knows the truth about its own frames."""

    kind: Literal["oracle"] = "oracle"
    """Tells the annotators apart."""
    world: WorldConfig = WorldConfig()
    """The world that the frames were simulated with."""

    def label(self, keys: list[FrameKey]) -> dict[FrameKey, Boxes]:
        """Return the truth about the frames."""
        return oracle_labels(self.world, keys)


class FolderAnnotator(Config):
    """A delivery of labels in the KITTI object layout, with the frames' lidar and calibration."""

    kind: Literal["folder"] = "folder"
    """Tells the annotators apart."""
    path: Path
    """The delivered folder."""

    def label(self, keys: list[FrameKey]) -> dict[FrameKey, Boxes]:
        """Return the delivered labels of the frames.

        Raises:
            DataError: a frame is not in the delivery, or its label file is bad.
        """
        wanted = set(keys)
        labels: dict[FrameKey, Boxes] = {}
        problems: list[Finding] = []
        for item in read_frames(self.path):
            if isinstance(item, Finding):
                problems.append(item)
            elif item.key in wanted and item.boxes is not None:
                labels[item.key] = item.boxes
        missing = [key for key in keys if key not in labels]
        if missing:
            reason = f" The first finding there: {problems[0]}" if problems else ""
            raise DataError(
                f"{self.path}: no labels of {len(missing)} of {len(keys)} requested frames, "
                f"for example {missing[0]}; ask for them.{reason}"
            )
        return {key: labels[key] for key in keys}


class AnnotateConfig(Config):
    """Who labels."""

    annotator: Annotated[OracleAnnotator | FolderAnnotator, Field(discriminator="kind")] = (
        OracleAnnotator()
    )
    """The simulator's oracle, or a folder of delivered labels."""
    split: str = "train"
    """Split that the labelled frames move to."""


def annotate(inputs: AnnotateInputs, outputs: AnnotateOutputs, config: AnnotateConfig) -> Scores:
    """Label exactly the frames that the request names, in a new version of the dataset.

    Raises:
        DataError: the request is damaged, or a frame is unknown to annotator or dataset.
        ServiceError: the object store failed.
    """
    manifest = Manifest.read(inputs.dataset, "dataset")
    request = LabelRequest.read(inputs.request)
    dataset = Dataset.open(manifest.uri)
    labels = config.annotator.label(request.keys)
    tag = f"labelled-{_digest(manifest, request, config)[:16]}"
    base = dataset.reference
    num_changed = 0
    if tag in dataset.tags():
        dataset = Dataset.open(f"{manifest.uri}@{tag}")
        base = ""
    else:
        num_changed = dataset.relabel(labels, split=config.split)
        dataset.tag(tag)
    scores = {
        "num_labelled": float(len(labels)),
        "num_changed": float(num_changed),
        "num_boxes": float(sum(len(boxes) for boxes in labels.values())),
    }
    provenance = {
        "step": "annotate",
        "parent": manifest.reference,
        "annotator": config.annotator.kind,
    }
    if base and base != manifest.reference:
        provenance["base"] = base  # others wrote meanwhile: labels go onto the latest version
    dataset.manifest(provenance, scores).write(outputs.labelled)
    return scores


def _digest(manifest: Manifest, request: LabelRequest, config: AnnotateConfig) -> str:
    """Return what decides the result; a repeated run leads to the version of the first."""
    content = {
        "dataset": manifest.reference,
        "keys": request.keys,
        "config": config.to_json_dict(),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
