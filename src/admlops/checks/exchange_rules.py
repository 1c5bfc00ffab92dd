"""Rules on files in which labels are exchanged: OpenLABEL and CVAT (EXCH001 onward)."""

from admlops.structures.finding import Severity

EXCHANGE_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "EXCH001",
        "error",
        "Labels in an exchange file are whole: names, numbers and references as the format says",
        "Export the file again; the finding names the element",
    ),
    (
        "EXCH002",
        "warning",
        "Boxes stand upright: pitch and roll are near zero",
        "Label boxes that turn about z only; what is left of pitch and roll is dropped",
    ),
    (
        "EXCH003",
        "info",
        "Every shape in an exchange file is a box",
        "Polygons, points and masks are passed over; label boxes where they are meant to be read",
    ),
    (
        "EXCH004",
        "error",
        "Every frame of an exchange file has a number and a key of its own",
        "Give each frame one entry",
    ),
)
