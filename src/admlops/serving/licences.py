"""What the licence terms of data and models permit, as far as publishing must know."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from admlops.errors import ConfigError

Use = Literal["research", "commercial"]

_NON_COMMERCIAL = re.compile(r"\bnc\b|non[- ]?commercial|research|academic", re.IGNORECASE)
_NO_DERIVATIVES = re.compile(r"\bnd\b|no[- ]?deriv", re.IGNORECASE)
_SHARE_ALIKE = re.compile(r"\bsa\b|share[- ]?alike|\b[al]?gpl\b|copyleft", re.IGNORECASE)
_OPEN = re.compile(
    r"apache|\bmit\b|\bbsd\b|\bcc0\b|\bcc[- ]by[- ]\d|cdla-permissive|public domain|generated",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What one licence says.

    Attributes:
        name: as it is written in manifests.
        commercial: whether commercial use is permitted; None where the name does not tell.
        derivatives: whether changed works may be passed on.
        share_alike: whether derived works must carry the same licence.
    """

    name: str
    commercial: bool | None
    derivatives: bool
    share_alike: bool


def read_terms(name: str) -> Terms:
    """Return the terms that a licence's name stands for.

    Terms are read from the name: Creative Commons' letters, well-known open licences, and the
    words "research" and "non-commercial".
    """
    words = name.replace("_", "-")
    share_alike = bool(_SHARE_ALIKE.search(words))
    commercial: bool | None = None
    if _NON_COMMERCIAL.search(words):
        commercial = False
    elif share_alike or _OPEN.search(words):
        commercial = True
    return Terms(name, commercial, not _NO_DERIVATIVES.search(words), share_alike)


def require_permission(licences: Iterable[str], use: Use) -> None:
    """Refuse a release whose licences forbid its use.

    Raises:
        ConfigError: names each licence that stands against it, and what can be done.
    """
    terms = [read_terms(name) for name in sorted(set(licences))]
    reasons = [
        f"{term.name!r} forbids passing on derived works" for term in terms if not term.derivatives
    ]
    if use == "commercial":
        reasons += [f"{t.name!r} forbids commercial use" for t in terms if t.commercial is False]
        reasons += [
            f"{t.name!r} is not known to permit commercial use"
            for t in terms
            if t.commercial is None
        ]
        if not terms:
            reasons.append("no licence is recorded for its data")
    if reasons:
        raise ConfigError(
            f"publish: use {use!r} is not permitted: {'; '.join(reasons)}. "
            "Train on data whose terms permit it"
            + (", or set use to 'research'" if use == "commercial" else "")
        )
