"""How fast predictions are scored, and that the cost grows with the frames.

Run: python -m bench.evaluator [--json FILE]

The set repeats the KITTI reference frames up to 3,908 frames with 44,000 predictions, the size of
KITTI's validation split. Reading files is left out, parsing their text is in. The official C++
program took 26.8 s for such a set (3,908 frames, 43,334 predictions) on one core; it is not run
here.
"""

import argparse
import json
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from admlops.evaluation.chunks import Chunk
from admlops.evaluation.flat_boxes import FlatBoxes
from admlops.evaluation.frame_set import FrameSet
from admlops.evaluation.kitti import KittiEvaluator
from admlops.evaluation.measures import Matcher
from admlops.evaluation.records import CategoryRecords
from admlops.evaluation.scoring import score_slices
from admlops.formats.kitti.labels import list_label_names, parse_labels
from admlops.steps.evaluate import EvaluateConfig
from bench.real_data import real_data

KITTI_FRAMES = 3908
SCALES = (1_000, 10_000, 100_000)
CHUNK_FRAMES = 1024
ROUNDS = 5
OFFICIAL_S = 26.8


@dataclass(frozen=True, slots=True)
class Row:
    """One measured size."""

    num_frames: int
    num_labels: int
    num_predictions: int
    ap_s: float
    detail_s: float
    peak_mib: float


def read_reference() -> tuple[list[bytes], list[bytes]]:
    """Return the text of label and result files: the real reference, or made-up rows without it."""
    folder = real_data("kitti_eval_reference")
    if not folder.is_dir():
        return make_rows()
    names = list_label_names(folder / "label_2")
    return tuple(  # type: ignore[return-value]
        [(folder / part / f"{name}.txt").read_bytes() for name in names]
        for part in ("label_2", "detections")
    )


def make_rows() -> tuple[list[bytes], list[bytes]]:
    rng = np.random.default_rng(0)
    labels, predictions = [], []
    for _ in range(447):
        x, z = rng.uniform(-10, 10, 7), rng.uniform(5, 60, 7)
        for part, noise in ((labels, 0.0), (predictions, 0.2)):
            rows = [
                f"Car 0 0 {a:.2f} 100 100 200 160 1.50 1.80 4.20 {p:.2f} 1.65 {q:.2f} {a:.2f}"
                + (f" {rng.random():.4f}" if noise else "")
                for p, q, a in zip(
                    x + rng.normal(0, noise, 7),
                    z + rng.normal(0, noise, 7),
                    rng.uniform(-3, 3, 7),
                    strict=True,
                )
            ]
            part.append("\n".join(rows).encode())
    return labels, predictions


def repeat(
    labels: Sequence[bytes], predictions: Sequence[bytes], num_frames: int
) -> Iterator[Chunk]:
    """Yield chunks of the repeated reference; five of eight frames hold a second helping."""
    size = len(labels)
    for start in range(0, num_frames, CHUNK_FRAMES):
        frames = range(start, min(start + CHUNK_FRAMES, num_frames))
        names = tuple(f"{frame:06d}" for frame in frames)
        label_text = [labels[frame % size] for frame in frames]
        predicted_text = [
            predictions[frame % size]
            + (b"\n" + predictions[(frame + 200) % size] if frame % 8 < 5 else b"")
            for frame in frames
        ]
        yield Chunk(
            frames=names,
            tags=((),) * len(names),
            labels=FlatBoxes.from_label_table(parse_labels(label_text, names)),
            predictions=FlatBoxes.from_label_table(parse_labels(predicted_text, names)),
        )


def measure(labels: Sequence[bytes], predictions: Sequence[bytes], num_frames: int) -> Row:
    """Score once for the table of average precision, and once in full detail."""
    config = EvaluateConfig()
    start = time.process_time()
    evaluator = KittiEvaluator(config.kitti_protocol())
    num_labels = num_predictions = 0
    for chunk in repeat(labels, predictions, num_frames):
        num_labels += int((chunk.labels.look_up({"dontcare": 0}, 1)).sum())
        num_predictions += len(chunk.predictions)
        evaluator.add(chunk.labels, chunk.predictions)
    evaluator.result()
    ap_s = time.process_time() - start
    start = time.process_time()
    matcher = Matcher(config.measures(), config.neighbours, config.min_points)
    records = [
        CategoryRecords(matcher.measures_of(name), config.slices) for name in matcher.categories
    ]
    frames, failures = FrameSet(), config.failure_list()
    for chunk in repeat(labels, predictions, num_frames):
        known_by, tag_sets = frames.add(chunk.frames, chunk.tags)
        found = matcher.match(chunk.labels, chunk.predictions)
        for own, matches in zip(records, found, strict=True):
            own.add(matches, known_by, tag_sets)
            failures.add(matches, chunk.frames)
    score_slices(records, frames, config.scored_metrics(), config.bootstrap)
    detail_s = time.process_time() - start
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Row(num_frames, num_labels, num_predictions, ap_s, detail_s, peak_mib)


def show(best: Row, rows: Sequence[Row]) -> None:
    table = Table(title="Evaluator: CPU time of one thread; parsing in, reading files out")
    for name in ("frames", "labels", "found", "AP ms", "us each", "slices ms", "us each", "MiB"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in (best, *rows):
        per_frame = 1e6 / row.num_frames
        table.add_row(
            f"{row.num_frames:,}",
            f"{row.num_labels:,}",
            f"{row.num_predictions:,}",
            f"{1000 * row.ap_s:,.0f}",
            f"{per_frame * row.ap_s:.0f}",
            f"{1000 * row.detail_s:,.0f}",
            f"{per_frame * row.detail_s:.0f}",
            f"{row.peak_mib:,.0f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"{KITTI_FRAMES:,} frames: {1000 * best.ap_s:.0f} ms; the official program's figure of "
        f"{OFFICIAL_S} s, on one core of such a machine, is {OFFICIAL_S / best.ap_s:.0f} times that"
    )


def main(arguments: Sequence[str] = ()) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args(list(arguments))
    labels, predictions = read_reference()
    measure(labels, predictions, 100)
    tries = [measure(labels, predictions, KITTI_FRAMES) for _ in range(ROUNDS)]
    best = min(tries, key=lambda row: row.ap_s)
    rows = [measure(labels, predictions, num_frames) for num_frames in SCALES]
    show(best, rows)
    figures = {
        "evaluator_3908_frames_ms": 1000 * best.ap_s,
        "evaluator_3908_frames_detail_ms": 1000 * best.detail_s,
        "evaluator_times_official": OFFICIAL_S / best.ap_s,
        "evaluator_peak_mib": rows[-1].peak_mib,
    }
    for row in rows:
        figures[f"evaluator_{row.num_frames}_frames_ms"] = 1000 * row.ap_s
        figures[f"evaluator_{row.num_frames}_frames_detail_ms"] = 1000 * row.detail_s
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
