"""The table of rules: what must hold for data, how bad it is where it does not, how to mend it.

IDs are stable: a rule that goes away leaves its number unused. Areas are `READ` (reading any
format), `KITTI` (reading the KITTI object format), `REC` (recordings), `FRAME` (sensor data), `BOX`
(single boxes), `LABEL` (labels as a whole), `MODEL` (labels against a detector's configuration),
`SPLIT` (train against val), `ANNO` (labels against the definition of their dataset, deliveries),
`EXCH` (files in which labels are exchanged), `SCRN` (what is worth keeping of a drive), `PRIV`
(what must never be kept), `TRIG` (clips of drives) and `CALIB` (sensors against each other).
"""

from collections.abc import Mapping
from types import MappingProxyType

from admlops.checks.annotation_rules import DEFINITION_ROWS
from admlops.checks.delivery_rules import DELIVERY_ROWS
from admlops.checks.exchange_rules import EXCHANGE_ROWS
from admlops.checks.reading_rules import READING_ROWS
from admlops.checks.recording_rules import RECORDING_ROWS
from admlops.checks.screening_rules import SCREENING_ROWS
from admlops.checks.split_rules import SPLIT_ROWS
from admlops.structures.finding import Finding, Rule, Severity

_FRAME_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "FRAME001",
        "error",
        "A frame holds lidar points",
        "Record the frame again or leave it out of the split",
    ),
    (
        "FRAME002",
        "error",
        "Coordinates and intensities of points are finite",
        "Drop returns without a range before the frame is written",
    ),
    (
        "FRAME003",
        "error",
        "Intensity lies in [0, 1]",
        "Divide the intensity by its full scale (255, 65535, 100) where the frame is read",
    ),
    (
        "FRAME004",
        "warning",
        "Intensity varies within a frame",
        "Read the intensity channel, or train without it",
    ),
    (
        "FRAME005",
        "error",
        "Points are in metres",
        "Multiply the points by the factor named in the finding where the frame is read",
    ),
    (
        "FRAME006",
        "warning",
        "The ground under the vehicle lies near z = 0 of the ego frame",
        "Correct the sensor's height in ego_from_sensor, or the model's z range",
    ),
    (
        "FRAME007",
        "warning",
        "A frame has a usual number of points",
        "Look at the frame: a blocked sensor or a cut file gives few points",
    ),
)

_BOX_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "BOX001",
        "error",
        "Centre, size and yaw of a box are finite",
        "Remove or relabel the box",
    ),
    (
        "BOX002",
        "error",
        "Length, width and height of a box are positive",
        "Remove or relabel the box; a 2D-only label must not become a 3D box",
    ),
    (
        "BOX003",
        "error",
        "Yaw is in radians, in [-pi, pi)",
        "Convert degrees to radians and wrap the angle where the labels are read",
    ),
    (
        "BOX004",
        "error",
        "Points fill the boxes best as written: x forward, y left, z up, yaw counter-clockwise",
        "Apply the conversion named in the finding where the labels are read",
    ),
    (
        "BOX005",
        "error",
        "Boxes are in metres",
        "Multiply centres and sizes by the factor named in the finding where the labels are read",
    ),
    (
        "BOX006",
        "warning",
        "A frame labels an object once",
        "Remove the duplicate box",
    ),
    (
        "BOX007",
        "warning",
        "A box stands on the ground, not under it",
        "Relabel the box, or correct the vertical origin where the labels are read",
    ),
    (
        "BOX008",
        "warning",
        "A box has a size that its category can have",
        "Relabel the box, or correct its category",
    ),
    (
        "BOX009",
        "warning",
        "A 2D box has an area",
        "Write NaN for an absent 2D box, or project the 3D box into the image",
    ),
    (
        "BOX010",
        "info",
        "A labelled box holds lidar points",
        "Leave boxes without points out of training, or mark them as not judged",
    ),
    (
        "BOX011",
        "warning",
        "The stored number of points of a box equals the number counted in the cloud",
        "Ingest the frame again so that num_points is counted anew",
    ),
)

_LABEL_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "LABEL001",
        "error",
        "The dataset has labelled frames with boxes",
        "Ingest the labels, or annotate some frames first",
    ),
    (
        "LABEL002",
        "warning",
        "Most labelled frames hold boxes",
        "Check that an empty label means an empty street and not a missing label file",
    ),
    (
        "LABEL003",
        "error",
        "Labels fed back as predictions score 100",
        "Mend the labels that the other findings name: duplicates, sizes, 2D boxes, categories",
    ),
    (
        "LABEL004",
        "error",
        "A category has one spelling",
        "Map the spellings to one name where the labels are read",
    ),
)

_MODEL_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "MODEL001",
        "error",
        "Every category of the model exists in the labels",
        "Rename the category in the model's config or in the labels as the finding suggests",
    ),
    (
        "MODEL002",
        "info",
        "Every category of the labels is one that the model predicts",
        "Add the category to the model's config if it should be detected",
    ),
    (
        "MODEL003",
        "error",
        "At least half of the boxes of a category lie inside the model's range",
        "Widen point_cloud_range_m along the axis named, or leave far boxes out of the requirement",
    ),
    (
        "MODEL004",
        "error",
        "Anchors have the sizes of the data",
        "Set the anchor to the median size named in the finding",
    ),
    (
        "MODEL005",
        "warning",
        "Anchors have the height above ground of the data",
        "Set the anchor's z to the median named in the finding",
    ),
    (
        "MODEL006",
        "warning",
        "Boxes hold enough points for the voxel size",
        "Use smaller voxels for the category, more sweeps, or label only what the sensor sees",
    ),
    (
        "MODEL007",
        "error",
        "At least 90 % of the labels survive encoding to training targets and decoding back",
        "Check range, anchors, matching thresholds and output stride against the labels lost",
    ),
    (
        "MODEL008",
        "error",
        "Lidar points lie inside the model's range",
        "Set point_cloud_range_m to the data's extent, in the ego frame and in metres",
    ),
    (
        "MODEL009",
        "warning",
        "A frame fits in the model's number of pillars",
        "Raise max_pillars or use larger pillars; pillars above the limit are dropped",
    ),
    (
        "MODEL010",
        "warning",
        "At least 90 % of the boxes of a category lie inside the model's range",
        "Widen point_cloud_range_m along the axis named if far boxes must be found",
    ),
)

_KITTI_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "KITTI001",
        "error",
        "Every file of a frame exists",
        "Copy the missing file, or remove the frame from ImageSets",
    ),
    (
        "KITTI002",
        "error",
        "A lidar file holds whole points of four float32 values",
        "Copy the file again: it is cut or empty",
    ),
    (
        "KITTI003",
        "error",
        "Coordinates and intensities in a lidar file are finite",
        "Drop returns without a range before the file is written",
    ),
    (
        "KITTI004",
        "error",
        "Points lie within the sensor's reach",
        "Check the unit (metres) and the byte order of the file",
    ),
    (
        "KITTI005",
        "error",
        "A calibration file holds P2, R0_rect and Tr_velo_to_cam, each whole and valid",
        "Copy the calibration file again",
    ),
    (
        "KITTI006",
        "error",
        "A label row has 15 columns (16 with a score): a category and numbers",
        "Correct or remove the row",
    ),
    (
        "KITTI007",
        "error",
        "An image can be read and has the size that its calibration and labels belong to",
        "Copy the original image: resized or cut images do not fit the calibration",
    ),
    (
        "KITTI008",
        "error",
        "A frame is listed once",
        "Remove the repeated name from ImageSets",
    ),
    (
        "KITTI009",
        "error",
        "A text file uses one kind of line ending",
        "Convert the file to one line ending: mixed ones point to a damaged transfer",
    ),
    (
        "KITTI010",
        "error",
        "A label's category is one of KITTI's",
        "Correct the spelling, or map the category",
    ),
    (
        "KITTI011",
        "error",
        "A 3D box has positive sizes and finite values",
        "Correct or remove the row",
    ),
    (
        "KITTI012",
        "warning",
        "The projected 3D box agrees with the 2D box of its label",
        "Check the calibration file and the label row",
    ),
    (
        "KITTI013",
        "error",
        "Where the file admlops_frames.jsonl is present, a valid line of it is about each frame",
        "Write the folder again, or remove the file to read the frames without times and poses",
    ),
    (
        "KITTI014",
        "info",
        "Every training frame is in one list of ImageSets",
        "Add the frame to train.txt or val.txt if it is to be read",
    ),
)


def _table(*groups: tuple[tuple[str, Severity, str, str], ...]) -> Mapping[str, Rule]:
    rules = [Rule(*row) for rows in groups for row in rows]
    return MappingProxyType({rule.rule_id: rule for rule in rules})


RULES: Mapping[str, Rule] = _table(
    _FRAME_ROWS,
    _BOX_ROWS,
    _LABEL_ROWS,
    _MODEL_ROWS,
    SPLIT_ROWS,
    READING_ROWS,
    _KITTI_ROWS,
    DEFINITION_ROWS,
    RECORDING_ROWS,
    EXCHANGE_ROWS,
    DELIVERY_ROWS,
    SCREENING_ROWS,
)


def find(rule_id: str, where: str, what: str) -> Finding:
    """Return a finding of the rule with this ID.

    Args:
        rule_id: a key of `RULES`.
        where: file, frame key or field.
        what: what was found there, with numbers.
    """
    return Finding(RULES[rule_id], where, what)
