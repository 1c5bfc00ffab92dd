"""Reading a source in shards ends as reading it whole does."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import pytest

from admlops.errors import ConfigError, DataError
from admlops.lake.store import Dataset
from admlops.simulation.config import LidarConfig, SceneGroup, WorldConfig
from admlops.steps.collect import CollectConfig, CollectInputs, CollectOutputs, collect
from admlops.steps.ingest import IngestConfig, IngestInputs, IngestOutputs, ingest
from admlops.steps.read import ReadConfig, ReadInputs, ReadOutputs, read
from admlops.steps.shards import Shard, list_shards
from admlops.structures.manifest import Manifest

GROUP = SceneGroup(num_scenes=1, frames_per_scene=4)
WORLD = WorldConfig(
    train=GROUP, val=GROUP, pool=GROUP, lidar=LidarConfig(num_beams=16, azimuth_step_deg=0.4)
)
NUM_FRAMES = 12
SHARE = 0.5


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of a world in which two frames are damaged."""
    folder = tmp_path_factory.mktemp("collected")
    config = CollectConfig.parse(
        {"origin": {"kind": "simulation", "world": WORLD, "destination": folder / "world"}}
    )
    collect(CollectInputs(), CollectOutputs(folder / "source.json"), config)
    cloud = folder / "world" / "training" / "velodyne" / "000001.bin"
    cloud.write_bytes(cloud.read_bytes()[:-3])
    (folder / "world" / "training" / "label_2" / "000006.txt").write_text("Car 0.00 zero\n")
    return folder


def read_shard(collected: Path, home: Path, shard: str) -> Path:
    part = home / f"part_{shard.replace('/', '_')}"
    config = ReadConfig(lake_uri=str(home / "lake"), shard=shard)
    read(ReadInputs(collected / "source.json"), ReadOutputs(part), config)
    return part


def merge(collected: Path, home: Path, parts: list[Path], name: str = "run", share: float = SHARE):
    outputs = IngestOutputs(home / f"{name}.json", home / f"{name}_findings")
    config = IngestConfig(lake_uri=str(home / "lake"), max_quarantine_share=share)
    return ingest(IngestInputs(collected / "source.json", tuple(parts)), outputs, config)


def ingest_in_shards(collected: Path, home: Path, count: int):
    parts = [read_shard(collected, home, shard) for shard in list_shards(count)]
    return merge(collected, home, parts)


@pytest.fixture(scope="module")
def whole(collected: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("whole")
    merge(collected, home, [])
    return home


def assert_same(home: Path, whole: Path) -> None:
    """Insist on the same content, order, manifest and findings."""
    datasets = [Dataset.open(str(folder / "lake")) for folder in (home, whole)]
    assert datasets[0].keys() == datasets[1].keys()
    assert datasets[0].digest == datasets[1].digest
    assert datasets[0].frame_ids() == datasets[1].frame_ids()
    assert datasets[0].licences == datasets[1].licences
    manifests = [Manifest.read(folder / "run.json", "dataset") for folder in (home, whole)]
    assert manifests[0] == manifests[1].replace(uri=manifests[0].uri)
    for name in ("findings.json", "quarantine.jsonl"):
        texts = [(folder / "run_findings" / name).read_text() for folder in (home, whole)]
        assert texts[0] == texts[1]


@pytest.mark.parametrize("count", [1, 2, 5, NUM_FRAMES + 3])
def test_shards_give_what_one_worker_gives(collected, whole, tmp_path, count) -> None:
    scores = ingest_in_shards(collected, tmp_path, count)
    assert scores["num_added"] == NUM_FRAMES - 2
    assert scores["num_quarantined"] == 2
    assert_same(tmp_path, whole)
    found = json.loads((tmp_path / "run_findings" / "findings.json").read_text())
    assert sum(found["rules"].values()) == 2
    assert sum(item["num_boxes"] for item in found["categories"]) > 0


def test_the_order_of_the_parts_does_not_matter(collected, whole, tmp_path) -> None:
    parts = [read_shard(collected, tmp_path, shard) for shard in list_shards(3)]
    merge(collected, tmp_path, parts[::-1])
    assert_same(tmp_path, whole)


def test_labels_that_frames_do_not_get_are_told_by_shards_too(collected, tmp_path) -> None:
    ingest_in_shards(collected, tmp_path, 2)
    parts = []
    for shard in list_shards(2):
        parts.append(tmp_path / f"again_{shard[0]}")
        config = {"lake_uri": str(tmp_path / "lake"), "shard": shard, "categories": {"car": "van"}}
        read(
            ReadInputs(collected / "source.json"), ReadOutputs(parts[-1]), ReadConfig.parse(config)
        )
    outputs = IngestOutputs(tmp_path / "again.json", tmp_path / "again_findings")
    values = {"max_quarantine_share": SHARE, "categories": {"car": "van"}}
    config = IngestConfig.parse({"lake_uri": str(tmp_path / "lake"), **values})
    scores = ingest(IngestInputs(collected / "source.json", tuple(parts)), outputs, config)
    assert scores["num_added"] == 0
    assert scores["num_labels_ignored"] > 0


def read_and_die(collected: Path, home: Path, shard: str) -> None:
    from admlops.steps import read as module

    module.stage_frames = die_after(module.stage_frames)  # all is written, nothing is handed on
    read_shard(collected, home, shard)


def die_after(function):
    def wrapped(*arguments):
        function(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    return wrapped


def test_a_shard_that_is_killed_and_retried_adds_nothing_twice(collected, whole, tmp_path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (collected, tmp_path, "2/3")
    process = context.Process(target=read_and_die, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "part_2_3").exists()
    assert Dataset.open(str(tmp_path / "lake")).num_frames == 0
    assert len(list((tmp_path / "lake" / "data").iterdir())) == 1
    scores = ingest_in_shards(collected, tmp_path, 3)
    assert (scores["num_added"], scores["num_present"]) == (NUM_FRAMES - 2, 0)
    assert_same(tmp_path, whole)


def test_shards_in_processes_of_their_own(collected, whole, tmp_path) -> None:
    arguments = [(collected, tmp_path, shard) for shard in list_shards(4)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        parts = pool.starmap(read_shard, arguments)
    merge(collected, tmp_path, parts)
    assert_same(tmp_path, whole)


def test_a_merge_that_is_repeated_leads_to_the_same_version(collected, tmp_path) -> None:
    parts = [read_shard(collected, tmp_path, shard) for shard in list_shards(2)]
    first = merge(collected, tmp_path, parts)
    again = merge(collected, tmp_path, parts, "again")
    assert (first["num_added"], again["num_added"]) == (NUM_FRAMES - 2, 0)
    assert again["num_present"] == NUM_FRAMES - 2
    manifests = [Manifest.read(tmp_path / f"{name}.json", "dataset") for name in ("run", "again")]
    assert manifests[0].reference == manifests[1].reference


def test_a_lost_lake_is_filled_again_from_the_source(collected, whole, tmp_path) -> None:
    parts = [read_shard(collected, tmp_path, shard) for shard in list_shards(2)]
    shutil.rmtree(tmp_path / "lake")  # parts from a cache, whose files are gone
    merge(collected, tmp_path, parts)
    assert_same(tmp_path, whole)


def test_the_share_of_bad_frames_is_that_of_the_whole(collected, tmp_path) -> None:
    parts = [read_shard(collected, tmp_path, shard) for shard in list_shards(NUM_FRAMES)]
    with pytest.raises(DataError, match="2 of 12 frames"):
        merge(collected, tmp_path, parts, share=0.1)


def test_missing_repeated_and_foreign_parts_are_refused(collected, tmp_path) -> None:
    parts = [read_shard(collected, tmp_path, shard) for shard in list_shards(3)]
    for wrong in (parts[:2], parts[1:], [*parts, parts[0]], [parts[0], parts[2]]):
        with pytest.raises(DataError, match="every shard exactly once"):
            merge(collected, tmp_path, wrong)
    inputs = IngestInputs(collected / "source.json", tuple(parts))
    outputs = IngestOutputs(tmp_path / "run.json", tmp_path / "run_findings")
    config = IngestConfig(lake_uri=str(tmp_path / "lake"), cameras="none")
    with pytest.raises(DataError, match="other settings"):
        ingest(inputs, outputs, config)
    assert not (tmp_path / "run_findings").exists()
    (parts[0] / "part.json").write_text("{}")
    with pytest.raises(DataError, match="not the part of a source"):
        merge(collected, tmp_path, parts)


def test_shards_share_the_work_evenly() -> None:
    for length in (0, 1, 7, 100):
        cut = [Shard.parse(text).cut(length) for text in list_shards(6)]
        assert [number for numbers in cut for number in numbers] == list(range(length))
        assert max(map(len, cut)) - min(map(len, cut)) <= 1


@pytest.mark.parametrize("text", ["", "0/2", "3/2", "1/0", "1", "1/2/3", "a/b", "1.0/2"])
def test_what_is_no_shard_is_refused(text) -> None:
    with pytest.raises(ConfigError, match="shard"):
        Shard.parse(text)
