from pathlib import Path

import pytest

from admlops.errors import DataError
from admlops.structures.manifest import Manifest


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "dataset.json"
    manifest = Manifest(kind="dataset", uri="/lake/a", version="3", digest="d", licences=("CC0",))
    manifest.write(path)
    assert Manifest.read(path, "dataset") == manifest
    assert manifest.reference == "/lake/a@3"


def test_wrong_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    Manifest(kind="model", uri="/m", digest="d").write(path)
    with pytest.raises(DataError, match="expected a manifest of kind 'dataset', found 'model'"):
        Manifest.read(path, "dataset")


@pytest.mark.parametrize("text", ["", "[1]", '{"kind": "dataset"}', "{"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"m\.json: not a manifest"):
        Manifest.read(path, "dataset")


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        Manifest.read(tmp_path / "absent.json", "dataset")
