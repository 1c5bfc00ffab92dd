"""The report of an acceptance: for machines, for people, and for the vendor."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from admlops.analysis.pages import render_page
from admlops.annotation.acceptance import Acceptance
from admlops.annotation.acceptance_defects import CLASSES, GOLD_RULES, Defect
from admlops.annotation.acceptance_pictures import Picture
from admlops.checks.rules import RULES
from admlops.errors import DataError
from admlops.files import write_atomically

ACCEPTANCE_FILE = "acceptance.json"
ACCEPTANCE_PAGE = "acceptance.html"
FEEDBACK_FILE = "feedback.json"
MAX_ROWS = 300
"""Defects that the page lists; the file has all."""


def write_acceptance(
    folder: Path, acceptance: Acceptance, pictures: Sequence[Picture] = ()
) -> None:
    """Write the report into a folder: JSON, page, and what the vendor is told.

    The vendor is not told what only known labels show, or the gold frames would be known to it.
    """
    values = acceptance.to_json_dict()
    values["defects"] = [describe(defect) for defect in acceptance.defects]
    values["sentence"] = acceptance.sentence
    _write(folder / ACCEPTANCE_FILE, values)
    _write(folder / FEEDBACK_FILE, make_feedback(acceptance))
    write_atomically(folder / ACCEPTANCE_PAGE, render_acceptance(acceptance, pictures))


def is_accepted(folder: Path) -> bool:
    """Return whether the delivery that a report is about was accepted.

    Raises:
        DataError: the folder holds no report.
    """
    file = folder / ACCEPTANCE_FILE
    try:
        return json.loads(file.read_bytes())["accepted"] is True
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); annotate first") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not the judgement of a delivery") from error


def write_settled(folder: Path) -> None:
    """Write that nothing was asked, because an earlier delivery was accepted."""
    what = "An earlier delivery was accepted: nothing was asked again."
    _write(folder / ACCEPTANCE_FILE, {"accepted": True, "sentence": what, "defects": []})


def write_trusted(folder: Path, annotator: str, num_frames: int) -> None:
    """Write the report of labels that nobody judged, because who made them is trusted."""
    what = f"The labels of {num_frames} frames come from the annotator {annotator!r}, "
    what += "which is trusted: nothing was judged."
    _write(folder / ACCEPTANCE_FILE, {"accepted": True, "sentence": what, "defects": []})
    page = render_page(
        "trusted.html", package="admlops.annotation", sentence=what, annotator=annotator
    )
    write_atomically(folder / ACCEPTANCE_PAGE, page)


def make_feedback(acceptance: Acceptance) -> dict[str, Any]:
    """Return what the vendor is told: the judgement, and where to mend what."""
    hidden = [item for item in acceptance.defects if item.rule_id in GOLD_RULES]
    told = [item for item in acceptance.defects if item.rule_id not in GOLD_RULES]
    return {
        "package_id": acceptance.package_id,
        "delivery_digest": acceptance.delivery_digest,
        "accepted": acceptance.accepted,
        "checks": [check.text for check in acceptance.failed],
        "defects": [_for_vendor(defect) for defect in told],
        "elsewhere": [
            {
                "rule_id": rule_id,
                "statement": RULES[rule_id].statement,
                "mend": RULES[rule_id].mend,
                "category": category,
                "count": count,
            }
            for (rule_id, category), count in sorted(
                Counter((item.rule_id, item.category) for item in hidden).items()
            )
        ],
    }


def describe(defect: Defect) -> dict[str, Any]:
    """Return a defect as plain JSON types, with what its rule says."""
    return {
        **defect.to_json_dict(),
        "severity": defect.severity,
        "defect_class": defect.defect_class,
        "statement": defect.statement,
        "mend": defect.mend,
    }


def render_acceptance(acceptance: Acceptance, pictures: Sequence[Picture] = ()) -> str:
    """Return the page: judgement, checks, rules that are broken, pictures and every defect."""
    counts = (("boxes", acceptance.num_boxes), ("boxes in images", acceptance.num_boxes_2d))
    cards = [
        ("frames", f"{acceptance.num_frames:,}"),
        *((name, f"{count:,}") for name, count in counts if count),
        *((f"{name} defects", f"{acceptance.num_of(name):,}") for name in CLASSES),
    ]
    known = (
        ("gold frames", acceptance.agreement),
        ("images of gold frames", acceptance.agreement_2d),
    )
    for where, agreement in known:
        if agreement.num_frames:
            cards.append((f"found in {where}", f"{agreement.recall:.0%}"))
            cards.append((f"right in {where}", f"{agreement.precision:.0%}"))
    return render_page(
        "acceptance.html",
        package="admlops.annotation",
        acceptance=acceptance,
        cards=cards,
        rules=[(RULES[rule_id], count) for rule_id, count in acceptance.counts.items()],
        pictures=pictures,
        defects=acceptance.defects[:MAX_ROWS],
        num_hidden=max(0, len(acceptance.defects) - MAX_ROWS),
    )


def _for_vendor(defect: Defect) -> dict[str, Any]:
    described = describe(defect)
    del described["frame"]  # the vendor knows the frame's number, not its name
    return described


def _write(path: Path, values: dict[str, Any]) -> None:
    write_atomically(path, json.dumps(values, indent=1, allow_nan=False) + "\n")
