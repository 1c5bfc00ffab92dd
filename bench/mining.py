"""Mined frames against random ones at equal label cost, over several worlds and seeds.

A detector is trained on few labelled frames of a common kind of road. A large pool mixes that kind
with one rare scene in ten (rain, many cyclists and pedestrians), which validation weighs like the
common ones. Random asks for a number of frames; mining asks, in its order, for what still fits into
the same number of true boxes (or, with --unit frames, for as many frames). The simulator labels
them, a fresh detector is trained for the same number of steps, and both are scored on the same
validation scenes, all of them and the rare ones alone: average precision by centre distance (0.5 to
4 m), mean over the categories. Mining learns from failures in other validation scenes than those.
The difference per seed is paired; its 95 % interval is Student's. The outcome is printed, drawn and
written as it is.

What could be gained at all is measured beside it: the strategy "all rare" labels every rare frame
of the pool, whatever that costs. Where it does not beat random, no choice of frames can.

The number of worlds is fixed before a run; nothing looks at the results to decide when to stop.
Mining was developed on worlds 100 to 113 and 200 to 311; a run that is to prove something takes
others. Each world's outcomes are written as soon as they are known.

Run: python -m bench.mining [--first-seed 9000] [--seeds 14] [--frames 16] [--steps 300]
     [--common-scenes 72] [--rare-scenes 8] [--unit frames|boxes]
"""

import argparse
import json
import math
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy import stats

from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, ObjectRates, SceneGroup, WorldConfig
from admlops.simulation.world import oracle_labels, simulate
from admlops.steps.evaluate import EvaluateConfig, EvaluateInputs, EvaluateOutputs, evaluate
from admlops.steps.mine import MineConfig, MineInputs, MineOutputs, mine
from admlops.steps.predict import PredictConfig, PredictInputs, PredictOutputs, predict
from admlops.steps.train import TrainInputs, TrainOutputs, train
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.label_request import LabelRequest
from admlops.structures.manifest import Manifest
from admlops.training.config import TrainConfig
from admlops.training.presets import train_small
from bench.mining_plot import draw_mining

REACH_M = 38.4
"""How far the detector looks forward, and half as far to each side: a grid of 96 x 96 cells."""

CATEGORIES = ("car", "pedestrian", "cyclist")
COMMON = ObjectRates(car=8, parked_car=6, truck=0.5, pedestrian=1.0, cyclist=0.3)
RARE = ObjectRates(car=4, parked_car=4, truck=0.5, pedestrian=14, cyclist=12)
RARE_WORLD_OFFSET = 1_000_000
NUM_JUDGED, NUM_SCORED = 3, 6
"""Validation scenes of each kind: whose failures mining sees, and on which detectors are scored."""
JUDGED = f"split = 'val' AND scene < 'val-{NUM_JUDGED:03d}'"
SCORED = f"split = 'val' AND scene >= 'val-{NUM_JUDGED:03d}'"
CEILING = "all rare"
"""Labels every rare frame of the pool."""
DIFFERENCES = {"mined - random": "mined", f"{CEILING} - random": CEILING}


@dataclass(frozen=True)
class Setting:
    """One experiment's size."""

    num_frames: int
    num_steps: int
    unit: str
    num_common_pool: int
    num_rare_pool: int


@dataclass(frozen=True)
class Outcome:
    """One strategy's result on one seed."""

    seed: int
    strategy: str
    frames: int
    boxes: int
    rare_share: float
    scores: dict[str, float]


def make_worlds(seed: int, setting: Setting) -> tuple[WorldConfig, WorldConfig]:
    """Return the world of common roads and that of rare ones; their keys differ by seed."""
    lidar = LidarConfig(azimuth_step_deg=0.3, max_range_m=REACH_M)

    def group(num_scenes: int, rates: ObjectRates, rain_share: float) -> SceneGroup:
        return SceneGroup(
            num_scenes=num_scenes, frames_per_scene=6, rain_share=rain_share, rates=rates
        )

    common = WorldConfig(
        seed=seed,
        lidar=lidar,
        images=False,
        train=group(4, COMMON, 0.0),
        val=group(NUM_JUDGED + NUM_SCORED, COMMON, 0.0),
        pool=group(setting.num_common_pool, COMMON, 0.0),
    )
    rare = common.replace(
        seed=RARE_WORLD_OFFSET + seed,
        train=group(0, RARE, 0.0).model_dump(),
        val=group(NUM_JUDGED + NUM_SCORED, RARE, 0.5).model_dump(),
        pool=group(setting.num_rare_pool, RARE, 0.5).model_dump(),
    )
    return common, rare


class Experiment:
    """One seed: a world, a first detector, and what each strategy makes of it."""

    def __init__(self, folder: Path, seed: int, setting: Setting) -> None:
        self.folder, self.seed, self.setting = folder, seed, setting
        self.worlds = make_worlds(seed, setting)
        self.dataset = Dataset.create(str(folder / "lake"))
        self.dataset.append(self._frames())
        self.first = self._write_manifest("first", self.dataset)
        self._model = self._train("first", self.first)

    def run(self) -> Iterator[Outcome]:
        """Yield the detector before mining, then one outcome per strategy."""
        yield self._outcome("before", self._score("before", self.first, self._model), [])
        judged, evaluation, _ = self._evaluate("judged", self.first, self._model, JUDGED)
        pool = self._predict("pool", self.first, self._model, "split = 'pool'")
        inputs = MineInputs(self.first, pool, evaluation, judged)
        budget = math.inf
        for strategy in ("random", "mined", CEILING):
            keys = self._ask(strategy, inputs, budget)
            if strategy == "random" and self.setting.unit == "boxes":
                budget = self._count_boxes(keys)
            labelled = self._label(strategy, keys)
            scores = self._score(strategy, labelled, self._train(strategy, labelled))
            yield self._outcome(strategy, scores, keys)

    @property
    def _rare_log(self) -> str:
        return f"synthetic-{self.worlds[1].seed}"

    def _frames(self) -> Iterator[Frame]:
        for world in self.worlds:
            yield from simulate(world)

    def _write_manifest(self, name: str, dataset: Dataset) -> Path:
        path = self.folder / f"{name}.json"
        dataset.manifest().write(path)
        return path

    def _train_config(self) -> TrainConfig:
        config = train_small(self.setting.num_steps, CATEGORIES)
        area = (0.0, -REACH_M / 2, -1.0, REACH_M, REACH_M / 2, 3.0)
        detector = config.detector.replace(point_cloud_range_m=area)
        return config.replace(
            detector=detector.model_dump(), seed=self.seed, progress=False, logger="none"
        )

    def _train(self, name: str, dataset: Path) -> Path:
        model = self.folder / f"model_{name}"
        train(TrainInputs(dataset), TrainOutputs(model), self._train_config())
        return model

    def _predict(self, name: str, dataset: Path, model: Path, condition: str) -> Path:
        folder = Path(tempfile.mkdtemp(dir=self.folder, prefix=f"predictions_{name}_")) / "out"
        config = PredictConfig(split="", condition=condition)
        predict(PredictInputs(dataset, model), PredictOutputs(folder), config)
        return folder

    def _score(self, name: str, dataset: Path, model: Path) -> dict[str, float]:
        """Return average precisions on the scored scenes, all of them and the rare ones alone."""
        found = {}
        rare_only = f"{SCORED} AND log = '{self._rare_log}'"
        for part, condition in (("", SCORED), ("rare_", rare_only)):
            *_, scores = self._evaluate(f"{part}{name}", dataset, model, condition)
            kept = [_number(scores, f"{category}_distance_ap") for category in CATEGORIES]
            names = [f"{part}{category}_ap" for category in CATEGORIES]
            found |= {f"{part}mean_ap": float(np.mean(kept))} | dict(zip(names, kept, strict=True))
        return found

    def _evaluate(
        self, name: str, dataset: Path, model: Path, condition: str
    ) -> tuple[Path, Path, dict[str, float]]:
        """Return the folders of predictions and evaluation of some frames, and the scores."""
        predictions = self._predict(name, dataset, model, condition)
        folder = self.folder / f"evaluation_{name}"
        config = EvaluateConfig(categories=CATEGORIES, bootstrap={"num_draws": 0})
        inputs = EvaluateInputs(dataset, predictions)
        return predictions, folder, evaluate(inputs, EvaluateOutputs(evaluation=folder), config)

    def _ask(self, strategy: str, inputs: MineInputs, max_boxes: float) -> list[FrameKey]:
        """Return the frames that a strategy asks for and whose true boxes fit into the budget."""
        if strategy == CEILING:
            rows = self.dataset.rows_where(f"split = 'pool' AND log = '{self._rare_log}'")
            return [self.dataset.keys()[row] for row in rows]
        by_boxes = self.setting.unit == "boxes" and strategy == "mined"
        config = MineConfig(
            num_frames=self.setting.num_frames * (3 if by_boxes else 1),
            strategy=strategy,
            seed=self.seed,
        )
        folder = self.folder / f"request_{strategy}"
        mine(inputs, MineOutputs(folder), config)
        asked: list[FrameKey] = []
        for key in LabelRequest.read(folder).keys:
            if self._count_boxes([*asked, key]) <= max_boxes:
                asked.append(key)
        return asked

    def _truth(self, keys: Sequence[FrameKey]) -> dict:
        common, rare = self.worlds
        is_rare = [key.log == f"synthetic-{rare.seed}" for key in keys]
        return oracle_labels(
            common, [key for key, flag in zip(keys, is_rare, strict=True) if not flag]
        ) | oracle_labels(rare, [key for key, flag in zip(keys, is_rare, strict=True) if flag])

    def _count_boxes(self, keys: Sequence[FrameKey]) -> int:
        return sum(len(boxes) for boxes in self._truth(keys).values())

    def _label(self, strategy: str, keys: Sequence[FrameKey]) -> Path:
        """Return the manifest of the first version with the frames labelled."""
        dataset = Dataset.create(str(self.folder / f"lake_{strategy}"))
        first = Dataset.open(Manifest.read(self.first, "dataset").reference)
        dataset.append(first.iterate())
        dataset.relabel(self._truth(keys), split="train")
        return self._write_manifest(strategy, dataset)

    def _outcome(
        self, strategy: str, scores: dict[str, float], keys: Sequence[FrameKey]
    ) -> Outcome:
        return Outcome(
            seed=self.seed,
            strategy=strategy,
            frames=len(keys),
            boxes=self._count_boxes(keys),
            rare_share=sum(key.log == self._rare_log for key in keys) / max(len(keys), 1),
            scores=scores,
        )


def _number(scores: dict[str, float], name: str) -> float:
    """Return a score; 0 where nothing was found or judged."""
    value = scores.get(name, 0.0)
    return 0.0 if math.isnan(value) else value


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and the ends of Student's 95 % interval; NaN ends for fewer than two."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, math.nan, math.nan
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean, mean - reach, mean + reach


def summarize(outcomes: Sequence[Outcome]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Return mean and interval of each score, by strategy and for mined minus random."""
    by = {
        (outcome.seed, outcome.strategy): outcome.scores
        | {
            "boxes": float(outcome.boxes),
            "frames": float(outcome.frames),
            "rare_share": outcome.rare_share,
        }
        for outcome in outcomes
    }
    seeds = sorted({seed for seed, _ in by})
    summary = {}
    for name in by[seeds[0], "before"]:
        columns = {
            strategy: [by[seed, strategy][name] for seed in seeds]
            for strategy in ("before", "random", "mined", CEILING)
        }
        summary[name] = {key: interval(values) for key, values in columns.items()}
        for difference, strategy in DIFFERENCES.items():
            values = np.subtract(columns[strategy], columns["random"]).tolist()
            summary[name][difference] = interval(values)
    return summary


def verdict(summary: dict[str, dict[str, tuple[float, float, float]]]) -> str:
    parts = []
    for name, where in (("mean_ap", "all frames"), ("rare_mean_ap", "rare frames")):
        mean, low, high = summary[name]["mined - random"]
        outcome = "beats chance" if low > 0 else "is worse than chance" if high < 0 else "unproved"
        figures = f"{mean:+.3f} mean AP (95 % interval {low:+.3f} to {high:+.3f})"
        parts.append(f"{where}: mining {outcome}, {figures}")
    return "; ".join(parts)


def show(summary: dict[str, dict[str, tuple[float, float, float]]]) -> None:
    columns = ("before", "random", "mined", CEILING, *DIFFERENCES)
    table = Table(title="mean and 95 % interval over seeds")
    table.add_column("score")
    for column in columns:
        table.add_column(column, justify="right")
    for name, row in summary.items():
        cells = [f"{m:.3f} [{low:.3f}, {high:.3f}]" for m, low, high in (row[c] for c in columns)]
        table.add_row(name, *cells)
    Console(width=180).print(table)


def run_seed(seed: int, setting: Setting) -> list[Outcome]:
    """Run one seed on one core: several at once use the cores better than one on all."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        outcomes = []
        for outcome in Experiment(Path(folder), seed, setting).run():
            outcomes.append(outcome)
            print(json.dumps(asdict(outcome)), flush=True)
    print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    return outcomes


def run_seeds(seeds: Sequence[int], setting: Setting, workers: int, journal: Path) -> list[Outcome]:
    """Run all seeds; each one's outcomes are added to the journal when it is done, a line each."""
    outcomes: list[Outcome] = []
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn) as pool, journal.open("w") as lines:
        for done in pool.map(run_seed, seeds, repeat(setting)):
            lines.writelines(json.dumps(asdict(outcome)) + "\n" for outcome in done)
            lines.flush()
            outcomes += done
    return outcomes


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first-seed", type=int, default=9000, help="of new worlds")
    parser.add_argument("--seeds", type=int, default=14, help="number of worlds")
    parser.add_argument("--frames", type=int, default=16, help="what random asks for")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--common-scenes", type=int, default=72, help="in the pool")
    parser.add_argument("--rare-scenes", type=int, default=8, help="in the pool")
    parser.add_argument("--unit", choices=("frames", "boxes"), default="boxes", help="of the cost")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", type=Path, default=Path("build/bench_mining.json"))
    given = parser.parse_args(arguments)
    scenes = given.common_scenes, given.rare_scenes
    setting = Setting(given.frames, given.steps, given.unit, *scenes)
    given.json.parent.mkdir(parents=True, exist_ok=True)
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    outcomes = run_seeds(seeds, setting, given.workers, given.json.with_suffix(".jsonl"))
    summary = summarize(outcomes)
    show(summary)
    print(verdict(summary))
    result = {"setting": asdict(setting), "summary": summary, "verdict": verdict(summary)}
    result["outcomes"] = [asdict(outcome) for outcome in outcomes]
    given.json.write_text(json.dumps(result, indent=1) + "\n")
    print(draw_mining(result, given.json.with_suffix(".png")))


if __name__ == "__main__":
    main()
