"""The picture of the comparison of mined with random frames.

Run: python -m bench.mining_plot build/bench_mining.json docs/images/mining.png
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES = ("mean", "car", "pedestrian", "cyclist")
PANELS = (("", "all validation frames"), ("rare_", "rare validation frames"))
COLOURS = {"before": "#9aa5b1", "random": "#e0a458", "mined": "#1f6f8b", "all rare": "#b7d3dc"}
INK = "#1f2933"


def draw_mining(result: Mapping[str, Any], path: Path) -> Path:
    """Write the picture of a result of `bench.mining` and return its path."""
    summary, outcomes = result["summary"], result["outcomes"]
    seeds = sorted({outcome["seed"] for outcome in outcomes})
    with mpl.rc_context({"font.size": 9, "text.color": INK, "axes.labelcolor": INK}):
        figure = Figure(figsize=(9.6, 6.2), layout="constrained")
        axes = figure.subplots(2, 2, sharex="col", height_ratios=(1.1, 1.0))
        for column, (prefix, title) in enumerate(PANELS):
            _draw_scores(axes[0, column], summary, prefix)
            axes[0, column].set_title(title, fontsize=10, loc="left", fontweight="bold")
            _draw_differences(axes[1, column], summary, outcomes, prefix)
        axes[0, 0].set_ylabel("average precision")
        axes[1, 0].set_ylabel("mined - random, paired")
        for axis in axes[1]:
            low, high = (f([a.get_ylim()[i] for a in axes[1]]) for i, f in ((0, min), (1, max)))
            axis.set_ylim(low, high)
        axes[0, 1].legend(frameon=False, ncols=4, loc="upper right", fontsize=8)
        boxes = summary["boxes"]
        figure.suptitle(
            f"Frames labelled at equal cost: {boxes['random'][0]:.0f} boxes chosen at random, "
            f"{boxes['mined'][0]:.0f} mined ({len(seeds)} worlds, 95 % intervals; "
            f"all rare frames: {boxes['all rare'][0]:.0f})",
            fontsize=11,
            x=0.01,
            ha="left",
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def _draw_scores(axes: Axes, summary: Mapping[str, Any], prefix: str) -> None:
    for place, (strategy, colour) in enumerate(COLOURS.items()):
        rows = np.array([summary[f"{prefix}{name}_ap"][strategy] for name in NAMES])
        x = np.arange(len(NAMES)) + 0.21 * (place - 1.5)
        error = np.maximum(np.abs(rows[:, 1:].T - rows[:, 0]), 0)
        axes.bar(x, rows[:, 0], width=0.19, color=colour, label=strategy)
        axes.errorbar(x, rows[:, 0], yerr=error, fmt="none", ecolor=INK, elinewidth=0.8)
    axes.set_ylim(0, 1)
    _tidy(axes)


def _draw_differences(
    axes: Axes, summary: Mapping[str, Any], outcomes: list[Mapping[str, Any]], prefix: str
) -> None:
    by = {(item["seed"], item["strategy"]): item["scores"] for item in outcomes}
    seeds = sorted({seed for seed, _ in by})
    axes.axhline(0, color=INK, linewidth=0.8)
    for place, name in enumerate(NAMES):
        score = f"{prefix}{name}_ap"
        each = [by[seed, "mined"][score] - by[seed, "random"][score] for seed in seeds]
        offset = np.linspace(-0.12, 0.12, len(seeds)) if len(seeds) > 1 else np.zeros(1)
        axes.plot(place + offset - 0.1, each, "o", color="#9aa5b1", markersize=4)
        mean, low, high = summary[score]["mined - random"]
        colour = COLOURS["mined"] if low > 0 else COLOURS["random"]
        axes.errorbar(
            place + 0.2,
            mean,
            yerr=[[mean - low], [high - mean]],
            fmt="D",
            color=colour,
            markersize=6,
            elinewidth=2,
            capsize=4,
        )
        axes.annotate(
            f"{mean:+.3f}",
            (place + 0.2, mean),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_xlim(-0.5, len(NAMES) - 0.2)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.set_xticks(range(len(NAMES)), NAMES)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e4e7eb", linewidth=0.6)
    axes.set_axisbelow(True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("png", type=Path)
    given = parser.parse_args()
    print(draw_mining(json.loads(given.json.read_text()), given.png))


if __name__ == "__main__":
    main()
