"""Every step, rule, command, make target and pipeline is documented, and the pages are current."""

import re
from pathlib import Path

import pytest

from admlops.checks.rules import RULES
from admlops.kubeflow.compile import compile_pipeline, pipeline_names
from admlops.recipes import RECIPES, SHARD_COUNTS, load_recipe, usual_recipe
from admlops.reference import catalogue_page, rules_page, step_page
from admlops.steps.sources import FORMATS
from admlops.steps.step import STEPS, load_step

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"
GUIDES = REPOSITORY / "docs" / "guides"


@pytest.mark.parametrize("word", STEPS)
def test_step_page_is_current(word: str) -> None:
    assert (REFERENCE / f"{word}.md").read_text() == step_page(load_step(word)), "run: make docs"


def test_rules_page_is_current() -> None:
    page = (REFERENCE / "rules.md").read_text()
    assert page == rules_page(), "run: make docs"
    assert all(f"`{rule_id}`" in page for rule_id in RULES)


def test_catalogue_page_is_current() -> None:
    assert (REFERENCE / "catalogue.md").read_text() == catalogue_page(), "run: make docs"


@pytest.mark.parametrize("name", pipeline_names())
def test_compiled_yaml_is_current(name: str, tmp_path: Path) -> None:
    fresh = compile_pipeline(name, load_recipe(usual_recipe(name), "/mnt/admlops"), tmp_path)
    checked_in = REPOSITORY / "pipelines" / "compiled" / f"{name}.yaml"
    assert checked_in.read_text() == fresh.read_text(), "run: make compile"


@pytest.mark.parametrize("name", pipeline_names())
def test_compiled_images_are_pinned(name: str) -> None:
    text = (REPOSITORY / "pipelines" / "compiled" / f"{name}.yaml").read_text()
    images = re.findall(r"image: (\S+)", text)
    assert len(images) > 10
    assert all(":" in image.rsplit("/", 1)[-1] for image in images)
    assert not any(image.endswith(":latest") for image in images)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds(name: str) -> None:
    recipe = load_recipe(name, store="/mnt/admlops", source="/data/kitti")
    words = {word.partition("_")[0] for word in recipe.configs if word != SHARD_COUNTS}
    assert words <= set(STEPS)
    for parameter in recipe.configs:
        written = recipe.config(parameter)
        assert type(recipe.configs[parameter]).parse(written) == recipe.configs[parameter]


def test_make_targets_are_documented() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^{target}:.* ## \S", makefile, re.MULTILINE), target
    readme = (REPOSITORY / "README.md").read_text()
    for target in ("setup", "test", "demo", "check", "bench"):
        assert f"make {target}" in readme


@pytest.mark.parametrize("word", STEPS)
def test_steps_are_in_the_readme(word: str) -> None:
    rows = [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line[:1] == "|"]
    assert any(f"`{word}`" in row for row in rows), "add it to the table of steps"


@pytest.mark.parametrize("name", FORMATS)
def test_formats_are_documented(name: str) -> None:
    assert f"\n| `{name}` |" in (GUIDES / "formats.md").read_text(), "add a row to the table"


@pytest.mark.parametrize("guide", sorted(path.name for path in GUIDES.glob("*.md")))
def test_guides_are_listed(guide: str) -> None:
    assert guide == "README.md" or f"({guide})" in (GUIDES / "README.md").read_text(), "list it"
