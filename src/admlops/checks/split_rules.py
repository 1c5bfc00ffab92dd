"""Rules on splits: how far apart 007 to 009 ask for is said where splits are made."""

from admlops.structures.finding import Severity

SPLIT_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "SPLIT001",
        "error",
        "A scene belongs to one split",
        "Split by scene: move all frames of the scene to one side",
    ),
    (
        "SPLIT002",
        "error",
        "The same sensor data is in one split only",
        "Remove the copy from one split",
    ),
    (
        "SPLIT003",
        "warning",
        "Frames of different splits were not taken at the same place and time",
        "Move neighbouring frames to the same split",
    ),
    (
        "SPLIT004",
        "error",
        "The dataset has a train and a val split",
        "Name the splits where the dataset is ingested",
    ),
    (
        "SPLIT005",
        "warning",
        "Every category of val is in train",
        "Move scenes so that both splits hold the category",
    ),
    (
        "SPLIT006",
        "info",
        "Scenes are told apart",
        "Name the scenes where the source knows them: without, leaks between splits stay hidden",
    ),
    (
        "SPLIT007",
        "error",
        "Frames of one log in different splits lie apart in time",
        "Take one of the scenes out of its split, or divide all frames anew",
    ),
    (
        "SPLIT008",
        "error",
        "Frames of one place in different splits lie apart on the ground",
        "Take one of the scenes out of its split, or divide all frames anew",
    ),
    (
        "SPLIT009",
        "error",
        "Frames in different splits do not look alike",
        "Take one of the scenes out of its split, or divide all frames anew",
    ),
)
