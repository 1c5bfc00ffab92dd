"""Findings: what a rule says about data, in a form that reports and machines can read."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that must hold for data.

    Attributes:
        rule_id: stable name, for example "KITTI003".
        severity: "error" quarantines the frame or fails the check; the others are reported.
        statement: what must hold.
        mend: what to do where it does not.
    """

    rule_id: str
    severity: Severity
    statement: str
    mend: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule does not hold.

    Attributes:
        rule: the rule that fired.
        where: file, frame key or field.
        what: what was found there, with numbers.
    """

    rule: Rule
    where: str
    what: str

    def __str__(self) -> str:
        """Return the finding on one line."""
        rule = self.rule
        return f"{rule.rule_id} {rule.severity} {self.where}: {self.what}. {rule.mend}"

    def to_json_dict(self) -> dict[str, str]:
        """Return the finding as plain JSON types."""
        rule = self.rule
        return {
            "rule_id": rule.rule_id,
            "severity": rule.severity,
            "statement": rule.statement,
            "where": self.where,
            "what": self.what,
            "mend": rule.mend,
        }
