"""Named configurations: functions that return a complete config for every step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

from admlops.analysis.requirement import Requirement, RequirementRow
from admlops.collection.screening import ScreeningConfig
from admlops.config import Config
from admlops.curation.ledger import LabelLimit
from admlops.errors import ConfigError
from admlops.simulation.config import ObjectRates, SceneGroup, WorldConfig
from admlops.simulation.vendor import VendorConfig
from admlops.steps.analyze import AnalyzeConfig
from admlops.steps.annotate import AnnotateConfig
from admlops.steps.annotators import OracleAnnotator, SimulatedVendor, VendorAnnotator
from admlops.steps.autolabel import AutolabelConfig
from admlops.steps.build import BuildConfig
from admlops.steps.check import CheckConfig
from admlops.steps.collect import CollectConfig, FolderOrigin, SimulationOrigin
from admlops.steps.evaluate import EvaluateConfig
from admlops.steps.export import ExportConfig
from admlops.steps.gate import GateConfig
from admlops.steps.ingest import IngestConfig
from admlops.steps.mine import MineConfig
from admlops.steps.predict import PredictConfig
from admlops.steps.publish import PublishConfig
from admlops.steps.report import ReportConfig
from admlops.steps.shards import ShardCounts, list_shards
from admlops.steps.verify import VerifyConfig
from admlops.training.config import TrainConfig
from admlops.training.presets import (
    train_centerpoint_kitti,
    train_pointpillars_kitti,
    train_small,
)

NUMERIC_PARITY = {"openvino_max_abs_diff": 0.01, "onnxruntime_max_abs_diff": 0.01}
SHARD_COUNTS = "num_shards"


@dataclass(frozen=True, slots=True)
class Recipe:
    """One config per task of a pipeline.

    A config is called like its step, or like its step with a suffix where a pipeline runs the step
    twice with other settings ("predict", "predict_pool"). `SHARD_COUNTS` says how many tasks share
    a step's work.
    """

    name: str
    configs: Mapping[str, Config]

    def config(self, name: str) -> dict[str, Any]:
        """Return one config as plain JSON types, without what is None: KFP cannot carry it.

        Raises:
            ConfigError: the recipe has none of that name.
        """
        if name not in self.configs:
            known = ", ".join(self.configs)
            raise ConfigError(f"recipe {self.name!r} has no config {name!r}; it has {known}")
        return self.configs[name].model_dump(mode="json", exclude_none=True)

    def shards(self, step: str) -> list[str]:
        """Return the references of the shards that a step's work is cut into.

        Raises:
            ConfigError: the recipe says nothing of shards.
        """
        return list_shards(int(self.config(SHARD_COUNTS)[step]))

    def override(self, values: Mapping[str, Mapping[str, Any]]) -> "Recipe":
        """Return the recipe with fields of some configs replaced; nested mappings are merged.

        Raises:
            ConfigError: a config or field is unknown, or a value is not allowed.
        """
        configs = dict(self.configs)
        for name, changes in values.items():
            if not isinstance(changes, Mapping):
                raise ConfigError(f"{name}: expected fields of the config, got {changes!r}")
            merged = _merge(self.config(name), changes)
            configs[name] = type(configs[name]).parse(merged, where=name)
        return Recipe(self.name, configs)


def demo(store: str) -> Recipe:
    """Return the closed loop on a small synthetic world: minutes on two CPU cores."""
    world = demo_world()
    train = train_small(num_steps=600)
    return Recipe(
        "demo",
        {
            "collect": CollectConfig(
                origin=SimulationOrigin(world=world, destination=_folder(store, "world"))
            ),
            **_common(store, train),
            "predict": PredictConfig(split="val"),
            "predict_pool": PredictConfig(split="pool", score_threshold=0.05),
            "gate": GateConfig(
                min_scores={"car_bev_ap50": 0.7}, max_scores=NUMERIC_PARITY, tolerance=0.03
            ),
            "mine": MineConfig(
                num_frames=40,
                cost_power=0.0,  # the budget is in frames
                requirement=Requirement(),
                ledger=str(_folder(store, "label_ledger.jsonl") or ""),
                limit=LabelLimit(frames=200.0),
            ),
            "annotate": AnnotateConfig(annotator=OracleAnnotator(world=world)),
            "report": ReportConfig(
                title="The closed loop on a synthetic world", releases_uri=_releases(store)
            ),
        },
    )


def demo_world() -> WorldConfig:
    """Return the demo's world: the pool holds rain and night that the training scenes lack."""
    return WorldConfig(
        train=SceneGroup(num_scenes=12, rain_share=0.1, night_share=0.2),
        val=SceneGroup(num_scenes=6, rain_share=0.4, night_share=0.3),
        pool=SceneGroup(
            num_scenes=10, rain_share=0.4, night_share=0.3, rates=ObjectRates(cyclist=4.0)
        ),
    )


_NIGHT = RequirementRow(
    categories=("car", "pedestrian", "cyclist"),
    range_edges_m=(0.0, 30.0),
    conditions=("night",),
    min_boxes=20,
)


def iterate(store: str) -> Recipe:
    """Return an iteration of a synthetic dataset: drives at night and in rain, a careless vendor.

    The labelled scenes are by day; recorded drives bring what the requirement asks for. The first
    delivery of labels has mistakes enough to be rejected, the second is careful.
    """
    labelled, drives = iterate_worlds()
    train = train_small(num_steps=300)
    requirement = Requirement(name="night", rows=(_NIGHT,))
    careless = VendorConfig(missing=0.1, shifted=0.1, swapped=0.1, duplicate=0.05)
    return Recipe(
        "iterate",
        {
            SHARD_COUNTS: ShardCounts(),
            **_two_sources(store, labelled, drives),
            "train": train,
            "predict": PredictConfig(split="val"),
            "predict_pool": PredictConfig(
                split="", condition="split <> 'train'", score_threshold=0.05
            ),
            "evaluate": EvaluateConfig(),
            "autolabel": AutolabelConfig(candidates="NOT is_keyframe"),
            "mine": MineConfig(
                num_frames=24, cost_power=0.0, candidates="true", requirement=requirement
            ),
            "annotate": _vendor(drives, careless),
            "annotate_again": _vendor(drives, VendorConfig()),
            "check": CheckConfig(detector=train.detector),
            "analyze": AnalyzeConfig(requirement=requirement),
            "report": ReportConfig(
                title="An iteration of a dataset",
                sections=(
                    "data",
                    "recordings",
                    "findings",
                    "detections",
                    "mining",
                    "labels",
                    "lineage",
                ),
            ),
        },
    )


def _two_sources(store: str, labelled: WorldConfig, drives: WorldConfig) -> dict[str, Config]:
    """Return how labelled scenes and recorded drives come into one lake."""
    return {
        "collect": CollectConfig(
            origin=SimulationOrigin(world=labelled, destination=_folder(store, "world"))
        ),
        "collect_drives": CollectConfig(
            origin=SimulationOrigin(
                world=drives, format="recording", destination=_folder(store, "drives")
            )
        ),
        "ingest": IngestConfig(lake_uri=f"{store}/lake"),
        "ingest_drives": IngestConfig(
            lake_uri=f"{store}/lake", screening=ScreeningConfig(parked_after_s=5.0)
        ),
    }


def iterate_worlds() -> tuple[WorldConfig, WorldConfig]:
    """Return labelled scenes by day, and drives at night that are recorded."""
    nothing = SceneGroup(num_scenes=0)
    by_day = SceneGroup(num_scenes=8, rain_share=0.0, night_share=0.0)
    at_night = SceneGroup(
        num_scenes=4,
        frames_per_scene=16,
        rain_share=0.5,
        night_share=1.0,
        rates=ObjectRates(cyclist=4.0),
    )
    labelled = WorldConfig(train=by_day, val=by_day.replace(num_scenes=3), pool=nothing)
    drives = WorldConfig(seed=1, train=nothing, val=nothing, pool=at_night, keyframe_interval_s=0.5)
    return labelled, drives


def _vendor(world: WorldConfig, work: VendorConfig) -> AnnotateConfig:
    return AnnotateConfig(
        annotator=VendorAnnotator(simulated=SimulatedVendor(world=world, work=work))
    )


def kitti(store: str, source: str) -> Recipe:
    """Return a small detector on a folder in the KITTI object format; a few frames will do.

    The gate asks for equal answers of all runtimes and for no loss against what is published, not
    for a precision: a few frames cannot give one.
    """
    train = train_small(num_steps=300)
    loading = train.loading.replace(camera_view=True)
    return _kitti("kitti", store, source, train.replace(loading=loading))


def kitti_pointpillars(store: str, source: str) -> Recipe:
    """Return the paper's PointPillars with its whole schedule; meant for a GPU."""
    recipe = _kitti("kitti_pointpillars", store, source, train_pointpillars_kitti())
    return recipe.override({"gate": {"min_scores": {"car_3d_ap70": 0.6}}})


def kitti_centerpoint(store: str, source: str) -> Recipe:
    """Return CenterPoint on the paper's pillars with the whole schedule; meant for a GPU."""
    recipe = _kitti("kitti_centerpoint", store, source, train_centerpoint_kitti())
    return recipe.override({"gate": {"min_scores": {"car_3d_ap70": 0.6}}})


RECIPES: dict[str, Callable[..., Recipe]] = {
    "demo": demo,
    "iterate": iterate,
    "kitti": kitti,
    "kitti_pointpillars": kitti_pointpillars,
    "kitti_centerpoint": kitti_centerpoint,
}
"""Every recipe by name; those with a parameter `source` need a folder of raw data."""


def usual_recipe(pipeline: str) -> str:
    """Return the name of the recipe that a pipeline is run with where none is named."""
    return "iterate" if pipeline == "iterate_dataset" else "demo"


def load_recipe(name: str, store: str, source: str = "") -> Recipe:
    """Return a recipe whose lake, releases and ledger are below `store`.

    Raises:
        ConfigError: there is no such recipe, or it needs a source and none is given.
    """
    if name not in RECIPES:
        raise ConfigError(f"no recipe is called {name!r}; recipes are {', '.join(RECIPES)}")
    if "source" not in signature(RECIPES[name]).parameters:
        return RECIPES[name](store)
    if not source:
        raise ConfigError(f"recipe {name!r} needs raw data: give --source FOLDER")
    return RECIPES[name](store, source)


def _folder(store: str, name: str) -> Path | None:
    """Return a path below a local store; an object store has none, so nothing is kept there."""
    return None if "://" in store else Path(store) / name


def _releases(store: str) -> str:
    return f"{store}/serving"


def _common(store: str, train: TrainConfig) -> dict[str, Config]:
    """Return the configs that all recipes share."""
    return {
        SHARD_COUNTS: ShardCounts(),
        "ingest": IngestConfig(lake_uri=f"{store}/lake"),
        "check": CheckConfig(detector=train.detector),
        "analyze": AnalyzeConfig(),
        "train": train,
        "evaluate": EvaluateConfig(),
        "export": ExportConfig(),
        "build": BuildConfig(),
        "verify": VerifyConfig(),
        "publish": PublishConfig(releases_uri=_releases(store)),
    }


def _kitti(name: str, store: str, source: str, train: TrainConfig) -> Recipe:
    rows = (RequirementRow(categories=("car", "pedestrian", "cyclist"), min_boxes=100),)
    configs = {
        **_common(store, train),
        "collect": CollectConfig(origin=FolderOrigin.fingerprinted(Path(source).absolute())),
        "analyze": AnalyzeConfig(requirement=Requirement(name="KITTI", rows=rows)),
        "predict": PredictConfig(split="val", camera_view=True),
        "gate": GateConfig(max_scores=NUMERIC_PARITY, published_uri=_releases(store)),
        "report": ReportConfig(
            title="KITTI object detection", reach_m=70.0, releases_uri=_releases(store)
        ),
    }
    return Recipe(name, configs)


def _merge(values: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, change in changes.items():
        inner = merged.get(name)
        nested = isinstance(inner, dict) and isinstance(change, Mapping) and bool(change)
        if nested and change.get("kind", inner.get("kind")) != inner.get("kind"):  # type: ignore[union-attr]
            nested = False  # another member of a union: its fields are not these
        merged[name] = _merge(inner, change) if nested else change  # type: ignore[arg-type]
    return merged
