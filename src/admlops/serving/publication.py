"""From a built network to the current release: write a draft, prove it, then move the pointer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from admlops.detection.config import read_detector_config
from admlops.errors import DataError
from admlops.serving.bucket_store import open_store
from admlops.serving.client import predict_cloud
from admlops.serving.engine_proof import read_engine
from admlops.serving.golden import Golden, require_equal
from admlops.serving.release import (
    ReleaseContent,
    ReleaseRecord,
    read_record,
    require_intact,
    write_configurations,
    write_content,
    write_papers,
)
from admlops.serving.server import embed_release
from admlops.serving.store import Pointer, ReleaseStore, is_newer

PARITY_TOLERANCE = 1e-3
"""Largest accepted difference of any number of a box or score."""

Prover = Callable[[Path, Sequence[Golden], float], float]
"""From a release, golden requests and a tolerance to the largest difference of the answers."""


@dataclass(frozen=True, slots=True)
class Papers:
    """What a release records about where it comes from.

    Attributes:
        licences: terms that data and model carry.
        use: what the terms were checked for.
        provenance: references, digests and parents.
        scores: figures of evaluation and verification.
        evaluation: folder with the model's scores; it becomes part of the release.
    """

    licences: tuple[str, ...] = ()
    use: str = "research"
    provenance: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    evaluation: Path | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """What came of publishing.

    Attributes:
        path: the release's folder.
        record: what it is.
        pointer: which release is current now; None where none is.
        largest_difference: of Triton's answers from the golden ones.
    """

    path: Path
    record: ReleaseRecord
    pointer: Pointer | None
    largest_difference: float


def prove_release(release: Path, goldens: Sequence[Golden], tolerance: float) -> float:
    """Serve a release, send every golden request over gRPC, and return the largest difference.

    Raises:
        GateError: an answer differs by more than the tolerance.
        ServiceError: the server did not start or refused a request.
    """
    with embed_release(release) as server:
        return max(
            require_equal(golden, predict_cloud(server.grpc_url, golden.points), tolerance)
            for golden in goldens
        )


def publish_release(
    store: ReleaseStore,
    content: ReleaseContent,
    papers: Papers,
    tolerance: float = PARITY_TOLERANCE,
    *,
    activate: bool = True,
    prove: Prover = prove_release,
) -> Publication:
    """Write a release, prove it in a real Triton server, and make it the current one.

    Without `activate` (for a canary) the current one stays. A release with a TensorRT engine is
    proved otherwise: see `engine_proof`.

    When anything fails, the draft is removed and the current release stays what it was. Content
    that was published before makes no second copy: it is current already, or a later release has
    taken its place and stays, as going back is a rollback.

    Raises:
        GateError: an answer to a golden request differs by more than the tolerance.
        ServiceError: the server did not start or refused a request.
    """
    with store.draft() as draft:
        digest = write_content(draft, content)
        release_id = store.find_digest(digest)
        pointer = store.current()
        if release_id and pointer and not is_newer(release_id, pointer.release_id):
            path = store.path(release_id)
            require_intact(path)
            return Publication(path, read_record(path), pointer, 0.0)
        if release_id is None:
            release_id = store.next_id(digest)
            write_configurations(draft, content.settings, release_id)
            record = _record(release_id, digest, content, papers)
            write_papers(draft, record, papers.evaluation)
            difference = prove(draft, content.goldens, tolerance)
            path = store.adopt(draft, release_id)
        else:
            path = store.path(release_id)
            require_intact(path)
            difference = prove(path, content.goldens, tolerance)
    if activate:
        pointer = store.activate(release_id)
    return Publication(path, read_record(path), pointer, difference)


def rollback(releases_uri: str, release_id: str | None = None) -> Pointer:
    """Make an earlier release the current one again; the one before the current by default.

    Raises:
        DataError: there is no such release, or its files were changed.
    """
    store = open_store(releases_uri)
    if release_id is None:
        current = store.current()
        if current is None or not current.previous:
            raise DataError(f"{releases_uri}: there is no earlier release to go back to")
        release_id = current.previous
    return store.activate(release_id)


def _record(release_id: str, digest: str, content: ReleaseContent, papers: Papers) -> ReleaseRecord:
    settings = content.settings
    engine = read_engine(content.built) if settings.runtime == "tensorrt" else None
    return ReleaseRecord(
        release_id=release_id,
        digest=digest,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        categories=read_detector_config(content.built).categories,
        runtime=f"{settings.runtime} {engine.precision if engine else settings.precision}",
        engine=engine,
        licences=papers.licences,
        use=papers.use,
        provenance=dict(papers.provenance),
        scores=dict(papers.scores),
    )
