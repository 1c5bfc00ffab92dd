"""Figures of evaluations: precision over recall, slices with intervals, latency."""

from collections.abc import Sequence

import numpy as np

from admlops.analysis.drawing import MUTED, add_legend, as_svg, colours_of, drawing
from admlops.evaluation.result import Evaluation, MeasureValue
from admlops.reporting.sources import Round, VerificationView

BEFORE, NOW = "#9aa5b1", "#2563eb"
_STAGE_COLOURS = {"voxelize": "#0a9b6c", "network": "#2563eb", "decode": "#e07b00"}


def main_measures(evaluation: Evaluation) -> list[MeasureValue]:
    """Return one measure per category over all frames: on the ground at the lowest overlap."""
    chosen: dict[str, MeasureValue] = {}
    for item in evaluation.measures:
        if item.slice != "all" or item.metric not in ("bev", "distance"):
            continue
        known = chosen.get(item.category)
        if known is None or item.threshold < known.threshold:
            chosen[item.category] = item
    return list(chosen.values())


def name_measure(item: MeasureValue) -> str:
    """Return what is measured, in words."""
    if item.metric == "distance":
        return f"within {item.threshold:g} m"
    where = {"2d": "in the image", "bev": "on the ground (BEV)", "3d": "in space (3D)"}
    return f"{where[item.metric]}, IoU {item.threshold:g}"


def draw_curves(rounds: Sequence[Round]) -> str | None:
    """Return precision over recall of the main measures, a panel per category; None without."""
    scored = [item for item in rounds if item.evaluation is not None]
    if not scored or scored[-1].evaluation is None:
        return None
    measures = main_measures(scored[-1].evaluation)
    if not measures:
        return None
    with drawing(10.4, 3.3) as figure:
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            for index, item in enumerate(scored):
                is_last = index == len(scored) - 1
                curves = item.evaluation.curves if item.evaluation else ()
                curve = next((c for c in curves if c.name == measure.name), None)
                if curve is None:
                    continue
                colour = NOW if is_last else BEFORE
                axes.plot(
                    (0.0, *curve.recall),
                    (curve.precision[0] if curve.precision else 0.0, *curve.precision),
                    color=colour,
                    linewidth=1.8,
                    drawstyle="steps-pre",
                    label=item.name,
                )
            axes.set_title(measure.category)
            axes.set_xlabel("recall")
            axes.set_xlim(0, 1)
            axes.set_xticks([0.0, 0.5, 1.0], ["0", "0.5", "1"])
            axes.set_ylim(0, 1.02)
        panels[0].set_ylabel("precision")
        add_legend(figure, panels[0])
        return as_svg(figure)


def draw_slices(rounds: Sequence[Round]) -> str | None:
    """Return average precision with intervals by slice, a panel per category; None without."""
    scored = [item for item in rounds if item.evaluation is not None]
    if not scored or scored[-1].evaluation is None:
        return None
    measures = main_measures(scored[-1].evaluation)
    names = list(
        dict.fromkeys(
            item.slice
            for item in scored[-1].evaluation.measures
            if item.value is not None and item.name in {m.name for m in measures}
        )
    )
    if not names:
        return None
    with drawing(10.4, 1.3 + 0.27 * len(names)) as figure:
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            for index, item in enumerate(scored):
                is_last = index == len(scored) - 1
                shift = 0.0 if len(scored) == 1 else (0.16 if is_last else -0.16)
                values = item.evaluation.measures if item.evaluation else ()
                mine = {v.slice: v for v in values if v.name == measure.name}
                rows = [(i + shift, mine[n]) for i, n in enumerate(names) if n in mine]
                rows = [row for row in rows if row[1].value is not None]
                place = [row[0] for row in rows]
                colour = NOW if is_last else BEFORE
                axes.hlines(
                    place,
                    [v.value if v.low is None else v.low for _, v in rows],
                    [v.value if v.high is None else v.high for _, v in rows],
                    color=colour,
                    linewidth=3,
                    alpha=0.45,
                )
                axes.scatter(
                    [v.value for _, v in rows], place, color=colour, s=20, zorder=3, label=item.name
                )
            axes.set_title(measure.category)
            axes.set_xlim(-0.02, 1.02)
            axes.set_xticks([0.0, 0.25, 0.5, 0.75, 1.0], ["0", "", "0.5", "", "1"])
            axes.set_xlabel("average precision")
            axes.grid(visible=False, axis="y")
            axes.margins(y=0.03)
        panels[0].set_yticks(np.arange(len(names)), [describe_slice(name) for name in names])
        panels[0].invert_yaxis()
        add_legend(figure, panels[0])
        return as_svg(figure)


def describe_slice(name: str) -> str:
    """Return the name of a slice in words: "range_0_20m" is "0 to 20 m away"."""
    kind, _, rest = name.partition("_")
    if kind == "range":
        low, _, high = rest.removesuffix("m").partition("_")
        return f"{low} to {high} m away"
    if kind == "points":
        low, _, high = rest.partition("_")
        return f"{low} points or more" if high == "up" else f"{low} to {int(high) - 1} points"
    if kind == "occlusion":
        words = {"0": "fully visible", "1": "partly occluded", "2": "largely occluded"}
        return words.get(rest, f"occlusion {rest}")
    if kind == "tag":
        return f"condition: {rest}"
    return "everything" if name == "all" else name.replace("_", " ")


def draw_latency(verification: VerificationView) -> str | None:
    """Return the median time of each stage by runtime as stacked bars; None without stages."""
    rungs = [rung for rung in verification.rungs if rung.latency]
    if not rungs:
        return None
    whole = "points_to_boxes"
    stages = list(dict.fromkeys(s for rung in rungs for s in rung.latency if s != whole))
    extra = colours_of([stage for stage in stages if stage not in _STAGE_COLOURS])
    with drawing(10.4, 0.9 + 0.42 * len(rungs)) as figure:
        axes = figure.add_subplot()
        place = np.arange(len(rungs))
        left = np.zeros(len(rungs))
        for stage in stages:
            values = np.array([r.latency[stage].p50_ms if stage in r.latency else 0 for r in rungs])
            colour = _STAGE_COLOURS.get(stage) or extra[stage]
            axes.barh(place, values, 0.62, left=left, color=colour, label=stage)
            left += values
        for index, total in enumerate(left):
            axes.text(total, index, f"  {total:.1f} ms", va="center", color=MUTED, fontsize=8.5)
        axes.set_yticks(place, [rung.name for rung in rungs])
        axes.invert_yaxis()
        axes.set_xlim(0, max(left.max() * 1.12, 1e-3))
        axes.set_xlabel("median time of a frame, ms")
        axes.grid(visible=False, axis="y")
        add_legend(figure, axes)
        return as_svg(figure)
