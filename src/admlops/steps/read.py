"""The step `read`: read one shard of a source into files of the lake that no version holds yet."""

import json
from dataclasses import dataclass
from pathlib import Path

from admlops.errors import ConfigError
from admlops.files import write_atomically, write_folder_atomically
from admlops.lake.known_labels import KnownLabels
from admlops.lake.staging import stage_frames
from admlops.steps.ingest import IngestConfig, open_for_reading
from admlops.steps.intake import PART_FILE, QUARANTINE_FILE, Intake
from admlops.steps.shards import WHOLE, Shard, ShardReference
from admlops.steps.step import Scores


@dataclass(frozen=True, slots=True)
class ReadInputs:
    """What is read.

    Attributes:
        source: as for `ingest`.
    """

    source: Path


@dataclass(frozen=True, slots=True)
class ReadOutputs:
    """What is written, beside files of the lake.

    Attributes:
        part: folder of `part.json`, which names the written files and holds the findings, and of
            `quarantine.jsonl`.
    """

    part: Path


class ReadConfig(IngestConfig):
    """The config of `ingest`, which merges the parts, and which frames are read."""

    shard: ShardReference = WHOLE
    """Which part of the source is read, "2/8" for the second of eight."""


def read(inputs: ReadInputs, outputs: ReadOutputs, config: ReadConfig) -> Scores:
    """Read one shard of a source for `ingest`, which makes all shards one version of the lake.

    Shards are read at the same time by several processes. Nothing is visible in the lake before
    `ingest`; a shard that is read twice, or killed, leaves files that `ingest` deletes when they
    are a week old.

    Raises:
        ConfigError: there is no such shard, or frames of several are to be screened.
        DataError: the source is no dataset.
        ServiceError: the object store failed.
    """
    shard = Shard.parse(config.shard)
    if config.screening is not None and shard.num_shards > 1:
        raise ConfigError(
            "screening compares a frame with those before it: read the source as one shard, "
            f"not as {shard.num_shards}, or leave screening out"
        )
    opened = open_for_reading(inputs.source, config)
    numbers = shard.cut(len(opened.frames))
    known = KnownLabels.open(config.lake_uri)
    with write_folder_atomically(outputs.part) as draft:
        with (draft / QUARANTINE_FILE).open("w") as quarantine:
            intake = Intake(opened.frames, known, quarantine, screen=config.screen())
            staged = stage_frames(config.lake_uri, intake.frames(numbers), opened.licences)
        part = intake.part(opened.identity, numbers, staged)
        write_atomically(draft / PART_FILE, json.dumps(part.to_json_dict()) + "\n")
    return {
        "num_read": float(len(numbers)),
        "num_present": float(staged.num_present),
        "num_quarantined": float(intake.num_quarantined),
        "num_dropped": float(intake.num_dropped),
    }
