"""The page about recordings: what each sensor delivered, when it was silent, and the verdict."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from admlops.analysis.drawing import as_svg, drawing
from admlops.analysis.pages import render_page
from admlops.files import write_atomically
from admlops.recordings.quality import RecordingQuality, SensorQuality
from admlops.structures.finding import Finding

QUALITY_FILE = "quality.json"
QUALITY_PAGE = "quality.html"

_MAP = LinearSegmentedColormap.from_list("activity", ["#b42318", "#f2c94c", "#0b7a53"])


def write_quality(
    folder: Path, qualities: Sequence[RecordingQuality], unreadable: Sequence[Finding] = ()
) -> None:
    """Write `quality.json` and `quality.html` into a folder.

    Args:
        folder: where to.
        qualities: of the recordings that could be read.
        unreadable: why others could not (REC001).
    """
    values = {
        "recordings": [quality.to_json_dict() for quality in qualities],
        "unreadable": [finding.to_json_dict() for finding in unreadable],
    }
    write_atomically(folder / QUALITY_FILE, json.dumps(values, indent=1) + "\n")
    write_atomically(folder / QUALITY_PAGE, render_quality(qualities, unreadable))


def render_quality(
    qualities: Sequence[RecordingQuality], unreadable: Sequence[Finding] = ()
) -> str:
    """Return the page; the arguments are those of `write_quality`."""
    recordings = [
        {
            "quality": quality,
            "rows": [_row(sensor) for sensor in quality.sensors],
            "figure": draw_activity(quality) if quality.sensors else "",
        }
        for quality in qualities
    ]
    num_accepted = sum(quality.is_accepted for quality in qualities)
    num_frames = sum(quality.num_frames for quality in qualities if quality.is_accepted)
    num_recordings = len(qualities) + len(unreadable)
    cards = [
        ("recordings", f"{num_recordings:,}", ""),
        ("accepted", f"{num_accepted:,}", "good" if num_accepted == num_recordings else "bad"),
        ("recorded", _duration(sum(quality.duration_s for quality in qualities)), ""),
        ("messages", f"{sum(quality.num_messages for quality in qualities):,}", ""),
        ("frames accepted", f"{num_frames:,}", ""),
    ]
    return render_page("recordings.html", cards=cards, recordings=recordings, unreadable=unreadable)


def draw_activity(quality: RecordingQuality) -> str:
    """Return when each sensor delivered what share of its messages, as an SVG data URI."""
    sensors = [sensor for sensor in quality.sensors if sensor.activity]
    with drawing(10.4, 0.9 + 0.28 * max(len(sensors), 1)) as figure:
        axes = figure.add_subplot()
        for row, sensor in enumerate(sensors):
            extent = (0.0, quality.duration_s, row + 0.42, row - 0.42)
            share = np.array([sensor.activity])
            axes.imshow(
                share, cmap=_MAP, vmin=0.0, vmax=1.0, aspect="auto", extent=extent,
                interpolation="nearest",
            )  # fmt: skip
        axes.set_xlim(0.0, max(quality.duration_s, 1e-9))
        axes.set_ylim(len(sensors) - 0.5, -0.5)
        axes.set_yticks(np.arange(len(sensors)), [sensor.sensor for sensor in sensors])
        axes.set_xlabel("time in the recording, s")
        axes.set_title("When messages came: green as usual, red none")
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return as_svg(figure)


def _row(sensor: SensorQuality) -> list[tuple[str, bool]]:
    """Return the cells about a sensor, and whether each is a number."""
    sync = "" if np.isnan(sensor.sync_share) else f"{sensor.sync_share:.1%}"
    residual = "" if np.isnan(sensor.sync_residual_s) else _ms(sensor.sync_residual_s)
    worst = "" if np.isnan(sensor.sync_worst_s) else _ms(sensor.sync_worst_s)
    jumps = sensor.num_backward + sensor.num_forward
    numbers = [
        f"{sensor.num_messages:,}",
        f"{sensor.rate_hz:.2f}",
        f"{sensor.num_dropped:,} ({sensor.drop_share:.1%})",
        _ms(sensor.jitter_s),
        f"{sensor.longest_gap_s:.2f}",
        f"{jumps:,} ({sensor.worst_jump_s:+.2f} s)" if jumps else "0",
        _ms(sensor.latency_s),
        f"{sensor.num_out_of_order:,}",
        f"{sensor.num_empty:,}",
        sync,
        f"{residual} / {worst}" if residual else "",
    ]
    return [(sensor.sensor, False), *((value, True) for value in numbers)]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.1f}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
