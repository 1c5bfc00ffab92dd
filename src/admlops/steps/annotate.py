"""The step `annotate`: fulfil a label request; make a new dataset version."""

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from admlops.annotation.acceptance_report import (
    is_accepted,
    write_acceptance,
    write_settled,
    write_trusted,
)
from admlops.config import Config
from admlops.errors import DataError, GateError
from admlops.files import write_folder_atomically
from admlops.lake.encoding import label_2d_digest, label_digest
from admlops.lake.predictions import iterate_predictions
from admlops.lake.relabelling import NewLabels
from admlops.lake.store import Dataset
from admlops.steps.annotators import FolderAnnotator, OracleAnnotator, VendorAnnotator
from admlops.steps.step import Scores
from admlops.steps.vendor_labels import VendorTask, judge_vendor
from admlops.structures.boxes import Boxes
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest

PREDICTIONS_FILE = "predictions.parquet"


@dataclass(frozen=True, slots=True)
class AnnotateInputs:
    """What is read.

    Attributes:
        dataset: manifest of a dataset version.
        request: folder of `request.json`.
        predictions: folder of boxes that a vendor starts from.
        earlier: the judgement of an earlier delivery; where that was accepted, nothing is asked
            again and the dataset goes on as it is.
    """

    dataset: Path
    request: Path
    predictions: Path | None = None
    earlier: Path | None = None


@dataclass(frozen=True, slots=True)
class AnnotateOutputs:
    """What is written.

    Attributes:
        labelled: manifest of the dataset version with the new labels; of the same version as
            before where a delivery is rejected.
        acceptance: folder of `acceptance.json`, `acceptance.html` and `feedback.json`.
    """

    labelled: Path
    acceptance: Path | None = None


class AnnotateConfig(Config):
    """Who labels."""

    annotator: Annotated[
        OracleAnnotator | FolderAnnotator | VendorAnnotator, Field(discriminator="kind")
    ] = OracleAnnotator()
    """The simulator's oracle, a folder of delivered labels, or a vendor."""
    split: str = "train"
    """Split that the labelled frames move to."""
    overwrite: bool = True
    """Whether labels that others gave to requested frames since the request was made are
    replaced; if not, the step fails and names them."""
    enforce: bool = False
    """Raise where a delivery is rejected; otherwise the answer is only returned and written."""


@dataclass(frozen=True, slots=True)
class _Labelling:
    """Labels on their way into the dataset.

    Attributes:
        labels: by frame; None where a delivery is rejected.
        tag: of the version that they lead to.
        provenance: how they came to be.
        scores: what is known of them.
    """

    labels: NewLabels | None
    tag: str
    provenance: Mapping[str, str]
    scores: Scores


def annotate(inputs: AnnotateInputs, outputs: AnnotateOutputs, config: AnnotateConfig) -> Scores:
    """Label exactly the frames that the request names, in a new version of the dataset.

    The labels go onto the latest version, so that what others added since the request stays. A
    vendor's delivery is judged first; a rejected one changes nothing.

    Raises:
        DataError: the request is damaged, a frame is unknown to annotator or dataset, a vendor has
            not delivered yet, or others labelled requested frames and `overwrite` is not set.
        GateError: the delivery is rejected, and `enforce` is set; the report is written before.
        ServiceError: the object store failed.
    """
    manifest = Manifest.read(inputs.dataset, "dataset")
    request = LabelRequest.read(inputs.request)
    if inputs.earlier is not None and is_accepted(inputs.earlier):
        return _pass_on(outputs, manifest)
    if isinstance(config.annotator, VendorAnnotator):
        labelling = _ask_vendor(inputs, outputs, (manifest, request), config)
    else:
        labelling = _ask_trusted(outputs, manifest, request, config)
    if labelling.labels is None:
        provenance = {"step": "annotate", "parent": manifest.reference, **labelling.provenance}
        dataset = Dataset.open(manifest.reference)
        dataset.manifest(provenance, labelling.scores).write(outputs.labelled)
        return labelling.scores
    return _merge(outputs, manifest, (labelling, labelling.labels), config)


def _pass_on(outputs: AnnotateOutputs, manifest: Manifest) -> Scores:
    """Hand on the dataset: an earlier delivery was accepted."""
    if outputs.acceptance is not None:
        with write_folder_atomically(outputs.acceptance) as draft:
            write_settled(draft)
    scores = {"accepted": 1.0, "num_labelled": 0.0, "num_changed": 0.0}
    provenance = {"step": "annotate", "parent": manifest.reference, "annotator": "none"}
    Dataset.open(manifest.reference).manifest(provenance, scores).write(outputs.labelled)
    return scores


def _ask_trusted(
    outputs: AnnotateOutputs, manifest: Manifest, request: LabelRequest, config: AnnotateConfig
) -> _Labelling:
    assert not isinstance(config.annotator, VendorAnnotator)  # noqa: S101 - told apart before
    labels = NewLabels(config.annotator.label(request.keys))
    kind = config.annotator.kind
    if outputs.acceptance is not None:
        with write_folder_atomically(outputs.acceptance) as draft:
            write_trusted(draft, kind, len(labels.keys))
    content = {
        "dataset": manifest.reference,
        "keys": request.keys,
        "config": config.to_json_dict(),
    }
    return _Labelling(labels, _tag(content), {"annotator": kind}, {"accepted": 1.0})


def _ask_vendor(
    inputs: AnnotateInputs,
    outputs: AnnotateOutputs,
    asked: tuple[Manifest, LabelRequest],
    config: AnnotateConfig,
) -> _Labelling:
    """Return the labels that a vendor delivered, none where they are rejected."""
    assert isinstance(config.annotator, VendorAnnotator)  # noqa: S101 - told apart before
    manifest, request = asked
    with ExitStack() as stack:
        exchange = config.annotator.exchange
        if exchange is None:
            exchange = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        task = VendorTask(
            dataset=Dataset.open(manifest.reference),
            request=request,
            predictions=_predictions(inputs.predictions),
            exchange=exchange,
        )
        judged = judge_vendor(task, config.annotator)
    acceptance = judged.acceptance
    if outputs.acceptance is not None:
        with write_folder_atomically(outputs.acceptance) as draft:
            write_acceptance(draft, acceptance, judged.pictures)
    if config.enforce and not acceptance.accepted:
        raise GateError(f"{acceptance.package_id}: {acceptance.sentence}")
    content = {
        "dataset": manifest.reference,
        "keys": request.keys,
        "delivery": acceptance.delivery_digest,
        "split": config.split,
    }
    provenance = {
        "annotator": "vendor",
        "package": acceptance.package_id,
        "delivery": acceptance.delivery_digest,
        "definition": acceptance.definition,
    }
    labels = judged.labels if acceptance.accepted else None
    return _Labelling(labels, _tag(content), provenance, judged.scores)


def _merge(
    outputs: AnnotateOutputs,
    manifest: Manifest,
    found: tuple[_Labelling, NewLabels],
    config: AnnotateConfig,
) -> Scores:
    """Put labels onto the latest version, once: a repeated run leads to the first one's version."""
    labelling, labels = found
    dataset = Dataset.open(manifest.uri)
    provenance = {"step": "annotate", "parent": manifest.reference, **labelling.provenance}
    num_changed = num_overwritten = 0
    if labelling.tag in dataset.tags():
        dataset = Dataset.open(f"{manifest.uri}@{labelling.tag}")
    else:
        base = dataset.reference
        if base != manifest.reference:
            provenance["base"] = base
            num_overwritten = _count_overwritten(dataset, manifest, labels, config)
        num_changed = dataset.relabel(labels.boxes, config.split, labels.boxes_2d)
        dataset.tag(labelling.tag)
    scores = {
        "num_labelled": float(len(labels.keys)),
        "num_changed": float(num_changed),
        "num_overwritten": float(num_overwritten),
        "num_boxes": float(sum(len(boxes) for boxes in labels.boxes.values())),
        "num_boxes_2d": float(sum(len(boxes) for boxes in labels.boxes_2d.values())),
        **labelling.scores,
    }
    dataset.manifest(provenance, scores).write(outputs.labelled)
    return scores


def _count_overwritten(
    latest: Dataset, manifest: Manifest, labels: NewLabels, config: AnnotateConfig
) -> int:
    """Return how many frames have got other labels since the request was made.

    Raises:
        DataError: there are some, and they may not be overwritten.
    """
    before = Dataset.open(manifest.reference).frame_digests()
    now = latest.frame_digests()
    keys = labels.keys
    others = [
        key
        for key in keys
        if key in before
        and key in now
        and _are_others(before[key].labels, now[key].labels, _digests(labels, key, config.split))
    ]
    if others and not config.overwrite:
        raise DataError(
            f"{latest.reference}: {len(others)} of {len(keys)} requested frames have got other "
            f"labels since {manifest.reference}, for example {others[0]}; request them again, or "
            "set overwrite"
        )
    return len(others)


def _are_others(before: Sequence[str], now: Sequence[str], ours: Sequence[str]) -> bool:
    """Return whether labels have changed since, to others than ours; "" of ours changes nothing."""
    digests = zip(before, now, ours, strict=True)
    return any(own and there not in (earlier, own) for earlier, there, own in digests)


def _digests(labels: NewLabels, key: FrameKey, split: str) -> tuple[str, str]:
    """Return the digests of a frame's new labels, in space and in images; "" where none are new."""
    boxes, boxes_2d = labels.boxes.get(key), labels.boxes_2d.get(key)
    return (
        "" if boxes is None else label_digest(boxes, split),
        "" if boxes_2d is None else label_2d_digest(boxes_2d),
    )


def _predictions(folder: Path | None) -> dict[FrameKey, Boxes]:
    return {} if folder is None else dict(iterate_predictions(folder / PREDICTIONS_FILE))


def _tag(content: Mapping[str, Any]) -> str:
    """Return the tag of what decides the result."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"labelled-{digest[:16]}"
