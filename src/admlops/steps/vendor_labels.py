"""How `annotate` works with a vendor: package, delivery, judgement, labels."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from admlops.annotation.acceptance import Acceptance, judge_delivery
from admlops.annotation.acceptance_pictures import Picture, draw_defects, pick_defects
from admlops.annotation.definition import DatasetDefinition, load_definition
from admlops.annotation.delivery import Delivery, read_delivery
from admlops.annotation.gold import PackageKey
from admlops.annotation.package import OPENLABEL_FILE, PackageContents, pack_zip
from admlops.annotation.package_exchange import (
    ExchangeFolder,
    PackagePlan,
    delivered_labels,
    frames_of,
    make_key,
    send_package,
)
from admlops.errors import DataError
from admlops.files import digest_file, write_folder_atomically
from admlops.formats.openlabel.reader import read_openlabel
from admlops.formats.openlabel.writer import write_openlabel
from admlops.lake.relabelling import NewLabels
from admlops.lake.store import Dataset
from admlops.reporting.guideline import Evidence, render_guideline
from admlops.simulation.labels import image_labels
from admlops.simulation.vendor import label_as_vendor
from admlops.simulation.world import oracle_labels
from admlops.steps.annotators import SimulatedVendor, VendorAnnotator
from admlops.steps.step import Scores
from admlops.structures.boxes import Boxes
from admlops.structures.boxes_2d import Boxes2d
from admlops.structures.frame import FrameKey
from admlops.structures.label_request import LabelRequest

DELIVERED_FILE = "labels.json"


@dataclass(frozen=True, slots=True)
class VendorTask:
    """What a vendor is asked.

    Attributes:
        dataset: the version that the request is about.
        request: the frames.
        predictions: boxes to start from; empty for none.
        exchange: folder of all packages.
    """

    dataset: Dataset
    request: LabelRequest
    predictions: Mapping[FrameKey, Boxes]
    exchange: Path


@dataclass(frozen=True, slots=True)
class JudgedDelivery:
    """What came of it.

    Attributes:
        acceptance: the judgement.
        pictures: of defects.
        labels: by requested frame; none where the delivery is rejected.
    """

    acceptance: Acceptance
    pictures: list[Picture]
    labels: NewLabels

    @property
    def scores(self) -> Scores:
        """Flat figures."""
        acceptance = self.acceptance
        agreement, agreement_2d = acceptance.agreement, acceptance.agreement_2d
        scores = {
            "accepted": float(acceptance.accepted),
            "num_frames": float(acceptance.num_frames),
            "num_delivered_boxes": float(acceptance.num_boxes),
            "num_critical": float(acceptance.num_of("critical")),
            "num_major": float(acceptance.num_of("major")),
            "num_minor": float(acceptance.num_of("minor")),
            "num_gold_frames": float(agreement.num_frames),
            "gold_recall": agreement.recall,
            "gold_precision": agreement.precision,
            "gold_iou": agreement.mean_iou,
        }
        if acceptance.num_boxes_2d:
            scores["num_delivered_boxes_2d"] = float(acceptance.num_boxes_2d)
        if agreement_2d.num_frames:
            scores["gold_recall_2d"] = agreement_2d.recall
            scores["gold_precision_2d"] = agreement_2d.precision
            scores["gold_iou_2d"] = agreement_2d.mean_iou
        return scores


def judge_vendor(task: VendorTask, vendor: VendorAnnotator) -> JudgedDelivery:
    """Send the package, unless it is sent; judge the delivery.

    Raises:
        DataError: nothing is delivered yet, or frames are not in the dataset.
    """
    definition = load_definition(vendor.acceptance.definition)
    key, folder = _send(task, vendor, definition)
    if vendor.simulated is not None:
        _simulate(vendor.simulated, task.dataset, key, folder)
    if not folder.delivery.exists():
        raise DataError(
            f"{key.package_id}: the package is at {folder.package}; nothing is delivered at "
            f"{folder.delivery} yet. Run again when it is"
        )
    delivery = read_delivery(folder.delivery, key, definition)
    acceptance = judge_delivery(
        frames_of(task.dataset, key.frames), delivery, key, definition, vendor.acceptance
    )
    pictures = _pictures(task.dataset, key, acceptance, (delivery, vendor))
    labels = delivered_labels(task.dataset, key, delivery) if acceptance.accepted else NewLabels()
    return JudgedDelivery(acceptance, pictures, labels)


def _send(
    task: VendorTask, vendor: VendorAnnotator, definition: DatasetDefinition
) -> tuple[PackageKey, ExchangeFolder]:
    share = vendor.gold_share
    plan = PackagePlan(
        contents=_contents(vendor, definition),
        gold=vendor.gold,
        gold_share=definition.acceptance.gold_share if share is None else share,
        predictions=task.predictions,
        cameras=vendor.cameras,
    )
    key = make_key(task.dataset, task.request, plan)
    folder = ExchangeFolder(task.exchange / key.package_id)
    send_package(task.dataset, key, plan, folder)
    if vendor.archive:
        pack_zip(folder.package, folder.archive)
    return key, folder


def _contents(vendor: VendorAnnotator, definition: DatasetDefinition) -> PackageContents:
    if vendor.guideline is None:
        # without examples from the data: they might show gold frames
        page = partial(render_guideline, definition, Evidence())
        return PackageContents(definition, page, cloud_format=vendor.cloud_format)
    try:
        text = vendor.guideline.read_text()
    except OSError as error:
        raise DataError(f"{vendor.guideline}: cannot be read ({error.strerror})") from error
    digest = digest_file(vendor.guideline)
    return PackageContents(definition, lambda: text, digest, vendor.cloud_format)


def _simulate(
    simulated: SimulatedVendor, dataset: Dataset, key: PackageKey, folder: ExchangeFolder
) -> None:
    """Deliver what a vendor makes of the package.

    The truth comes from the simulator; that of gold frames, which may be of another world, is
    known.
    """
    truth = oracle_labels(simulated.world, [packed.key for packed in key.requested])
    truth_2d = {name: image_labels(boxes, "") for name, boxes in truth.items()}
    gold = [packed for packed in key.frames if packed.is_gold]
    for packed, frame in frames_of(dataset, gold):
        truth[packed.key] = Boxes.empty() if frame.boxes is None else frame.boxes
        truth_2d[packed.key] = Boxes2d.empty() if frame.boxes_2d is None else frame.boxes_2d
    by_alias = {packed.alias_key: packed.key for packed in key.frames}
    task = read_openlabel(folder.package / OPENLABEL_FILE).require_whole(key.package_id)
    frames = [
        replace(frame, boxes=truth[own], boxes_2d=truth_2d[own])
        for frame in task.frames
        for own in [by_alias[frame.key]]
    ]
    work = label_as_vendor(frames, simulated.work)
    with write_folder_atomically(folder.delivery) as draft:
        write_openlabel(draft / DELIVERED_FILE, work.frames, key.package_id)


def _pictures(
    dataset: Dataset,
    key: PackageKey,
    acceptance: Acceptance,
    given: tuple[Delivery, VendorAnnotator],
) -> list[Picture]:
    delivery, vendor = given
    picked = pick_defects(acceptance.defects, vendor.acceptance.max_pictures)
    names = {defect.frame_id for defect in picked}
    packed = [frame for frame in key.frames if frame.frame_id in names]
    in_images = any(defect.shape == "image_box" for defect in picked)
    frames = {item.frame_id: frame for item, frame in frames_of(dataset, packed, camera=in_images)}
    return draw_defects(picked, frames, delivery)
