"""What an evaluation says, as it is written and read: `evaluation.json` and `replicates.json`."""

import json
from pathlib import Path
from typing import Literal, Self

from admlops.config import Config, read_json_object
from admlops.evaluation.centre_distance import CentreDistanceResult
from admlops.files import write_atomically

EVALUATION_FILE = "evaluation.json"
REPLICATES_FILE = "replicates.json"
AP_FILE = "ap.json"


class MeasureValue(Config):
    """Average precision of one measure in one slice; a share, not percent."""

    name: str
    """Name of the measure, for example "car_bev_ap50"."""
    category: str
    """What is looked for."""
    metric: Literal["2d", "bev", "3d", "distance"]
    """How nearness is measured."""
    threshold: float
    """Overlap to exceed, or distance in metres to stay below."""
    slice: str
    """Name of the slice; "all" is the whole."""
    value: float | None
    """Average precision over 40 recalls; None where there are no labels."""
    low: float | None = None
    """Lower end of the confidence interval."""
    high: float | None = None
    """Upper end of the confidence interval."""
    num_labels: int
    """Labels to be found."""
    num_predictions: int
    """Predictions that were judged."""


class PrecisionRecall(Config):
    """The curve of one measure over all frames, thinned."""

    name: str
    """Name of the measure."""
    recall: tuple[float, ...]
    """Rising."""
    precision: tuple[float, ...]
    """At each recall."""
    score: tuple[float, ...]
    """Score threshold at each recall."""


class Failure(Config):
    """One label that was missed, or one confident prediction that is wrong."""

    frame: str
    """Name of the frame; of a dataset's frame, its key."""
    log: str = ""
    """Log of the key; empty for plain folders."""
    scene: str = ""
    """Scene of the key; empty for plain folders."""
    timestamp_ns: int = 0
    """Time of the key; 0 for plain folders."""
    kind: Literal["missed", "false_positive"]
    """What went wrong."""
    category: str
    """Category of the label or prediction."""
    range_m: float
    """Distance of its centre on the ground."""
    score: float | None = None
    """Score of a wrong prediction."""
    num_points: int = -1
    """Lidar points inside; -1 unknown."""
    box_7: tuple[float, float, float, float, float, float, float]
    """Centre x y z, length, width, height, yaw in the ego frame."""


class BootstrapConfig(Config):
    """How confidence intervals are made."""

    num_draws: int = 200
    """How often the frames are resampled; 0 turns intervals off."""
    confidence: float = 0.95
    """Share of the draws inside an interval."""
    seed: int = 0
    """Of the draws; equal seeds and frames make two evaluations comparable draw by draw."""


class Evaluation(Config):
    """Everything that was found, but the draws."""

    schema_version: int = 1
    """Version of this file's layout."""
    protocol: Literal["kitti", "centre_distance"]
    """What `ap.json` holds."""
    labels: str
    """Dataset version or folder of the labels."""
    predictions: str
    """Where the predictions are."""
    num_frames: int
    """Frames evaluated."""
    frames_digest: str
    """SHA-256 over the frames' names."""
    bootstrap: BootstrapConfig
    """How the intervals were made."""
    scores: dict[str, float]
    """Flat figures by name."""
    measures: tuple[MeasureValue, ...]
    """Average precision by measure and slice."""
    curves: tuple[PrecisionRecall, ...]
    """Precision over recall by measure."""
    centre_distance: tuple[CentreDistanceResult, ...] = ()
    """Average precision by distance of centres, and errors."""
    failure_metric: str = ""
    """The metric by which failures were told."""
    num_missed: int = 0
    """All missed labels, listed or not."""
    num_false_positives: int = 0
    """All wrong predictions above the failure score, listed or not."""
    failures: tuple[Failure, ...] = ()
    """The worst of them: missed labels with most points and wrong predictions with best scores."""

    def write(self, folder: Path) -> None:
        """Write `evaluation.json` into a folder."""
        write_atomically(folder / EVALUATION_FILE, json.dumps(self.to_json_dict(), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `evaluation.json` from an evaluation's folder.

        Raises:
            DataError: it is absent or not an evaluation.
        """
        path = folder / EVALUATION_FILE
        return cls.parse(read_json_object(path, "run evaluate again"), str(path))


class Replicates(Config):
    """Average precision of every draw, to compare two evaluations draw by draw."""

    frames_digest: str
    """SHA-256 over the frames' names."""
    seed: int
    """Of the draws."""
    measures: tuple[str, ...]
    """Name of the measure of each row."""
    slices: tuple[str, ...]
    """Slice of each row."""
    values: tuple[tuple[float | None, ...], ...]
    """Average precision by row and draw; None where a draw holds no label."""

    def write(self, folder: Path) -> None:
        """Write `replicates.json` into a folder."""
        write_atomically(folder / REPLICATES_FILE, json.dumps(self.to_json_dict()) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `replicates.json` from an evaluation's folder.

        Raises:
            DataError: it is absent or damaged.
        """
        path = folder / REPLICATES_FILE
        return cls.parse(read_json_object(path, "run evaluate again"), str(path))
