from pathlib import Path

import pytest

from admlops.errors import ConfigError
from admlops.recipes import load_recipe


def test_override_merges_nested_fields() -> None:
    recipe = load_recipe("demo", "/s")
    changed = recipe.override({"train": {"num_steps": 5.0, "optimizer": {"learning_rate": 0.1}}})
    assert changed.config("train")["num_steps"] == 5
    assert changed.config("train")["optimizer"]["learning_rate"] == 0.1
    before = recipe.config("train")["optimizer"]["weight_decay"]
    assert changed.config("train")["optimizer"]["weight_decay"] == before
    assert recipe.config("train")["num_steps"] != 5


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="no recipe is called 'x'.*demo"):
        load_recipe("x", "/s")
    with pytest.raises(ConfigError, match="has no config 'x'.*train"):
        load_recipe("demo", "/s").override({"x": {}})
    with pytest.raises(ConfigError, match="needs raw data"):
        load_recipe("kitti", "/s")


def test_changed_data_changes_the_config(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1")
    before = load_recipe("kitti", "/s", str(tmp_path)).config("collect")
    assert before == load_recipe("kitti", "/s", str(tmp_path)).config("collect")
    (tmp_path / "a.txt").write_text("12")
    assert before != load_recipe("kitti", "/s", str(tmp_path)).config("collect")


def test_override_replaces_what_another_kind_or_nothing_takes_the_place_of() -> None:
    recipe = load_recipe("demo", "/s")
    changed = recipe.override({"annotate": {"annotator": {"kind": "folder", "path": "/x"}}})
    assert changed.config("annotate")["annotator"] == {"kind": "folder", "path": "/x"}
    assert recipe.override({"gate": {"min_scores": {}}}).config("gate")["min_scores"] == {}
    with pytest.raises(ConfigError, match="train: expected fields of the config, got 5"):
        recipe.override({"train": 5})  # type: ignore[dict-item]
