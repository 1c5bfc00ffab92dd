"""Which scenes of nuScenes are in which split: the publisher's lists, by version.

Source: the development kit's `utils/splits.py`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from admlops.errors import DataError
from admlops.formats.json_file import read_json

SPLITS_FILE = "splits.json"
"""Beside the tables, if a version has splits of its own: {"train": ["scene-0001", ...], ...}."""
VALIDATION: Mapping[str, str] = MappingProxyType(
    {
        "v1.0-trainval": "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 "
        "625-627 629-630 632-638 770-771 775 777-778 780-784 794-800 802 904-917 919-931 962-963 "
        "966-969 971-972 1059-1073",
        "v1.0-mini": "103 916",
    }
)
"""Numbers of the scenes to validate on; a version's others are to train on."""


class Splits:
    """The split of each scene of a version.

    Raises:
        DataError: the version's own file of splits is not as it should be.
    """

    def __init__(self, version: Path) -> None:
        self._own = _read_own(version / SPLITS_FILE)
        self._is_test = version.name.endswith("test")
        self._validation = _numbers(VALIDATION.get(version.name, ""))

    def of(self, scene: str) -> str:
        """Return a scene's split; scenes of the test version are in the pool, foreign in none."""
        if self._own:
            return self._own.get(scene, "")
        number = re.fullmatch(r"scene-(\d{4})", scene)
        if self._is_test:
            return "pool"
        if number is None or not self._validation:
            return ""
        return "val" if int(number[1]) in self._validation else "train"


def _numbers(runs: str) -> frozenset[int]:
    ends = [run.split("-") for run in runs.split()]
    return frozenset(n for run in ends for n in range(int(run[0]), int(run[-1]) + 1))


def _read_own(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise DataError(f'{path}: expected {{"train": ["scene-0001", ...], ...}}')
    return {str(scene): split for split, scenes in content.items() for scene in scenes}
