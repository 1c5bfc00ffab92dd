"""Rules about what is worth keeping of recorded frames, and what must never be kept."""

from admlops.structures.finding import Severity

SCREENING_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "SCRN001",
        "warning",
        "Images of a kept frame are sharp",
        "Clean and focus the camera; lower screening.min_sharpness for scenes without texture",
    ),
    (
        "SCRN002",
        "warning",
        "Images of a kept frame are neither too dark nor too bright to see anything",
        "Check exposure control; raise screening.max_dark_share for night drives",
    ),
    (
        "SCRN003",
        "warning",
        "The sensors of a kept frame see something",
        "Look at the sensor: it is covered, unplugged, or its driver publishes blanks",
    ),
    (
        "SCRN004",
        "info",
        "A kept frame differs from the one that was kept before it",
        "Nothing needs to be done: it shows nothing new",
    ),
    (
        "SCRN005",
        "info",
        "The vehicle has not been standing for long when a frame is kept",
        "Nothing needs to be done; raise screening.parked_after_s to keep more of it",
    ),
    (
        "SCRN006",
        "warning",
        "Every image of a kept frame can be decoded",
        "Look at the camera and its driver; the file is damaged inside",
    ),
    (
        "PRIV001",
        "error",
        "People and number plates are blurred in every image before it is written",
        "Mend what the finding names; a frame whose images cannot be judged is refused",
    ),
    (
        "PRIV002",
        "error",
        "Every image in a clip was judged, and people and number plates in it are blurred",
        "Mend what the finding names; a clip with an image that cannot be judged is given up",
    ),
    (
        "PRIV003",
        "info",
        "Every message of a stretch is in its clip, where images are blurred",
        "Map the topic if it is a camera; name its type in clip_types if it holds no image",
    ),
    (
        "TRIG001",
        "warning",
        "What triggers ask for fits the storage budget",
        "Raise the budget, or the thresholds of frequent triggers; the least valuable went",
    ),
    (
        "TRIG002",
        "warning",
        "A clip begins as early as its trigger asks",
        "Raise triggers.buffer_bytes, or record fewer topics",
    ),
    (
        "TRIG003",
        "warning",
        "A detector can look at every sweep of the main lidar that becomes a frame",
        "Mend what the finding names; what a detector would have seen there fires no trigger",
    ),
    (
        "CALIB001",
        "error",
        "Edges that the lidar sees lie on edges that the camera sees",
        "Calibrate the camera against the lidar again; a mount has moved, or transforms are wrong",
    ),
    (
        "CALIB002",
        "error",
        "Boxes labelled in space project onto the boxes labelled in the image",
        "Calibrate the camera against the lidar again, or look at how the labels were made",
    ),
    (
        "CALIB003",
        "info",
        "Calibration can be judged: there are frames with lidar edges in the camera's view",
        "Drive where there are cars, poles and trees; rectify the images",
    ),
)
