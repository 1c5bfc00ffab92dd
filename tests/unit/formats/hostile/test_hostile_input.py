"""A few damages of every format; `hostile_input.py` runs thousands."""

import pytest
from hostile_input import FORMATS, attempt, make_seed, read_seed

COUNT = {"argoverse2": 12, "nuscenes": 8}
"""Other formats: 40."""


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_sources_are_findings(name, tmp_path):
    seed = make_seed(name, tmp_path)
    for path, content in seed.files.items():
        (tmp_path / path).write_bytes(seed.seal(content))
    assert "DataError" not in read_seed(name, seed)  # and what is compiled at first use is
    fired = [attempt(name, seed, number) for number in range(COUNT.get(name, 40))]
    assert sum(map(bool, fired)) > len(fired) / 4
