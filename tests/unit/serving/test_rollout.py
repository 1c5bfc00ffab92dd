"""A release is named in an overlay, and read back."""

import hashlib
import json
from pathlib import Path

import pytest

from admlops.errors import ConfigError
from admlops.serving.release_reference import ReleaseReference
from admlops.serving.rollout import main, read_release, require_overlay, set_release

FIRST = ReleaseReference("0001-0123456789ab", "5" * 64)
SECOND = ReleaseReference("0002-0123456789ab")


@pytest.fixture
def overlay(tmp_path: Path) -> Path:
    (tmp_path / "kustomization.yaml").write_text(
        "patches:\n  - path: release.yaml\n  - patch: '- op: remove'\n"
    )
    return tmp_path


def test_names_a_release_and_returns_the_one_before(overlay):
    assert read_release(overlay) == "unset"
    assert set_release(overlay, FIRST) == "unset"
    assert set_release(overlay, SECOND) == str(FIRST) == f"0001-0123456789ab@sha256:{'5' * 64}"
    assert set_release(overlay, FIRST) == "0002-0123456789ab"
    assert read_release(overlay) == str(FIRST)


def test_the_canary_has_a_file_of_its_own(overlay):
    with pytest.raises(ConfigError, match=r"canary-release.yaml.*(\n.*)*components/canary"):
        set_release(overlay, FIRST, "canary")
    (overlay / "kustomization.yaml").write_text(
        "patches:\n  - path: release.yaml\n  - path: canary-release.yaml\n"
    )
    set_release(overlay, FIRST, "canary")
    assert read_release(overlay) == "unset"
    assert read_release(overlay, "canary") == str(FIRST)
    assert "name: triton-canary" in (overlay / "canary-release.yaml").read_text()


@pytest.mark.parametrize("text", ["", "[", "- a", "patches: []", "resources: [x]"])
def test_a_folder_that_is_no_overlay_is_refused(tmp_path, text):
    if text:
        (tmp_path / "kustomization.yaml").write_text(text)
    with pytest.raises(ConfigError, match="overlay|not valid YAML|expected a mapping"):
        require_overlay(tmp_path)


def test_a_strange_release_file_is_refused(overlay):
    (overlay / "release.yaml").write_text("spec: 1")
    with pytest.raises(ConfigError, match="expected a patch with the annotation"):
        set_release(overlay, FIRST)


def test_names_the_current_release_of_a_store(overlay, tmp_path, capsys):
    store = tmp_path / "serving"
    arguments = ["--releases-uri", str(store), "--overlay", str(overlay)]
    assert main(arguments) == 1
    assert "nothing was published yet" in capsys.readouterr().err
    release = store / "releases" / FIRST.release_id
    release.mkdir(parents=True)
    (release / "files.json").write_text("{}")
    pointer = {"release_id": FIRST.release_id, "changed_at": "2026-01-01T00:00:00+00:00"}
    (store / "current.json").write_text(json.dumps(pointer))
    assert main(arguments) == 0
    named = f"{FIRST.release_id}@sha256:{hashlib.sha256(b'{}').hexdigest()}"
    assert read_release(overlay) == named
    assert f"stable: unset -> {named}" in capsys.readouterr().out
    assert main([*arguments, "--release", "0009-0123456789ab"]) == 1
    assert "there is no release '0009-0123456789ab'" in capsys.readouterr().err
    assert read_release(overlay) == named
