"""The table of rules."""

import re

from admlops.checks.rules import RULES, find


def test_ids_are_unique_stable_names() -> None:
    for rule_id, rule in RULES.items():
        assert rule.rule_id == rule_id
        assert re.fullmatch(r"[A-Z]{3,5}\d{3}", rule_id)
        for sentence in (rule.statement, rule.mend):
            assert sentence[0].isupper()
            assert not sentence.endswith(".")


def test_find_fills_the_rule_in() -> None:
    found = find("BOX002", "log/scene/1", "length is -3.90 m")
    assert found.rule is RULES["BOX002"]
    assert str(found).startswith("BOX002 error log/scene/1: length is -3.90 m. ")
