"""Refuses a release whose data forbids the use it is made for."""

from collections.abc import Iterable
from typing import Literal

from admlops.catalogue.licences import mix_terms, read_terms
from admlops.errors import ConfigError

Use = Literal["research", "commercial"]


def require_permission(licences: Iterable[str], use: Use) -> None:
    """Refuse a release whose licences forbid its use, or forbid each other.

    Raises:
        ConfigError: names each licence that stands against it, and what can be done.
    """
    mix = mix_terms(licences)
    reasons = [f"{name!r} forbids passing on derived works" for name in mix.no_derivatives]
    reasons += mix.conflicts
    if use == "commercial":
        terms = [read_terms(name) for name in mix.names]
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
            f"use {use!r} is not permitted: {'; '.join(reasons)}. "
            "Use data whose terms permit it"
            + (", or set use to 'research'" if use == "commercial" else "")
        )
