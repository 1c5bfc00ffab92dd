from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from admlops.errors import ConfigError
from admlops.steps.component import run_component
from admlops.steps.step import load_step, run_step
from admlops.structures.manifest import Manifest


@dataclass
class Artifact:
    path: str
    metadata: dict[str, Any] = field(default_factory=dict)


def test_scores_and_references_become_metadata(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    source = Artifact(str(tmp_path / "source"))
    config = {"origin": {"kind": "folder", "path": str(tmp_path / "raw"), "licences": ["CC0"]}}
    run_component("collect", config, inputs={}, outputs={"source": source})
    manifest = Manifest.read(Path(source.path), "source")
    assert source.metadata["reference"] == str(tmp_path / "raw") == manifest.reference
    assert source.metadata["digest"] == manifest.digest
    assert source.metadata["licences"] == "CC0"
    assert source.metadata["num_simulated"] == 0


def test_paths_are_checked_by_name() -> None:
    with pytest.raises(ConfigError, match="collect: the path 'source' is required"):
        run_step("collect", {}, {}, {})
    with pytest.raises(ConfigError, match="no path is called 'x'; paths are source"):
        run_step("collect", {}, {"source": "a", "x": "b"}, {})
    with pytest.raises(ConfigError, match="no step is called 'deploy'; steps are collect"):
        load_step("deploy")
