"""Rules on labels against the definition of their dataset (ANNO001 to ANNO019)."""

from admlops.structures.finding import Severity

DEFINITION_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "ANNO001",
        "error",
        "A box's category is one of the definition's",
        "Map the category where the labels are read, relabel the box, or extend the definition",
    ),
    (
        "ANNO002",
        "error",
        "An attribute is one that the definition gives to the box's category",
        "Remove the attribute, or give it to the category in the definition",
    ),
    (
        "ANNO003",
        "error",
        "An attribute has one of its allowed values",
        "Choose one of the values that the finding names",
    ),
    (
        "ANNO004",
        "error",
        "A box carries every mandatory attribute of its category",
        "Answer the attribute's question for the box",
    ),
    (
        "ANNO005",
        "warning",
        "A labelled box holds the least number of lidar points that the definition asks for",
        "Move the box onto the object's points, or remove it",
    ),
    (
        "ANNO006",
        "warning",
        "Length, width and height of a box are within its category's range",
        "Correct size or category; widen the definition's range if such objects exist",
    ),
    (
        "ANNO007",
        "warning",
        "A labelled box lies within the range that the definition labels",
        "Remove the box, or widen the definition's range",
    ),
    (
        "ANNO008",
        "error",
        "An attribute that does not change has one value over a track",
        "Give all boxes of the track the same value, or give the objects tracks of their own",
    ),
    (
        "ANNO009",
        "error",
        "The attributes of a box are a JSON object",
        "Write attributes as names with values",
    ),
    (
        "ANNO010",
        "warning",
        "A labelled frame has the sensors that the definition names",
        "Record the sensor, or correct its name in the definition or where the data is read",
    ),
)
