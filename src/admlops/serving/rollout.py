"""Name a release in a kustomize overlay; applying the overlay then rolls it out.

The release stands in one small file of the overlay, a patch of the Deployment's pod template. To go
back is to name the earlier release, or `kubectl rollout undo`.

``python -m admlops.serving.rollout`` names a release that a pipeline on a cluster published.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from admlops.errors import AdmlopsError, ConfigError, DataError
from admlops.files import digest_file, write_atomically
from admlops.serving.bucket_store import open_store
from admlops.serving.inventory import FILES_FILE
from admlops.serving.release_reference import UNSET, ReleaseReference

Track = Literal["stable", "canary"]
ANNOTATION = "admlops.io/release"
_FILES: dict[Track, str] = {"stable": "release.yaml", "canary": "canary-release.yaml"}
_DEPLOYMENTS: dict[Track, str] = {"stable": "triton", "canary": "triton-canary"}
_KUSTOMIZATION = "kustomization.yaml"
_TEXT = """\
# Which release this overlay serves; `admlops publish --target kustomize` writes this file.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {deployment}
  namespace: admlops-serving
spec:
  template:
    metadata:
      annotations:
        {annotation}: {release}
"""
_CANARY_LINES = """\
components:            # before the other components
  - ../../components/canary
patches:
  - path: canary-release.yaml
    target: {kind: Deployment, labelSelector: admlops.io/track=canary}"""


def require_overlay(overlay: Path, track: Track = "stable") -> None:
    """Insist on an overlay that serves a track.

    Raises:
        ConfigError: the folder is no overlay, or does not use the track's file.
    """
    values = _read(overlay / _KUSTOMIZATION)
    patches = values.get("patches")
    paths = [patch.get("path") for patch in patches or [] if isinstance(patch, dict)]
    if _FILES[track] not in paths:
        how = f"; add to it\n{_CANARY_LINES}" if track == "canary" else ""
        raise ConfigError(
            f"overlay {overlay}: its {_KUSTOMIZATION} does not patch with {_FILES[track]}, so no "
            f"release can be named for the track {track!r}{how}"
        )


def set_release(overlay: Path, reference: ReleaseReference, track: Track = "stable") -> str:
    """Name a release in an overlay; return what was named before ("unset" for nothing).

    Raises:
        ConfigError: the folder is no overlay, or does not use the track's file.
    """
    require_overlay(overlay, track)
    before = read_release(overlay, track)
    text = _TEXT.format(
        deployment=_DEPLOYMENTS[track], annotation=ANNOTATION, release=str(reference)
    )
    write_atomically(overlay / _FILES[track], text)
    return before


def read_release(overlay: Path, track: Track = "stable") -> str:
    """Return the reference that an overlay names, or "unset".

    Raises:
        ConfigError: its file is no patch of the pod template.
    """
    path = overlay / _FILES[track]
    if not path.exists():
        return UNSET
    try:
        annotations = _read(path)["spec"]["template"]["metadata"]["annotations"]
        return str(annotations[ANNOTATION])
    except (KeyError, TypeError) as error:
        raise ConfigError(
            f"{path}: expected a patch with the annotation {ANNOTATION} of the pod template"
        ) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name an overlay") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not valid YAML ({error})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping")
    return values


def find_reference(releases_uri: str, release_id: str = "") -> ReleaseReference:
    """Return the reference of a published release, the current one by default, with its digest.

    Raises:
        DataError: there is no such release.
        ServiceError: the bucket cannot be reached.
    """
    store = open_store(releases_uri)
    if not release_id:
        pointer = store.current()
        if pointer is None:
            raise DataError(f"{releases_uri}: nothing was published yet; run `admlops publish`")
        release_id = pointer.release_id
    return ReleaseReference(release_id, digest_file(store.path(release_id) / FILES_FILE))


def main(arguments: Sequence[str] | None = None) -> int:
    """Name a release in an overlay; return the exit code."""
    parser = argparse.ArgumentParser("python -m admlops.serving.rollout", description=__doc__)
    parser.add_argument("--releases-uri", required=True, help="folder, or s3://bucket/folder")
    parser.add_argument("--overlay", type=Path, required=True, help="folder of the overlay")
    parser.add_argument("--release", default="", help="id; the current release where absent")
    parser.add_argument("--track", choices=get_args(Track), default="stable")
    options = parser.parse_args(arguments)
    try:
        require_overlay(options.overlay, options.track)
        reference = find_reference(options.releases_uri, options.release)
        before = set_release(options.overlay, reference, options.track)
    except AdmlopsError as error:
        print(f"rollout: {error}", file=sys.stderr)
        return 1
    print(f"{options.overlay}: {options.track}: {before} -> {reference}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
