"""Damaged and hostile files of every format: findings or a reason, nothing else."""

import pytest
from hostile_files import WRITERS, attack


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_damage_ends_in_findings_or_a_reason(name: str) -> None:
    outcome = attack(name, 40, seed=7)
    assert outcome.broken == []
    assert outcome.counts["refused"] + outcome.counts["frames lost"] > 0
