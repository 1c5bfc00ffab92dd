"""Sections of the report about recordings and deliveries of labels."""

import json

from admlops.reporting.page import render_report
from admlops.reporting.sources import Round, Run, read_deliveries, read_recordings

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


def page(run: Run, sections: tuple[str, ...] = ()) -> str:
    return render_report(run, [], "A run", 0.3, sections)


def test_recordings_and_deliveries_are_shown(tmp_path):
    (tmp_path / "quality.json").write_text(json.dumps(QUALITY))
    first, last = tmp_path / "first", tmp_path / "last"
    for folder, values in ((first, REJECTED), (last, {"accepted": True, "sentence": "Good."})):
        folder.mkdir()
        (folder / "acceptance.json").write_text(json.dumps(values))
    run = Run(
        rounds=(Round("this run"),),
        recordings=read_recordings(tmp_path),
        deliveries=read_deliveries(first, None, last),
    )
    html = page(run)
    assert "0 of 1 recordings are good enough" in html
    assert "REC007 silent for &lt;3 s&gt;" in html
    assert "lidar_top 9.8 Hz" in html
    assert html.index("Rejected: too much.") < html.index("Good.")
    assert html.index("ANNO026") < html.index("ANNO024")


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
