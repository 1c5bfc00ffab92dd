"""Bring one release from S3 into a folder, whole and verified, or not at all.

``python -m admlops.serving.loader`` is the init container of the Triton deployment. It reads
``<releases_uri>/releases/<id>/``, needs the right to get objects only, and refuses what is damaged,
incomplete, strange or built for another GPU. `<into>/current` appears by one rename, so Triton sees
a whole release or none.
"""

import argparse
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from admlops.config import Config
from admlops.errors import AdmlopsError, ConfigError, DataError, ServiceError
from admlops.files import digest_file, write_folder_atomically
from admlops.serving.engine_key import (
    ServingNode,
    find_architecture,
    key_files,
    read_key,
    require_engine_for,
)
from admlops.serving.inventory import FILES_FILE, RELEASE_FILE, Inventory
from admlops.serving.object_store import ObjectFolder
from admlops.serving.release_reference import ReleaseReference

CURRENT_FOLDER = "current"
STAGES_FOLDER = "stages"
RELEASES_VARIABLE = "ADMLOPS_RELEASES_URI"
RELEASE_VARIABLE = "ADMLOPS_RELEASE"
TENSORRT_VARIABLE = "ADMLOPS_TENSORRT_VERSION"

_MAX_INVENTORY_BYTES = 8 << 20
_NUM_CONNECTIONS = 4


class _Record(Config, extra="ignore"):
    """The part of `release.json` that the loader compares."""

    release_id: str
    """Which release the folder says it is."""


@dataclass(frozen=True, slots=True)
class LoadedRelease:
    """What was loaded.

    Attributes:
        path: the release's folder.
        num_files: how many files it has, without `files.json`.
        num_bytes: bytes that were transferred; 0 where the release was there already.
        num_engines: TensorRT engines in it.
    """

    path: Path
    num_files: int
    num_bytes: int
    num_engines: int


def load_release(
    source: ObjectFolder, reference: ReleaseReference, into: Path, node: ServingNode
) -> LoadedRelease:
    """Download a release into `<into>/current`, verified file by file.

    Whatever fails, `current` is not there afterwards, unless it already held this very release.

    Args:
        source: the release's folder in the bucket.
        reference: which release it must be.
        into: an existing folder.
        node: what runs engines here.

    Raises:
        DataError: a file is missing or changed, a name leads out of the folder, the release is
            another one, or its engines are for another GPU or TensorRT.
        ServiceError: the store cannot be reached, refuses, or breaks off; or the disk is full.
    """
    target = into / CURRENT_FOLDER
    content = source.read(FILES_FILE, _MAX_INVENTORY_BYTES)
    _require_digest(content, reference, source.uri)
    inventory = Inventory.parse(content, f"{source.uri}/{FILES_FILE}")
    names = key_files(inventory)
    if target.exists() and not _differs(target, content, inventory):
        return LoadedRelease(target, len(inventory.digests), 0, len(names))
    _remove_leftovers(into)
    try:
        with write_folder_atomically(target) as draft:
            num_bytes = download_files(source, inventory, names, draft)
            keys = [read_key(draft / name, name) for name in names]
            require_engine_for(node, keys, inventory)
            others, configurations = inventory.in_order()
            num_bytes += download_files(
                source, inventory, [n for n in others if n not in names], draft
            )
            _require_same_release(draft, reference)
            (draft / FILES_FILE).write_bytes(content)
            num_bytes += download_files(source, inventory, configurations, draft)
    except OSError as error:
        raise ServiceError(
            f"{into}: writing the release failed ({error.strerror}); give the volume more room"
        ) from error
    return LoadedRelease(target, len(inventory.digests), num_bytes, len(names))


def copy_stages(stages: Path, into: Path) -> None:
    """Copy the packages that the release's models import to `<into>/stages`, whole or not at all.

    Raises:
        ConfigError: there is no such folder.
        ServiceError: the volume is full.
    """
    if not stages.is_dir():
        raise ConfigError(f"--stages {stages}: there is no such folder in the loader's image")
    target = into / STAGES_FOLDER
    if target.exists():
        return
    try:
        with write_folder_atomically(target) as draft:
            shutil.copytree(stages, draft, dirs_exist_ok=True)
    except OSError as error:
        raise ServiceError(
            f"{into}: copying {stages} failed ({error}); give the volume more room"
        ) from error


def download_files(
    source: ObjectFolder, inventory: Inventory, names: Sequence[str], draft: Path
) -> int:
    """Download files, several at a time; return their bytes.

    Raises:
        DataError: a file is missing or not what the inventory says.
        ServiceError: the store failed.
    """

    def fetch(name: str) -> int:
        num_bytes, digest = source.download(name, draft / name)
        if digest != inventory.digests[name]:
            raise DataError(
                f"{source.uri}/{name}: changed: its SHA-256 is {digest[:12]}..., files.json says "
                f"{inventory.digests[name][:12]}...; nothing was loaded. Publish the release "
                "again, or go back to another"
            )
        return num_bytes

    pool = ThreadPoolExecutor(_NUM_CONNECTIONS)
    try:
        return sum(pool.map(fetch, names))
    finally:
        pool.shutdown(cancel_futures=True)


def _require_digest(content: bytes, reference: ReleaseReference, uri: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if reference.files_digest and found != reference.files_digest:
        raise DataError(
            f"{uri}/{FILES_FILE}: its SHA-256 is {found[:12]}..., the pod asks for "
            f"{reference.files_digest[:12]}...; the release in the bucket is not the one that was "
            "published"
        )


def _require_same_release(draft: Path, reference: ReleaseReference) -> None:
    path = draft / RELEASE_FILE
    try:
        record = _Record.load(path)
    except ConfigError as error:
        raise DataError(f"{RELEASE_FILE}: is no record of a release ({error})") from error
    if record.release_id != reference.release_id:
        raise DataError(
            f"{RELEASE_FILE}: the folder of {reference.release_id} holds {record.release_id}; "
            "publish again"
        )


def _differs(target: Path, content: bytes, inventory: Inventory) -> bool:
    """Return whether a folder is not this very release."""
    same = hashlib.sha256(content).hexdigest()
    path = target / FILES_FILE
    return not path.is_file() or digest_file(path) != same or bool(inventory.differences(target))


def _remove_leftovers(into: Path) -> None:
    """Remove what an earlier release, or a killed loader, left behind."""
    for path in _leftovers(into):
        shutil.rmtree(path, ignore_errors=True)


def _leftovers(into: Path) -> Iterator[Path]:
    yield into / CURRENT_FOLDER
    yield from into.glob(f".{CURRENT_FOLDER}.*")


def main(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> int:
    """Load the release that the environment names; return the exit code."""
    parser = argparse.ArgumentParser("python -m admlops.serving.loader", description=__doc__)
    parser.add_argument("--into", type=Path, required=True, help="folder that Triton reads")
    parser.add_argument("--stages", type=Path, help="packages for the release's models")
    parser.add_argument("--release", default=environment.get(RELEASE_VARIABLE, ""))
    parser.add_argument("--releases-uri", default=environment.get(RELEASES_VARIABLE, ""))
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        reference = ReleaseReference.parse(options.release)
        uri = f"{options.releases_uri.rstrip('/')}/releases/{reference.release_id}"
        source = ObjectFolder(uri, environment)
        node = ServingNode(find_architecture(), environment.get(TENSORRT_VARIABLE, ""))
        if options.stages is not None:
            copy_stages(options.stages, options.into)
        loaded = load_release(source, reference, options.into, node)
    except AdmlopsError as error:
        print(f"loader: refused: {error}", file=sys.stderr)
        return 1
    print(
        f"loader: {reference.release_id}: {loaded.num_files} files verified, "
        f"{loaded.num_bytes / 1e6:.1f} MB transferred in {time.monotonic() - started:.1f} s; "
        f"{loaded.num_engines} engine(s); node: {node}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
