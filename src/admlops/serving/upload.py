"""Copy a published release from a folder into a bucket, for the loaders of a cluster."""

from pathlib import Path

from admlops.errors import DataError
from admlops.files import digest_file
from admlops.serving.inventory import FILES_FILE, Inventory
from admlops.serving.object_store import ObjectFolder
from admlops.serving.release_reference import ReleaseReference

_MAX_INVENTORY_BYTES = 8 << 20


def upload_release(release: Path, destination: ObjectFolder) -> ReleaseReference:
    """Upload a release that is intact; return its reference, pinned by the digest of its files.

    `files.json` is written last: a loader finds a whole release or none, and an upload that was
    broken off is taken up by running it again.

    Args:
        release: the release's folder.
        destination: ``<releases_uri>/releases/<id>`` in the bucket.

    Raises:
        DataError: the release is damaged, or the bucket holds another one under its name.
        ServiceError: the store cannot be reached or refuses.
    """
    path = release / FILES_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); publish first") from error
    inventory = Inventory.parse(content, str(path))
    wrong = inventory.differences(release)
    if wrong:
        raise DataError(f"{release}: the release is damaged: {', '.join(wrong[:5])}; publish again")
    reference = ReleaseReference(release.name, digest_file(path))
    there = _existing(destination)
    if there is None:
        others, configurations = inventory.in_order()
        for name in [*others, *configurations, FILES_FILE]:
            destination.upload(name, release / name)
    elif there != content:
        raise DataError(
            f"{destination.uri}: holds another release of this name; a release never changes. "
            "Publish with the bucket's own folder, so that the numbers go on"
        )
    return reference


def _existing(destination: ObjectFolder) -> bytes | None:
    try:
        return destination.read(FILES_FILE, _MAX_INVENTORY_BYTES)
    except DataError:  # missing: it was never uploaded whole
        return None
