"""What several tests of collecting share."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest
from hand_regions import HandMade

from admlops.collection import regions
from admlops.collection.privacy import PrivacyConfig


@pytest.fixture
def hand_made(monkeypatch, tmp_path):
    """Install the detector as a package would, and return a config of it."""

    def find(*, group, **selected):
        assert group == "admlops.region_detectors"
        entry = EntryPoint("hand_made", "hand_regions:HandMade", group)
        return EntryPoints([entry]).select(**selected)

    monkeypatch.setattr(regions, "entry_points", find)
    monkeypatch.setattr(EntryPoint, "load", lambda _: HandMade)
    (tmp_path / "model").write_bytes(b"weights")
    rules = [{"category": "person"}, {"category": "car", "top_share": 0.5}]
    return PrivacyConfig.parse(
        {"kind": "hand_made", "file": tmp_path / "model", "rules": rules, "margin_share": 0}
    )
