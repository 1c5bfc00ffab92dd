"""A model that learns the four KITTI frames of ImageSets/train.txt by heart.

Run: python -m bench.overfit_kitti [--source FOLDER] [--steps N] [--kind pointpillars]

It goes through the reader, the lake and the steps train and predict, and fails unless every
labelled car that holds 20 lidar points or more is found at a BEV overlap of 0.5 or more.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from admlops.detection.presets import small_detector
from admlops.formats.kitti.source import open_folder
from admlops.formats.source import ReadOptions, read_all
from admlops.geometry.boxes import iou_bev
from admlops.lake.predictions import iterate_predictions
from admlops.lake.store import Dataset
from admlops.steps.predict import PredictConfig, PredictInputs, PredictOutputs, predict
from admlops.steps.train import TrainInputs, TrainOutputs, train
from admlops.structures.frame import Frame
from admlops.training.presets import overfit
from bench.real_data import real_data

MIN_POINTS = 20
MIN_OVERLAP = 0.5
LIMIT_S = 600.0


def make_dataset(source: Path, folder: Path) -> tuple[Dataset, Path]:
    """Read the training frames into a lake; return it and its manifest."""
    dataset = Dataset.create(str(folder / "lake"), licences=("CC-BY-NC-SA-3.0",))
    frames = read_all(open_folder(source, ReadOptions()))
    dataset.append(f for f in frames if isinstance(f, Frame) and f.split == "train")
    manifest = folder / "dataset.json"
    dataset.manifest({}, {}).write(manifest)
    return dataset, manifest


def table_of_cars(dataset: Dataset, predictions: Path) -> tuple[Table, int]:
    """Return a table of every labelled car, and how many that must be found are missed."""
    frames = {frame.key: frame for frame in dataset.iterate(lidar=False)}
    table = Table(title="labelled cars in the frames that were learnt")
    for name in ("frame", "points", "range m", "best BEV IoU", "found"):
        table.add_column(name, justify="right")
    missed = 0
    for key, found in iterate_predictions(predictions):
        boxes = frames[key].boxes
        if boxes is None:
            continue
        cars = boxes.select(boxes.category == "car")
        guesses = found.select(found.category == "car")
        overlap = iou_bev(cars.as_7(), guesses.as_7()).max(axis=1, initial=0.0)
        for points, center, best in zip(cars.num_points, cars.center_m, overlap, strict=True):
            counted = points >= MIN_POINTS
            missed += int(counted and best < MIN_OVERLAP)
            verdict = "yes" if best >= MIN_OVERLAP else "no" if counted else "not asked for"
            away = f"{np.hypot(*center[:2]):.1f}"
            table.add_row(frames[key].frame_id, str(points), away, f"{best:.2f}", verdict)
    return table, missed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, default=real_data("kitti_object"))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--kind", choices=("centerpoint", "pointpillars"), default="centerpoint")
    arguments = parser.parse_args()
    console = Console()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset, manifest = make_dataset(arguments.source, folder)
        config = overfit(small_detector(arguments.kind), arguments.steps)
        scores = train(TrainInputs(manifest), TrainOutputs(folder / "model"), config)
        predict(
            PredictInputs(manifest, folder / "model"),
            PredictOutputs(folder / "predictions"),
            PredictConfig(split="train", camera_view=True),
        )
        table, missed = table_of_cars(dataset, folder / "predictions" / "predictions.parquet")
    seconds = time.monotonic() - start
    console.print(table)
    console.print(
        f"{arguments.kind}: {scores['train_steps']:.0f} steps, loss {scores['train_loss']:.3f}, "
        f"{seconds:.0f} s of {LIMIT_S:.0f} s allowed, CPU time {time.process_time():.0f} s"
    )
    if missed or seconds > LIMIT_S:
        raise SystemExit(f"{missed} cars with {MIN_POINTS} points or more were missed")
    console.print(f"every car with {MIN_POINTS} points or more was found")


if __name__ == "__main__":
    main()
