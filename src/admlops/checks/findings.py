"""Findings of a whole run, bounded in memory: all are counted, the first of each rule are kept."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from admlops.checks.rules import RULES, find
from admlops.structures.finding import Finding, Severity

MAX_KEPT_PER_RULE = 20


@dataclass(slots=True)
class FindingLog:
    """Findings so far.

    Attributes:
        kept: the first findings of each rule.
        counts: how often each rule fired.
    """

    kept: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, rule_id: str, where: str, what: str, times: int = 1) -> None:
        """Count a finding and keep it while its rule has few.

        Args:
            rule_id: a key of `RULES`.
            where: frame key, box or field.
            what: what was found, with numbers.
            times: how many places the finding stands for.
        """
        if sum(finding.rule.rule_id == rule_id for finding in self.kept) < MAX_KEPT_PER_RULE:
            self.kept.append(find(rule_id, where, what))
        self.counts[rule_id] += times

    def merge(self, other: "FindingLog") -> None:
        """Take in what another log holds."""
        for finding in other.kept:
            self.add(finding.rule.rule_id, finding.where, finding.what, times=0)
        self.counts.update(other.counts)

    def ordered(self) -> list[Finding]:
        """Return the kept findings, worst severity first, then by ID in order of appearance."""
        rank: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
        return sorted(self.kept, key=lambda item: (rank[item.rule.severity], item.rule.rule_id))

    def fired(self) -> list[str]:
        """Return the IDs of the rules that fired, sorted."""
        return sorted(self.counts)

    def count(self, severity: Severity) -> int:
        """Return how many places break a rule of this severity."""
        return sum(self.counts[rule_id] for rule_id in self._of(severity))

    def _of(self, severity: Severity) -> Iterator[str]:
        return (rule_id for rule_id in self.counts if RULES[rule_id].severity == severity)
