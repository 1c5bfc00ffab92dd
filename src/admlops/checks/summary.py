"""A diagnosis as JSON and as a page to read."""

from itertools import groupby
from typing import Any

from admlops.checks.doctor import Diagnosis
from admlops.checks.findings import MAX_KEPT_PER_RULE
from admlops.checks.rules import RULES
from admlops.structures.finding import Severity

FINDINGS_FILE = "findings.json"
FINDINGS_PAGE = "findings.md"


def count_places(diagnosis: Diagnosis) -> dict[Severity, int]:
    """Return in how many places rules of each severity are broken."""
    totals: dict[Severity, int] = {"error": 0, "warning": 0, "info": 0}
    for rule_id, count in diagnosis.counts.items():
        totals[RULES[rule_id].severity] += count
    return totals


def diagnosis_to_json_dict(diagnosis: Diagnosis, subject: str) -> dict[str, Any]:
    """Return a diagnosis as plain JSON types.

    Args:
        diagnosis: what was found.
        subject: the dataset's reference.
    """
    return {
        "subject": subject,
        "num_places": dict(count_places(diagnosis)),
        "rules": diagnosis.counts,
        "figures": diagnosis.figures,
        "convention": {
            "fits_best": diagnosis.convention,
            "share_of_points_inside": dict(diagnosis.convention_fits),
        },
        "findings": [finding.to_json_dict() for finding in diagnosis.findings],
    }


def render_diagnosis_as_markdown(diagnosis: Diagnosis, subject: str) -> str:
    """Return a page: the verdict, findings by rule with their mends, and how boxes fit points."""
    totals = count_places(diagnosis)
    lines = [f"# Findings in {subject}", ""]
    if diagnosis.findings:
        parts = [f"{count} {severity}" for severity, count in totals.items() if count]
        lines += [f"Places where a rule does not hold: {', '.join(parts)}.", ""]
    else:
        lines += ["Every rule holds.", ""]
    for rule, group in groupby(diagnosis.findings, key=lambda finding: finding.rule):
        found = list(group)
        lines += [f"## {rule.rule_id} ({rule.severity}): {rule.statement}", ""]
        lines += [f"**Mend:** {rule.mend}.", ""]
        lines += [f"* `{finding.where}`: {finding.what}" for finding in found]
        hidden = diagnosis.counts[rule.rule_id] - len(found)
        if hidden > 0 and len(found) == MAX_KEPT_PER_RULE:
            lines.append(f"* and {hidden} more")
        lines.append("")
    lines += ["## Figures", "", "| figure | value |", "|---|---|"]
    lines += [f"| {name} | {value:.6g} |" for name, value in diagnosis.figures.items()]
    lines += ["", "## Share of the points near boxes that lie inside them", ""]
    lines += ["| boxes read as | share |", "|---|---|"]
    lines += [f"| {words} | {share:.1%} |" for words, share in diagnosis.convention_fits]
    return "\n".join(lines) + "\n"
