"""Rules on deliveries of labels (ANNO020 onward), beside those on single boxes (ANNO001 on)."""

from admlops.structures.finding import Severity

DELIVERY_ROWS: tuple[tuple[str, Severity, str, str], ...] = (
    (
        "ANNO020",
        "error",
        "A delivery is one file or folder of labels, in a format that the definition allows",
        "Deliver one OpenLABEL file, one CVAT XML file, one Parquet file or one KITTI folder",
    ),
    (
        "ANNO021",
        "error",
        "A delivery holds every frame of its package",
        "Label the frames that the finding names, and deliver the whole package again",
    ),
    (
        "ANNO022",
        "error",
        "A delivery holds frames of its own package only",
        "Deliver the file that belongs to the package; frames keep the numbers they have in it",
    ),
    (
        "ANNO023",
        "error",
        "Every frame of a delivery can be read",
        "Export the labels again; the finding names what is broken",
    ),
    (
        "ANNO024",
        "error",
        "An object is labelled once",
        "Remove one of the two boxes",
    ),
    (
        "ANNO025",
        "warning",
        "Boxes of different objects do not share space",
        "Draw both boxes as tight as their objects",
    ),
    (
        "ANNO026",
        "error",
        "The length of a box lies along its object's heading",
        "Exchange length and width, or turn the box by 90 degrees",
    ),
    (
        "ANNO027",
        "error",
        "A box lies on its object's points",
        "Move the box onto the points",
    ),
    (
        "ANNO028",
        "warning",
        "A box stands on the ground",
        "Set the lower face of the box onto the ground under the object",
    ),
    (
        "ANNO029",
        "error",
        "A box has a finite place and a positive size",
        "Remove or relabel the box",
    ),
    (
        "ANNO030",
        "error",
        "A track moves no faster than objects of its category can",
        "Move the box back to its object, or give the other object a track of its own",
    ),
    (
        "ANNO031",
        "warning",
        "A rigid object keeps its size over its track",
        "Give all boxes of the track one size, the one of the frame that shows most of it",
    ),
    (
        "ANNO032",
        "error",
        "An object keeps its category over its track",
        "Correct the category in the frames that the finding names, or split the track",
    ),
    (
        "ANNO033",
        "error",
        "A track follows one object",
        "Exchange the track ids from this frame on",
    ),
    (
        "ANNO034",
        "error",
        "A box heads where its object moves, and does not turn around between two frames",
        "Turn the box by 180 degrees",
    ),
    (
        "ANNO035",
        "error",
        "A track has one box in a frame",
        "Remove the second box, or give it a track of its own",
    ),
    (
        "ANNO036",
        "error",
        "Every object whose labels are known is labelled",
        "Label all objects with enough points, also small and partly hidden ones",
    ),
    (
        "ANNO037",
        "error",
        "Nothing is labelled where it is known that nothing is",
        "Label road users only, as the guideline shows them",
    ),
    (
        "ANNO038",
        "error",
        "An object whose labels are known has its category",
        "Decide the category by the guideline's examples",
    ),
    (
        "ANNO039",
        "error",
        "An object whose labels are known has its place and size",
        "Draw the box around the whole object, hidden parts included",
    ),
    (
        "ANNO040",
        "error",
        "An object whose labels are known has its heading",
        "Point the box to the object's front",
    ),
)
