"""Tables of the report: rows of plain text, formatted once and for all."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from admlops.analysis.histogram import Histogram
from admlops.reporting.curves import main_measures, name_measure
from admlops.reporting.sources import Round, Run, VerificationView

ABSENT = "-"
DIFFICULTIES = ("easy", "moderate", "hard")
METRIC_WORDS = {"2d": "2D", "bev": "BEV", "3d": "3D", "aos": "AOS"}


@dataclass(frozen=True, slots=True)
class Table:
    """Headings and rows.

    Attributes:
        heads: one per column.
        rows: text by row and column.
        num_text_columns: leading columns that hold words; the others hold numbers.
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_text_columns: int = 1


def make_growth_table(rounds: Sequence[Round]) -> Table | None:
    """Return what the datasets of the rounds hold, side by side; None without two of them."""
    held = [(item.name, item.analysis) for item in rounds if item.analysis is not None]
    if len(held) < 2:
        return None
    counts: dict[str, list[str]] = {}
    for column, (_, analysis) in enumerate(held):
        found = analysis.distributions
        facts = {
            "labelled frames": found.num_labelled_frames,
            "boxes": found.num_boxes,
            **_by_label(found.histogram("category"), "{} boxes"),
            **_by_label(found.histogram("conditions"), "train frames: {}", "train"),
            "requirement cells met": len(analysis.coverage.cells) - len(analysis.coverage.gaps),
        }
        for name, value in facts.items():
            counts.setdefault(name, [ABSENT] * len(held))[column] = f"{value:,}"
    rows = tuple((name, *values) for name, values in counts.items())
    return Table(("the dataset holds", *(name for name, _ in held)), rows)


def count_of(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where it is not one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _by_label(histogram: Histogram, words: str, series: str = "") -> dict[str, int]:
    """Return the counts of one series (of the first by default) by label in words."""
    values = histogram.counts.get(series) if series else next(iter(histogram.counts.values()), ())
    pairs = zip(histogram.labels, values or (), strict=False)
    return {words.format(label): count for label, count in pairs}


def make_precision_table(rounds: Sequence[Round]) -> Table | None:
    """Return the main measures with intervals by category and round; None without."""
    scored = [item for item in rounds if item.evaluation is not None]
    if not scored or scored[-1].evaluation is None:
        return None
    rows = []
    for measure in main_measures(scored[-1].evaluation):
        row = [measure.category, name_measure(measure), str(measure.num_labels)]
        for item in scored:
            values = item.evaluation.measures if item.evaluation else ()
            own = next((v for v in values if (v.name, v.slice) == (measure.name, "all")), None)
            row.append(_with_interval(own.value, own.low, own.high) if own else ABSENT)
        rows.append(tuple(row))
    heads = ("category", "measure", "labels", *(item.name for item in scored))
    return Table(heads, tuple(rows), 2)


def _with_interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ABSENT
    if low is None or high is None:
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def make_kitti_table(rounds: Sequence[Round]) -> Table | None:
    """Return KITTI's average precision (R40) by category and metric; None without."""
    scored = [item for item in rounds if item.average_precision]
    rows: list[tuple[str, ...]] = []
    for category, metrics in (scored[-1].average_precision or {}).items() if scored else ():
        for metric, values in metrics.items() if isinstance(metrics, dict) else ():
            if not isinstance(values, dict) or "R40" not in values:
                continue
            row: list[str] = [str(category), METRIC_WORDS.get(str(metric), str(metric))]
            for item in scored:
                row += _kitti_cells(item.average_precision, category, metric)
            rows.append(tuple(row))
    if not rows:
        return None
    several = len(scored) > 1
    heads = [f"{item.name}, {d}" if several else d for item in scored for d in DIFFICULTIES]
    return Table(("category", "metric", *heads), tuple(rows), 2)


def _kitti_cells(table: dict[str, Any] | None, category: str, metric: str) -> list[str]:
    values = (table or {}).get(category, {}).get(metric, {}).get("R40", [None] * 3)
    return [ABSENT if value is None else f"{value:.2f}" for value in values]


def make_parity_table(verification: VerificationView) -> Table | None:
    """Return how far each runtime is from torch; None without."""
    rows = []
    for rung in verification.rungs:
        precision = verification.mean_precision(rung.name)
        is_reference = rung.name == "torch"
        rows.append(
            (
                rung.name + (" (served)" if rung.name == verification.served else ""),
                ABSENT if is_reference or rung.max_abs is None else f"{rung.max_abs:.1e}",
                ABSENT
                if is_reference or rung.match_rate is None
                else f"{100 * rung.match_rate:.2f} %",
                str(rung.num_boxes),
                ABSENT if precision is None else f"{100 * precision:.2f} %",
            )
        )
    heads = ("runtime", "largest difference", "boxes with a partner", "boxes", "mean AP (BEV 0.5)")
    return Table(heads, tuple(rows)) if rows else None


def make_latency_table(verification: VerificationView) -> Table | None:
    """Return median and 99th percentile of each stage by runtime; None without."""
    rungs = [rung for rung in verification.rungs if rung.latency]
    stages = list(dict.fromkeys(stage for rung in rungs for stage in rung.latency))
    rows = []
    for rung in rungs:
        cells = [rung.latency.get(stage) for stage in stages]
        rows.append(
            (
                rung.name,
                *(ABSENT if c is None else f"{c.p50_ms:.1f} / {c.p99_ms:.1f}" for c in cells),
            )
        )
    heads = ("p50 / p99, ms", *(stage.replace("_", " ") for stage in stages))
    return Table(heads, tuple(rows)) if rows else None


def make_lineage_table(run: Run) -> Table:
    """Return what every artifact is and where it comes from."""
    rows = []
    for item in run.rounds:
        for manifest in (item.dataset, item.model, item.predictions, item.release):
            if manifest is None:
                continue
            facts = [
                f"{name.replace('_', ' ')}: {_shorten(value)}"
                for name, value in sorted(manifest.provenance.items())
                if name != "step" and value
            ]
            rows.append(
                (
                    item.name,
                    manifest.kind,
                    manifest.reference,
                    manifest.digest[:16],
                    ", ".join(manifest.licences) or "none named",
                    ", ".join(facts) or ABSENT,
                )
            )
    heads = ("round", "artifact", "reference", "digest", "licences", "where it comes from")
    return Table(heads, tuple(rows), 6)


def _shorten(value: str) -> str:
    """Return a digest's beginning, and anything else as it is."""
    is_digest = len(value) == 64 and set(value) <= set("0123456789abcdef")
    return f"{value[:16]}..." if is_digest else value
