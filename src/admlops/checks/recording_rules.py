"""Rules about recordings; one of severity "error" about a recording as a whole refuses it."""

from admlops.structures.finding import Severity

RECORDING_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "REC001",
        "error",
        "A recording can be opened and holds messages",
        "Record again; with rosbag2, close the recorder before the disk is taken",
    ),
    (
        "REC002",
        "warning",
        "The files of a recording are whole",
        "Copy the file again; a recorder that was killed can be repaired with `mcap recover`",
    ),
    (
        "REC003",
        "warning",
        "The files hold as many messages as metadata.yaml says",
        "Look for a missing part; write metadata.yaml anew with `ros2 bag reindex`",
    ),
    (
        "REC004",
        "warning",
        "Messages of mapped topics can be decoded",
        "Compare the message definitions of the recorder with the standard ones",
    ),
    (
        "REC005",
        "error",
        "Every topic that is mapped to a sensor is in the recording and of a known type",
        "Correct the topic in the mapping, or record it",
    ),
    (
        "REC006",
        "error",
        "A sensor delivers near its rate",
        "Look for dropped packets and a loaded recorder; set the rate that is meant",
    ),
    (
        "REC007",
        "error",
        "Few messages of a sensor are dropped",
        "Raise queue sizes and disk speed of the recorder, or record fewer topics",
    ),
    (
        "REC008",
        "warning",
        "A sensor's period is steady",
        "Stamp messages by the sensor's clock and not on arrival",
    ),
    (
        "REC009",
        "error",
        "A sensor delivers without long gaps",
        "Cut the recording at the gap, or record again",
    ),
    (
        "REC010",
        "error",
        "A sensor's clock never goes backwards",
        "Set the clock before recording; do not loop a simulation while recording",
    ),
    (
        "REC011",
        "error",
        "A sensor's clock never jumps forwards against the recorder's",
        "Synchronise the clocks (PTP) and wait for lock before recording",
    ),
    (
        "REC012",
        "info",
        "Messages are written in the order of their log times",
        "Nothing needs to be done; the reader sorts by stamp",
    ),
    (
        "REC013",
        "warning",
        "Header stamps are near the log times",
        "Synchronise the clocks of sensor and recorder",
    ),
    (
        "REC014",
        "error",
        "Few payloads are empty",
        "Look at the sensor: its driver publishes without data",
    ),
    (
        "REC015",
        "error",
        "Most sweeps find an image of every camera, and a sweep of every lidar, in time",
        "Trigger the cameras by the lidar, or state time_offset_s and the tolerance",
    ),
    (
        "REC016",
        "error",
        "Every sensor has a valid calibration",
        "Record CameraInfo and the static transforms from the ego frame to every sensor",
    ),
    (
        "REC017",
        "error",
        "The pose of the vehicle is known at the time of a frame",
        "Record odometry, transforms or satellite fixes without gaps, from before the first sweep",
    ),
    (
        "REC018",
        "warning",
        "Points carry their time, so that motion can be compensated",
        "Let the driver write a time field, or set motion_compensation to false",
    ),
    (
        "REC019",
        "error",
        "A sweep has points with finite coordinates",
        "Look at the sensor, or leave the frame out",
    ),
    (
        "REC020",
        "error",
        "An image of a frame can be decoded",
        "Use one of the encodings that the guide on recordings lists",
    ),
    (
        "REC021",
        "error",
        "Where poses come from satellite fixes, the Imu's heading agrees with the course",
        "State imu_yaw_offset_deg; an Imu without compass has no absolute heading: record odometry",
    ),
)
