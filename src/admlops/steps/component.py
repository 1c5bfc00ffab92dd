"""What the body of every KFP component calls: the step, then lineage on the artifacts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from admlops.errors import DataError
from admlops.steps.step import Scores, run_step
from admlops.structures.manifest import Manifest


class ArtifactLike(Protocol):
    """The part of a KFP artifact that is used here."""

    path: str
    metadata: dict[str, Any]


def run_component(
    word: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, ArtifactLike | Sequence[ArtifactLike] | None],
    outputs: Mapping[str, ArtifactLike],
) -> Scores:
    """Run a step on KFP artifacts and write scores and references into their metadata."""
    scores = run_step(
        word,
        {name: _paths(artifact) for name, artifact in inputs.items() if artifact is not None},
        {name: artifact.path for name, artifact in outputs.items()},
        config,
    )
    describe_outputs(outputs, scores)
    return scores


def describe_outputs(outputs: Mapping[str, ArtifactLike], scores: Scores) -> None:
    """Write scores, references and provenance into the metadata of artifacts."""
    for artifact in outputs.values():
        artifact.metadata.update(_lineage(Path(artifact.path)))
        artifact.metadata.update({name: float(value) for name, value in scores.items()})


def _paths(artifact: ArtifactLike | Sequence[ArtifactLike]) -> str | list[str]:
    return [one.path for one in artifact] if isinstance(artifact, Sequence) else artifact.path


def _lineage(path: Path) -> dict[str, str]:
    file = path / "manifest.json" if path.is_dir() else path
    try:
        manifest = Manifest.read_any(file)
    except DataError:
        return {}
    return {
        "reference": manifest.reference,
        "digest": manifest.digest,
        "licences": ", ".join(manifest.licences),
        **{f"provenance.{name}": value for name, value in manifest.provenance.items()},
    }
