"""Licence terms of data: the one table of them, and what a mix of them permits."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

import yaml
from pydantic import Field, model_validator

from admlops.config import Config

TABLE_FILE = "licences.yaml"
_NON_COMMERCIAL = re.compile(r"\bnc\b|non-?commercial|research|academic")
_NO_DERIVATIVES = re.compile(r"\bnd\b|no-?deriv")
_SHARE_ALIKE = re.compile(r"\bsa\b|share-?alike|\b[al]?gpl\b|copyleft")


class LicenceTerms(Config):
    """What one licence asks and permits."""

    name: str
    """As it is written in manifests: the SPDX identifier, or LicenseRef-… where SPDX has none."""
    title: str
    """Name for people."""
    spdx: str | None = None
    """Identifier in the SPDX list."""
    url: str | None = None
    """The text of the licence."""
    aliases: tuple[str, ...] = ()
    """Other names by which manifests may call it."""
    commercial: bool | None = None
    """Whether the data, and what was learnt from it, may be used commercially."""
    redistribution: bool | None = None
    """Whether the data itself may be passed on."""
    derivatives: bool = True
    """Whether changed works may be passed on."""
    share_alike: bool = False
    """Whether derived works must carry the same licence."""
    accepts: tuple[str, ...] = ()
    """Other licences that a derived work may carry although this one asks for its own."""
    attribution: bool | None = None
    """Whether the source must be named."""
    notes: str = ""
    """What the other fields cannot say."""
    unknown: dict[str, str] = Field(default_factory=dict)
    """Why a field is null."""
    sources: tuple[str, ...] = ()
    """Where the facts come from, if not from `url`."""

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the terms: it changes when what a person accepted changes."""
        text = json.dumps(self.to_json_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


class _Table(Config):
    licences: tuple[LicenceTerms, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [terms.name for terms in self.licences]
        if len(set(names)) != len(names):
            raise ValueError("a licence is listed twice")
        for terms in self.licences:
            null = {
                field
                for field in ("spdx", "url", "commercial", "redistribution", "attribution")
                if getattr(terms, field) is None
            }
            if null != set(terms.unknown):
                raise ValueError(f"{terms.name}: null fields and `unknown` differ: {null}")
            if not set(terms.accepts) <= set(names):
                raise ValueError(f"{terms.name}: accepts a licence that the table lacks")
        return self


@cache
def licence_table() -> dict[str, LicenceTerms]:
    """Return every licence of the table by its name."""
    text = files("admlops.catalogue").joinpath(TABLE_FILE).read_text()
    table = _Table.parse(yaml.safe_load(text), where=TABLE_FILE)
    return {terms.name: terms for terms in table.licences}


def read_terms(name: str) -> LicenceTerms:
    """Return the terms that a licence's name in a manifest stands for.

    A name that the table lacks permits nothing by itself, but what it forbids is heard: a
    non-commercial licence of the table inside a longer name ("KITTI, CC BY-NC-SA 3.0"), and the
    words "non-commercial", "research", "no derivatives" and "share alike".
    """
    known = _known_names()
    plain = _plain(name)
    if plain in known:
        return known[plain].replace(name=name) if name != known[plain].name else known[plain]
    inside = [key for key, terms in known.items() if not terms.commercial and _holds(plain, key)]
    if inside:
        return known[max(inside, key=len)].replace(name=name)
    return LicenceTerms(
        name=name,
        title=name,
        commercial=False if _NON_COMMERCIAL.search(plain) else None,
        derivatives=not _NO_DERIVATIVES.search(plain),
        share_alike=bool(_SHARE_ALIKE.search(plain)),
    )


@dataclass(frozen=True, slots=True)
class MixedTerms:
    """What may be done with data, or a model, that several licences bear on.

    Attributes:
        names: of the licences, sorted.
        commercial: False where one forbids it, None where one does not tell.
        redistribution: of the data, likewise.
        no_derivatives: licences that forbid passing on derived works.
        carry: licences of which a derived work must carry one; empty where none is share-alike.
        attribution: licences whose source must be named.
        conflicts: why no derived work can satisfy all of them; empty where one can.
    """

    names: tuple[str, ...]
    commercial: bool | None
    redistribution: bool | None
    no_derivatives: tuple[str, ...]
    carry: tuple[str, ...]
    attribution: tuple[str, ...]
    conflicts: tuple[str, ...]


def mix_terms(names: Iterable[str]) -> MixedTerms:
    """Return what the licences of a mix permit together; an empty mix permits nothing knowable."""
    terms = [read_terms(name) for name in sorted(set(names))]
    share_alike = [item for item in terms if item.share_alike]
    carry = tuple(
        item.name
        for item in share_alike
        if all(_canonical(item) in {_canonical(o), *o.accepts} for o in share_alike)
    )
    return MixedTerms(
        names=tuple(item.name for item in terms),
        commercial=_all_permit(item.commercial for item in terms),
        redistribution=_all_permit(item.redistribution for item in terms),
        no_derivatives=tuple(item.name for item in terms if not item.derivatives),
        carry=carry,
        attribution=tuple(item.name for item in terms if item.attribution),
        conflicts=_conflicts(terms, share_alike, carry),
    )


def describe_terms(mix: MixedTerms) -> str:
    """Return what each licence of a mix and all together permit, as a Markdown table."""
    words = {True: "yes", False: "no", None: "not known"}
    rows = ["| | commercial use | passing the data on | passing on derived works |"]
    rows.append("|---|---|---|---|")
    answers = []
    for item in map(read_terms, mix.names):
        answers.append(_derived(item))
        cells = (item.name, words[item.commercial], words[item.redistribution], answers[-1])
        rows.append(f"| {' | '.join(cells)} |")
    together = f"under {' or '.join(mix.carry)}" if mix.carry else "yes"
    if "not known" in answers:
        together = "not known"
    if mix.no_derivatives or mix.conflicts:
        together = "no"
    last = (words[mix.commercial], words[mix.redistribution], together)
    return "\n".join([*rows, f"| **together** | {' | '.join(last)} |"]) + "\n"


def _derived(terms: LicenceTerms) -> str:
    if not terms.derivatives:
        return "no"
    if terms.share_alike:
        return "under the same licence"
    return "not known" if terms.redistribution is None else "yes"


def _conflicts(
    terms: list[LicenceTerms], share_alike: list[LicenceTerms], carry: tuple[str, ...]
) -> tuple[str, ...]:
    if not share_alike:
        return ()
    if not carry:
        names = ", ".join(repr(item.name) for item in share_alike)
        return (f"{names} each ask that derived works carry them, and none accepts the others",)
    free = [item for item in share_alike if item.name in carry and item.commercial]
    bound = [item for item in terms if item.commercial is False]
    return tuple(
        f"{item.name!r} asks that derived works may be used commercially, which "
        f"{other.name!r} forbids"
        for item in free
        for other in bound
    )


def _all_permit(answers: Iterable[bool | None]) -> bool | None:
    given = list(answers)
    if False in given:
        return False
    return None if None in given or not given else True


def _canonical(terms: LicenceTerms) -> str:
    known = _known_names().get(_plain(terms.name))
    return known.name if known else terms.spdx or terms.name


@cache
def _known_names() -> dict[str, LicenceTerms]:
    return {
        _plain(name): terms
        for terms in licence_table().values()
        for name in (terms.name, *terms.aliases)
    }


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _holds(text: str, part: str) -> bool:
    return f"-{part}-" in f"-{text}-"
