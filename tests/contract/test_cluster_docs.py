"""Every lint rule and every field of a cluster profile is in docs/cluster.md."""

from pathlib import Path

import pytest

from admlops.config import Config
from admlops.kubeflow.lint_rules import LINT_RULES
from admlops.kubeflow.profile import ClusterProfile, Pool

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "cluster.md").read_text()


def test_every_lint_rule_is_documented() -> None:
    assert [rule_id for rule_id in LINT_RULES if f"| `{rule_id}` |" not in PAGE] == []


@pytest.mark.parametrize("kind", [ClusterProfile, Pool])
def test_every_field_is_documented_and_described(kind: type[Config]) -> None:
    assert [name for name in kind.model_fields if f"`{name}`" not in PAGE] == []
    assert [name for name, field in kind.model_fields.items() if not field.description] == []
