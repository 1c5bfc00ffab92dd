"""What happened in a run, in plain sentences and a few large figures."""

from dataclasses import dataclass
from typing import Literal

from admlops.evaluation.result import Evaluation
from admlops.reporting.curves import main_measures, name_measure
from admlops.reporting.iteration import tell_deliveries, tell_gaps, tell_intake
from admlops.reporting.sources import Round, Run
from admlops.reporting.tables import count_of

Mood = Literal["", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Card:
    """One large figure.

    Attributes:
        value: the figure.
        label: what it is.
        mood: whether it is good news.
    """

    value: str
    label: str
    mood: Mood = ""


def mean_precision(evaluation: Evaluation | None) -> float | None:
    """Return the mean of the main measures over the categories; None without labels."""
    if evaluation is None:
        return None
    values = [item.value for item in main_measures(evaluation) if item.value is not None]
    return sum(values) / len(values) if values else None


def make_cards(run: Run) -> list[Card]:
    """Return the figures for the top of the report."""
    last = run.last
    cards = []
    if run.first is not None and not run.is_iteration:
        cards.append(Card("2", "rounds"))
    if last.analysis is not None:
        counts = last.analysis.distributions
        cards.append(Card(f"{counts.num_labelled_frames:,}", "labelled frames"))
        cards.append(Card(f"{counts.num_boxes:,}", "labelled boxes"))
    cards += _requirement_cards(run)
    cards += _precision_cards(run)
    if last.verdict is not None:
        word = "passed" if last.verdict.passed else "not passed"
        cards.append(Card(word, "gate", "good" if last.verdict.passed else "bad"))
    serving = last.verification.serving if last.verification is not None else None
    if serving is not None and "points_to_boxes" in serving.latency:
        median = serving.latency["points_to_boxes"].p50_ms
        cards.append(Card(f"{median:.1f} ms", f"points to boxes, {serving.name}"))
    if last.release_record is not None:
        cards.append(
            Card(last.release_record.release_id.partition("-")[0], "release in service", "good")
        )
    return cards


def _requirement_cards(run: Run) -> list[Card]:
    before = run.first.analysis if run.first is not None else None
    after = run.last.analysis
    if not run.is_iteration or before is None or after is None or not after.coverage.cells:
        return []
    cells = len(after.coverage.cells)
    had, has = (cells - len(item.coverage.gaps) for item in (before, after))
    mood: Mood = "good" if has == cells else "bad"
    return [Card(f"{had} → {has} of {cells}", "cells of the requirement met", mood)]


def _precision_cards(run: Run) -> list[Card]:
    now = mean_precision(run.last.evaluation)
    if now is None:
        return []
    before = mean_precision(run.first.evaluation) if run.first is not None else None
    if before is None:
        return [Card(f"{100 * now:.1f} %", "mean average precision")]
    return [Card(f"{100 * before:.1f} → {100 * now:.1f} %", "mean average precision, by round")]


def tell_story(run: Run) -> list[str]:
    """Return what happened, one sentence after the other."""
    if run.is_iteration:
        trained = _round_sentence(run.rounds[0], "This iteration")
        asked = _request_sentence(run, "Then")
        sentences = [trained, tell_intake(run), asked, tell_deliveries(run), tell_gaps(run)]
    else:
        rounds = [_round_sentence(item, item.name.capitalize()) for item in run.rounds]
        where = "Between the rounds" if run.first is not None else "Then"
        sentences = [rounds[0], _request_sentence(run, where), *rounds[1:]]
        sentences += [_difference_sentence(run), _release_sentence(run)]
    return [sentence for sentence in sentences if sentence]


def _request_sentence(run: Run, where: str) -> str:
    if run.request is None:
        return ""
    among = run.request.num_candidates
    pool = f" out of {among} unlabelled ones" if among else ""
    asked = count_of(len(run.request.frames), "frame")
    return f"{where}, mining asked for labels of {asked}{pool}."


def _round_sentence(item: Round, subject: str) -> str:
    parts = [_training(item), _precision(item), _outcome(item)]
    known = [part for part in parts if part]
    if not known:
        return ""
    listed = known[0] if len(known) == 1 else f"{', '.join(known[:-1])} and {known[-1]}"
    return f"{subject} {listed}."


def _training(item: Round) -> str:
    if item.model is None:
        return ""
    kind = item.model.provenance.get("detector", "new")
    frames = item.model.scores.get("train_frames")
    on = f" on {count_of(int(frames), 'labelled frame')}" if frames else ""
    return f"trained a {kind} detector{on}"


def _precision(item: Round) -> str:
    precision = mean_precision(item.evaluation)
    if precision is None or item.evaluation is None:
        return ""
    measure = name_measure(main_measures(item.evaluation)[0])
    frames = count_of(item.evaluation.num_frames, "frame")
    return f"reached a mean average precision of {100 * precision:.1f} % on {frames} ({measure})"


def _outcome(item: Round) -> str:
    if item.verdict is None:
        return ""
    if item.verdict.passed:
        return "passed the gate"
    return (
        f"failed {len(item.verdict.failed)} of {count_of(len(item.verdict.reasons), 'gate check')}"
    )


def _difference_sentence(run: Run) -> str:
    now = mean_precision(run.last.evaluation)
    before = mean_precision(run.first.evaluation) if run.first is not None else None
    if now is None or before is None:
        return ""
    change = 100 * (now - before)
    word = "rose" if change > 0 else "fell"
    if abs(change) < 0.05:
        return "From the first round to the second the mean average precision did not change."
    return f"From the first round to the second it {word} by {abs(change):.1f} points."


def _release_sentence(run: Run) -> str:
    last = run.last
    if last.release_record is not None and last.release is not None:
        difference = last.release.scores.get("golden_max_abs_diff")
        number = len(last.golden_boxes)
        answers = count_of(number, "golden request") if number else "golden requests"
        proof = ""
        if difference is not None:
            proof = f"; Triton answered {answers} over gRPC"
            proof += f" with differences of at most {difference:.1e}"
        return f"Release {last.release_record.release_id} is in service{proof}."
    if last.verdict is not None and not last.verdict.passed:
        kept = run.first.release_record if run.first is not None else None
        stays = f"release {kept.release_id} stays in service" if kept else "nothing was published"
        return f"Because the gate said no, {stays}."
    return ""
