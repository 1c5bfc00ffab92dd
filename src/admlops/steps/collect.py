"""The step `collect`: simulate drives, fetch an open dataset, or register a folder."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console
from rich.progress import track

from admlops.catalogue.layout import require_layout
from admlops.catalogue.reading import find_entry
from admlops.config import Config
from admlops.errors import ConfigError, DataError
from admlops.files import digest_folder, write_atomically, write_folder_atomically
from admlops.formats.kitti.writer import write_frames
from admlops.simulation.config import WorldConfig
from admlops.simulation.world import simulate
from admlops.steps.open_data import (
    CatalogueOrigin,
    describe_terms,
    digest_fetched,
    fetch_dataset,
    fingerprint,
)
from admlops.steps.step import Scores
from admlops.structures.manifest import Manifest

WORLD_FILE = "admlops_world.json"
"""Says in a simulated folder which world it holds."""


@dataclass(frozen=True, slots=True)
class CollectInputs:
    """Nothing is read."""


@dataclass(frozen=True, slots=True)
class CollectOutputs:
    """What is written.

    Attributes:
        source: manifest that names the folder of raw data, its digest and its licences; a folder
            that holds both where a simulation has no destination.
    """

    source: Path


class SimulationOrigin(Config):
    """Simulate a world and write it in the KITTI object format, or as recorded drives."""

    kind: Literal["simulation"] = "simulation"
    """Tells the origins apart."""
    world: WorldConfig = WorldConfig()
    """The world."""
    format: Literal["kitti_object", "recording"] = "kitti_object"
    """A labelled dataset, or one MCAP file of ROS 2 messages per scene, as a vehicle records."""
    destination: Path | None = None
    """Folder to write; one that holds the same world already is kept as it is. Without one the
    output itself is the folder, for pods that share no volume."""
    licences: tuple[str, ...] = ("CC0-1.0",)
    """Terms under which the simulated data may be used."""

    @property
    def digest(self) -> str:
        """Of the world, and of the format where it is not the usual one."""
        if self.format == "kitti_object":
            return self.world.digest
        return hashlib.sha256(f"{self.world.digest} {self.format}".encode()).hexdigest()


class FolderOrigin(Config):
    """Register a folder of recorded data; it is not copied."""

    kind: Literal["folder"] = "folder"
    """Tells the origins apart."""
    path: Path
    """Folder in a format that can be read."""
    dataset: str = ""
    """Open dataset of the catalogue that the folder holds, downloaded by hand: it must be laid out
    so, and its licences come from the catalogue."""
    licences: tuple[str, ...] = ("CC-BY-NC-SA-3.0",)
    """Terms under which the data may be used, where `dataset` does not say; KITTI's by default."""
    fingerprint: str = ""
    """Of names, sizes and times of the files: a changed folder makes a cached run start anew."""

    @classmethod
    def fingerprinted(cls, path: Path) -> "FolderOrigin":
        """Return the origin with the fingerprint of what the folder holds now, if it is here."""
        return cls(path=path, fingerprint=fingerprint(path)[:16] if path.is_dir() else "")


class CollectConfig(Config):
    """Where raw data comes from."""

    origin: Annotated[
        SimulationOrigin | FolderOrigin | CatalogueOrigin, Field(discriminator="kind")
    ] = SimulationOrigin()
    """A simulation, a folder, or an open dataset of the catalogue."""


@dataclass(frozen=True, slots=True)
class _Collected:
    """What an origin brought.

    Attributes:
        folder: of raw data.
        digest: of its content.
        licences: that bear on it.
        provenance: where it comes from.
        scores: figures of the run.
    """

    folder: Path
    digest: str
    licences: tuple[str, ...]
    provenance: dict[str, str]
    scores: Scores


def collect(inputs: CollectInputs, outputs: CollectOutputs, config: CollectConfig) -> Scores:  # noqa: ARG001 - a step's signature
    """Simulate drives, fetch an open dataset, or register a folder; write a reference to the data.

    A simulation whose world is in its destination already is not run again, and files of a dataset
    that are there are not fetched again.

    Raises:
        ConfigError: the destination holds something that is not a simulated world, the terms of a
            dataset are not accepted, or it must be downloaded by hand.
        DataError: the folder does not exist or is laid out otherwise, or what was fetched is not
            what was published.
        ServiceError: a server refuses or does not answer.
    """
    origin = config.origin
    manifest_file = outputs.source
    if not isinstance(origin, FolderOrigin) and origin.destination is None:
        manifest_file = outputs.source / "manifest.json"
    if isinstance(origin, SimulationOrigin):
        collected = _simulate(origin, outputs.source)
    elif isinstance(origin, FolderOrigin):
        collected = _register(origin)
    else:
        manifest_file.unlink(missing_ok=True)  # of an earlier run: no part of the data
        collected = _fetch(origin, outputs.source)
    Manifest(
        kind="source",
        uri=str(collected.folder),
        digest=collected.digest,
        licences=collected.licences,
        provenance={"step": "collect", "origin": origin.kind} | collected.provenance,
    ).write(manifest_file)
    return collected.scores


def _simulate(origin: SimulationOrigin, output: Path) -> _Collected:
    folder = (origin.destination or output).resolve()
    digest, num_simulated = _simulate_into(folder, origin)
    provenance = {"world": digest, "format": origin.format}
    scores = {"num_simulated": float(num_simulated)}
    return _Collected(folder, digest, origin.licences, provenance, scores)


def _register(origin: FolderOrigin) -> _Collected:
    folder = origin.path.resolve()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; set origin.path to the recorded data")
    licences, provenance = origin.licences, {}
    if origin.dataset:
        entry = find_entry(origin.dataset)
        require_layout(entry, folder)
        licences, provenance = entry.licences, describe_terms(entry)
    return _Collected(folder, digest_folder(folder), licences, provenance, {"num_simulated": 0.0})


def _fetch(origin: CatalogueOrigin, output: Path) -> _Collected:
    folder = (origin.destination or output).resolve()
    scores = fetch_dataset(origin, folder)
    provenance = describe_terms(origin.entry)
    return _Collected(folder, digest_fetched(folder), origin.entry.licences, provenance, scores)


def _simulate_into(folder: Path, origin: SimulationOrigin) -> tuple[str, int]:
    """Return the digest of world and format, and how many frames had to be simulated."""
    world, digest = origin.world, origin.digest
    if folder.is_dir() and any(folder.iterdir()):
        present = _present_world(folder)
        if present.get("digest") == digest:
            return digest, 0
    frames = track(
        simulate(world),
        description="simulate",
        total=world.num_frames,
        console=Console(stderr=True),
    )
    with write_folder_atomically(folder) as draft:
        if origin.format == "recording":
            from admlops.recordings.recorder import record_scenes

            record_scenes(draft, frames)
        else:
            write_frames(draft, frames)
        note = {"digest": digest, "world": world.to_json_dict(), "format": origin.format}
        write_atomically(draft / WORLD_FILE, json.dumps(note, indent=2) + "\n")
    return digest, world.num_frames


def _present_world(folder: Path) -> dict[str, Any]:
    try:
        present: dict[str, Any] = json.loads((folder / WORLD_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"origin.destination: {folder} holds something that is not a simulated world; "
            "choose an empty or new folder"
        ) from error
    return present
