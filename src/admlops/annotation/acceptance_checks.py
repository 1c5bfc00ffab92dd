"""What a delivery must reach: no critical defect, the sampling plan, rates, known labels."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from admlops.annotation.acceptance_config import AcceptanceConfig
from admlops.annotation.acceptance_defects import Defect, DefectClass, Unit
from admlops.annotation.acceptance_gold import GoldAgreement
from admlops.annotation.labelling_rules import AcceptanceRules
from admlops.annotation.sampling import draw_sample, plan_sampling
from admlops.config import Config

_SHAPE_WORDS = {"space_box": "", "image_box": "image "}


class Check(Config):
    """One thing that a delivery must reach."""

    name: str
    """What is looked at."""
    value: float
    """What was found."""
    limit: float
    """What is allowed."""
    passed: bool
    """Whether it is reached."""
    text: str
    """The same in words."""
    drawn: tuple[str, ...] = ()
    """Of a sample, the boxes that were drawn, as frame and number: for people who look again."""


@dataclass(frozen=True, slots=True)
class Lot:
    """What is inspected.

    Attributes:
        units: every delivered box, and every place where one is missing.
        defects: of the delivery.
        digest: SHA-256 of the delivery, which decides what is drawn from it.
    """

    units: Sequence[Unit]
    defects: Sequence[Defect]
    digest: str

    def bad(self, *classes: DefectClass) -> set[Unit]:
        """Return the units with a defect of one of these classes."""
        return {item.unit for item in self.defects if item.defect_class in classes}


def check_lot(lot: Lot, rules: AcceptanceRules, config: AcceptanceConfig) -> Iterator[Check]:
    """Yield whether defects are as few as they must be: critical ones, in the sample, in all."""
    num_critical = sum(item.defect_class == "critical" for item in lot.defects)
    noun = "defect" if num_critical == 1 else "defects"
    text = f"{num_critical} critical {noun}, none is allowed"
    yield _at_most("critical", num_critical, 0, text)
    if not lot.units:
        return
    yield from _check_samples(lot, rules, config)
    units = set(lot.units)
    for name, limit, bad in (
        ("error", rules.max_error_rate, lot.bad("critical", "major")),
        ("warning", rules.max_warning_rate, lot.bad("minor")),
    ):
        rate = len(bad & units) / len(lot.units)
        text = f"{rate:.1%} of the boxes have a defect of severity {name}, {limit:.1%} may"
        yield _at_most(f"{name}_rate", rate, limit, text)


def check_gold(
    agreement: GoldAgreement, rules: AcceptanceRules, name: str = "gold"
) -> Iterator[Check]:
    """Yield whether known labels were met well enough, where there are any."""
    if not agreement.num_frames:
        return
    what = "gold frames" if name == "gold" else "images of gold frames"
    for measure, value, least in (
        ("recall", agreement.recall, rules.min_gold_recall),
        ("precision", agreement.precision, rules.min_gold_precision),
    ):
        text = f"{measure} {value:.1%} in {agreement.num_frames} {what}, {least:.1%} needed"
        passed = value >= least
        yield Check(name=f"{name}_{measure}", value=value, limit=least, passed=passed, text=text)


def _check_samples(lot: Lot, rules: AcceptanceRules, config: AcceptanceConfig) -> Iterator[Check]:
    limits: Mapping[DefectClass, float] = {
        "major": rules.aql_percent,
        "minor": config.minor_aql_percent,
    }
    for name, aql in limits.items():
        plan = plan_sampling(len(lot.units), aql, rules.inspection_level)
        places = draw_sample(plan, _seed(config.seed, lot.digest, name))
        drawn = [lot.units[place] for place in places.tolist()]
        count = len(set(drawn) & lot.bad(name))
        text = f"{count} of {plan.sample_size} boxes drawn from {len(lot.units)} have {name} "
        text += f"defects, at most {plan.acceptance_number} may (AQL {plan.aql:g}, level "
        text += f"{rules.inspection_level}, code {plan.code_letter})"
        check = _at_most(f"{name}_sample", count, plan.acceptance_number, text)
        names = (f"{frame} {_SHAPE_WORDS[shape]}{item}" for frame, shape, item in drawn)
        yield check.replace(drawn=tuple(names))


def _at_most(name: str, value: float, limit: float, text: str) -> Check:
    return Check(name=name, value=value, limit=limit, passed=value <= limit, text=text)


def _seed(seed: int, digest: str, name: str) -> int:
    text = f"{seed} {digest} {name}"
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16)
