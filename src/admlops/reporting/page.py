"""The report of a run: everything that is known, as one HTML page."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from admlops.analysis.analysis import Analysis
from admlops.analysis.charts import draw_coverage, draw_distributions
from admlops.analysis.pages import render_page
from admlops.evaluation.result import Evaluation
from admlops.reporting.curves import describe_slice, draw_curves, draw_latency, draw_slices
from admlops.reporting.iteration import tell_intake, tell_prelabels
from admlops.reporting.sources import Run, VerificationView
from admlops.reporting.story import make_cards, tell_story
from admlops.reporting.tables import (
    make_growth_table,
    make_kitti_table,
    make_latency_table,
    make_lineage_table,
    make_parity_table,
    make_precision_table,
)

MAX_ROWS = 25
LEFT_OUT = ("Boxes per frame",)
"""Figures that only the analysis itself shows."""
SECTIONS = (
    ("data", "Data"),
    ("recordings", "Recordings"),
    ("findings", "Findings"),
    ("detections", "Detections"),
    ("evaluation", "Evaluation"),
    ("runtimes", "Runtimes"),
    ("gate", "Gate"),
    ("release", "Release"),
    ("mining", "Mining"),
    ("labels", "Labels"),
    ("lineage", "Lineage"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One frame with its detections.

    Attributes:
        title: which frame.
        above: data URI of the picture from above.
        num_panels: panels side by side in the picture from above.
        image: data URI of the camera image; None without camera.
        image_caption: what the image shows.
    """

    title: str
    above: str
    num_panels: int = 1
    image: str | None = None
    image_caption: str = ""


def render_report(
    run: Run,
    pictures: list[Picture],
    title: str,
    min_score: float,
    sections: Sequence[str] = (),
) -> str:
    """Return the page; sections without a source say what is absent.

    Args:
        run: what is known.
        pictures: frames to show.
        title: heading of the page.
        min_score: score from which on the pictures show detections.
        sections: which sections there are; without, all but those of recordings and deliveries
            that are not there.
    """
    last = run.last
    shown = _sections(run, sections)
    before = run.first.analysis if run.first is not None else None
    return render_page(
        "report.html",
        package="admlops.reporting",
        title=title,
        sections=shown,
        shown={anchor for anchor, _ in shown},
        recordings=run.recordings,
        intake=tell_intake(run),
        deliveries=run.deliveries,
        prelabels=tell_prelabels(run.prelabels.scores) if run.prelabels else "",
        story=tell_story(run),
        cards=make_cards(run),
        findings=run.findings,
        pictures=pictures,
        min_score=min_score,
        **_outcomes(run),
        request=run.request,
        audit=run.audit,
        lineage=make_lineage_table(run),
        growth=make_growth_table(run.rounds),
        describe_slice=describe_slice,
        max_rows=MAX_ROWS,
        version=version("admlops"),
        **_data(last.analysis, before),
        **_evaluation(run),
        **_runtimes(last.verification),
    )


def _outcomes(run: Run) -> dict[str, Any]:
    """Return what each round came to."""
    return {
        "verdicts": [(item.name, item.verdict) for item in run.rounds if item.verdict],
        "releases": [
            (item.name, item.release_record, item.release, item.golden_boxes)
            for item in run.rounds
            if item.release is not None
        ],
    }


def _sections(run: Run, chosen: Sequence[str]) -> list[tuple[str, str]]:
    """Return anchor and name of the sections that there are."""
    has = {"recordings": run.recordings is not None, "labels": bool(run.deliveries)}
    return [
        (anchor, name)
        for anchor, name in SECTIONS
        if (anchor in chosen if chosen else has.get(anchor, True))
    ]


def _data(analysis: Analysis | None, before: Analysis | None) -> dict[str, Any]:
    if analysis is None:
        return {"analysis": None, "analysis_before": None}
    return {
        "analysis": analysis,
        "analysis_before": before,
        "distribution_figures": [
            figure
            for figure in draw_distributions(analysis.distributions)
            if figure[0] not in LEFT_OUT
        ],
        "coverage_figure": draw_coverage(analysis.coverage),
    }


def _evaluation(run: Run) -> dict[str, Any]:
    evaluation = run.last.evaluation
    if evaluation is None:
        return {"precision_table": None}
    return {
        "precision_table": make_precision_table(run.rounds),
        "num_frames": evaluation.num_frames,
        "confidence": f"{evaluation.bootstrap.confidence:.0%}",
        "num_draws": evaluation.bootstrap.num_draws,
        "curves_figure": draw_curves(run.rounds),
        "slices_figure": draw_slices(run.rounds),
        "kitti_table": make_kitti_table(run.rounds),
        "failures": _failures(evaluation),
    }


def _failures(evaluation: Evaluation) -> str:
    if not evaluation.num_missed and not evaluation.num_false_positives:
        return ""
    text = (
        f"{evaluation.num_missed} labels are missed and {evaluation.num_false_positives} confident "
        "predictions are wrong."
    )
    missed = [item for item in evaluation.failures if item.kind == "missed"]
    if missed:
        worst = missed[0]
        text += (
            f" The most striking miss is a {worst.category} {worst.range_m:.0f} m away that holds "
            f"{worst.num_points} points, in frame {worst.frame}."
        )
    return text


def _runtimes(verification: VerificationView | None) -> dict[str, Any]:
    if verification is None:
        return {"parity_table": None}
    threads = verification.num_threads
    return {
        "parity_table": make_parity_table(verification),
        "latency_table": make_latency_table(verification),
        "latency_figure": draw_latency(verification),
        "num_verified": len(verification.frames),
        "threads": f"{threads} threads each" if threads else "each with its own choice of threads",
    }
