"""What became of data between two analyses: recorded, screened, labelled, accepted, no gap left."""

from collections.abc import Mapping
from dataclasses import replace

from admlops.reporting.sources import Round, Run
from admlops.reporting.tables import count_of


def name_rounds(rounds: tuple[Round, ...]) -> tuple[Round, ...]:
    """Return two rounds by number, or as before and after where only the data went on."""
    if len(rounds) < 2:
        return rounds
    names = ("before", "after") if Run(rounds).is_iteration else ("round 1", "round 2")
    return tuple(replace(item, name=name) for item, name in zip(rounds, names, strict=True))


def tell_intake(run: Run) -> str:
    """Return how many recordings were good enough, and what screening kept of them."""
    if run.recordings is None:
        return ""
    known = run.recordings.recordings
    good = sum(item.is_accepted for item in known)
    text = f"{good} of {count_of(len(known) + len(run.recordings.unreadable), 'recording')} "
    text += "was good enough" if good == 1 else "were good enough"
    dataset = run.first.dataset if run.first is not None else run.last.dataset
    scores = {} if dataset is None else dataset.scores
    if "num_dropped" in scores:
        frames = int(scores["num_frames"] - scores.get("num_quarantined", 0))
        kept = frames - int(scores["num_dropped"])
        text += f"; screening kept {kept:,} of {count_of(frames, 'frame')}"
    return f"{text}."


def tell_deliveries(run: Run) -> str:
    """Return which deliveries of labels were accepted."""
    parts = [
        f"delivery {number} was "
        + ("accepted" if item.accepted else "rejected and changed nothing")
        for number, item in enumerate(run.deliveries, start=1)
    ]
    return f"{', '.join(parts).capitalize()}." if parts else ""


def tell_gaps(run: Run) -> str:
    """Return how many gaps of the requirement were closed."""
    before = run.first.analysis if run.first is not None else None
    after = run.last.analysis
    if before is None or after is None or not after.coverage.cells:
        return ""
    had, has = len(before.coverage.gaps), len(after.coverage.gaps)
    name = after.coverage.requirement.name
    now = "it has none" if has == 0 else f"it has {has:,}"
    return f"The requirement “{name}” had {count_of(had, 'gap')}, now {now}."


def tell_prelabels(scores: Mapping[str, float]) -> str:
    """Return what automatic labels came to."""
    figures = {name: int(value) for name, value in scores.items() if name.startswith("num_")}
    routes = ("num_accepted", "num_review", "num_asked")
    boxes = sum(figures.get(name, 0) for name in routes)
    accepted, review, asked = (figures.get(name, 0) for name in routes)
    text = (
        f"A model labelled {count_of(figures.get('num_frames', 0), 'frame')} beforehand: "
        f"{boxes:,} boxes in {count_of(figures.get('num_tracks', 0), 'track')}. {accepted:,} of "
        f"them are accepted, {review:,} are to be reviewed, {asked:,} are asked about."
    )
    if "expected_precision" in scores and "expected_recall" in scores:
        text += (
            f" In labelled frames {scores['expected_precision']:.0%} of what would be accepted is "
            f"right, and finds {scores['expected_recall']:.0%} of the labels."
        )
    return text
