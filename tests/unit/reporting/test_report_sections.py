"""Sections of the report about recordings and deliveries of labels."""

import json
from pathlib import Path

import numpy as np

from admlops.analysis.analysis import Analysis, analyze_dataset
from admlops.analysis.requirement import Requirement, RequirementRow
from admlops.lake.store import Dataset
from admlops.reporting.iteration import name_rounds
from admlops.reporting.page import render_report
from admlops.reporting.sources import (
    DeliveryView,
    RecordingsView,
    Round,
    Run,
    read_deliveries,
    read_recordings,
)
from admlops.reporting.story import tell_story
from admlops.structures.boxes import Boxes
from admlops.structures.frame import Frame, FrameKey
from admlops.structures.manifest import Manifest

QUALITY = {
    "recordings": [
        {
            "name": "drive_1",
            "is_accepted": False,
            "start_ns": 1,
            "duration_s": 12.0,
            "num_frames": 120,
            "sensors": [{"sensor": "lidar_top", "num_messages": 118, "rate_hz": 9.8}],
            "findings": [
                {
                    "rule_id": "REC007",
                    "severity": "error",
                    "where": "drive_1",
                    "what": "silent for <3 s>",
                    "mend": "",
                }
            ],
        }
    ],
    "unreadable": [],
}
REJECTED = {
    "accepted": False,
    "sentence": "Rejected: too much.",
    "counts": {"ANNO024": 3, "ANNO026": 5},
}
ACCEPTED = {"accepted": True, "sentence": "Good."}
PRELABELS = {
    "num_frames": 4.0,
    "num_tracks": 3.0,
    "num_accepted": 12.0,
    "num_review": 5.0,
    "num_asked": 3.0,
    "expected_precision": 0.9,
    "expected_recall": 0.4,
}


def page(run: Run, sections: tuple[str, ...] = ()) -> str:
    return render_report(run, [], "A run", 0.3, sections)


def test_recordings_and_deliveries_are_shown(tmp_path):
    (tmp_path / "quality.json").write_text(json.dumps(QUALITY))
    first, last = tmp_path / "first", tmp_path / "last"
    for folder, values in ((first, REJECTED), (last, ACCEPTED)):
        folder.mkdir()
        (folder / "acceptance.json").write_text(json.dumps(values))
    run = Run(
        rounds=(Round("this run"),),
        recordings=read_recordings(tmp_path),
        deliveries=read_deliveries(first, None, last),
    )
    html = page(run)
    assert "0 of 1 recording were good enough." in html
    assert "REC007 silent for &lt;3 s&gt;" in html
    assert "lidar_top 9.8 Hz" in html
    assert html.index("Rejected: too much.") < html.index("Good.")
    assert html.index("ANNO026") < html.index("ANNO024")


def analysis_of(folder: Path, *distances_m: float) -> Analysis:
    """Return the analysis of one frame at night with a car at each distance."""
    places = [(distance_m, 0.0, 0.8) for distance_m in distances_m]
    count = len(places)
    boxes = Boxes.make(places, np.ones((count, 3)), np.zeros(count), ["car"] * count)
    dataset = Dataset.create(str(folder))
    dataset.append([Frame(FrameKey("log", "0", 1), "1", np.eye(4), boxes=boxes, tags=("night",))])
    row = RequirementRow(categories=("car",), conditions=("night",), min_boxes=1)
    return analyze_dataset(dataset, Requirement(name="night", rows=(row,)))


def test_an_iteration_is_told_from_the_recording_to_the_closed_gap(tmp_path):
    manifest = Manifest(
        kind="dataset",
        uri="lake",
        digest="",
        scores={"num_frames": 70.0, "num_quarantined": 2.0, "num_dropped": 4.0},
    )
    trained = Manifest(
        kind="model",
        uri="m",
        digest="",
        provenance={"detector": "centerpoint"},
        scores={"train_frames": 80.0},
    )
    rounds = name_rounds(
        (
            Round(
                "", dataset=manifest, model=trained, analysis=analysis_of(tmp_path / "before", 30.0)
            ),
            Round("", analysis=analysis_of(tmp_path / "after", 10.0, 30.0, 50.0)),
        )
    )
    run = Run(
        rounds=rounds,
        recordings=RecordingsView.parse(QUALITY),
        deliveries=tuple(
            DeliveryView.parse(v) for v in (REJECTED, {"accepted": True, "sentence": "Good."})
        ),
        prelabels=Manifest(kind="predictions", uri="p", digest="", scores=PRELABELS),
    )
    assert tell_story(run) == [
        "This iteration trained a centerpoint detector on 80 labelled frames.",
        "0 of 1 recording were good enough; screening kept 64 of 68 frames.",
        "Delivery 1 was rejected and changed nothing, delivery 2 was accepted.",
        "The requirement “night” had 2 gaps, now it has none.",
    ]
    html = page(run)
    assert "1 → 3 of 3</b><span>cells of the requirement met</span>" in html
    assert "20 boxes in 3 tracks. 12 of them are accepted, 5 are to be reviewed, 3" in html
    assert "In labelled frames 90% of what would be accepted is right, and finds 40% of" in html
    assert [item.name for item in rounds] == ["before", "after"]
    assert "round 1" not in html.lower()


def test_sections_without_a_source_are_named_or_left_out():
    run = Run(rounds=(Round("this run"),))
    html = page(run)
    assert 'id="recordings"' not in html
    assert 'id="labels"' not in html
    assert "A verdict is not part of this report" in html
    chosen = page(run, ("data", "recordings"))
    assert 'id="recordings"' in chosen
    assert 'id="gate"' not in chosen
    assert chosen.count("<section") == 3  # with the summary
