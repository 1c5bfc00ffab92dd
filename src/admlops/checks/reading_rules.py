"""Rules for reading any format; `KITTI` rules are older and say the same of that format."""

from admlops.structures.finding import Severity

READING_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "READ001",
        "error",
        "Every file that a source names exists and can be read",
        "Copy the missing file, or remove what names it",
    ),
    (
        "READ002",
        "error",
        "A file is whole: neither empty nor cut nor longer than its header says",
        "Copy the file again",
    ),
    (
        "READ003",
        "error",
        "Coordinates and intensities of points are finite",
        "Drop returns without a range before the file is written",
    ),
    (
        "READ004",
        "error",
        "Points lie within the sensor's reach",
        "Check the unit (metres) and the byte order of the file",
    ),
    (
        "READ005",
        "error",
        "A calibration is whole: finite, rigid, with positive focal lengths",
        "Copy the calibration again",
    ),
    (
        "READ006",
        "error",
        "A label can be parsed: every field that the format demands, of its type",
        "Correct or remove the label",
    ),
    (
        "READ007",
        "error",
        "An image can be read and has the size that the source states",
        "Copy the original image: resized or cut images do not fit calibration and labels",
    ),
    (
        "READ008",
        "error",
        "A frame is listed once",
        "Remove the repeated entry",
    ),
    (
        "READ009",
        "error",
        "A reference between tables leads to a record",
        "Copy the tables again: they are not of the same release",
    ),
    (
        "READ010",
        "error",
        "A label's category is one that the mapping knows",
        'Add the name to `categories`, with our name for it or "" to leave it out',
    ),
    (
        "READ011",
        "error",
        "A box has positive sizes and finite values",
        "Correct or remove the label",
    ),
    (
        "READ012",
        "error",
        "A frame has a time and a pose",
        "Record the pose, or leave the frame out",
    ),
    (
        "READ013",
        "warning",
        "The stored number of points of a box is the number counted in the cloud",
        "Check the box, the calibration, and whether the cloud is motion compensated",
    ),
    (
        "READ014",
        "info",
        "All frames that are on disk are listed",
        "Add them to the lists if they are to be read",
    ),
    (
        "READ015",
        "error",
        "A frame's sensor data does not change under the same key",
        "Give the changed recording a log or scene of its own, or use a new dataset",
    ),
    (
        "READ016",
        "warning",
        "A label refers to something that is in the source",
        "Correct the label, or add what it refers to",
    ),
    (
        "READ017",
        "error",
        "A file is of a version of the format that is supported",
        "Convert the file, or write it again with a supported version",
    ),
    (
        "READ018",
        "warning",
        "A source holds the calibration of its sensors",
        "Copy the calibration files beside the frames: without, the usual mounting is assumed",
    ),
    (
        "READ019",
        "warning",
        "The images that labels are about are in the source",
        "Copy the images beside the labels: without, frames hold the images' sizes alone",
    ),
    (
        "READ020",
        "warning",
        "Every name that `categories` gives a meaning to is in the source",
        "Correct the name as the source writes it, or leave it out of `categories`",
    ),
    (
        "READ021",
        "warning",
        "A frame that the dataset holds has the labels that the source gives it now",
        "Ingest into another lake to have the source's labels, or deliver them through `annotate`",
    ),
)
