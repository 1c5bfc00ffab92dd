"""The rules of a definition in sentences, as an annotation guideline states them."""

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.labelling_rules import LabellingRules

Sentences = dict[str, str]
"""What holds, by topic."""

_FORMATS = {"openlabel": "ASAM OpenLABEL", "cvat": "CVAT", "kitti": "the KITTI object format"}
_EXTENT = {
    "full_size": "The box has the object's whole extent, also where it is not seen: take it from "
    "the visible side, from other frames of the track, or from the category's usual size.",
    "visible_part": "The box ends where the object is no longer seen.",
}
_RIDERS = {
    "one_box": "A rider and the vehicle share one box of the category {names}.",
    "two_boxes": "A rider and the vehicle have a box each.",
}
_ARTICULATED = {
    "one_box": "An articulated vehicle with its trailers is one box.",
    "box_per_part": "Every stiff part has its own box and its own track: tractor, trailer, each "
    "section of an articulated bus or a tram.",
}
_IGNORE = {
    "none": "Regions are not marked; every object that meets the rules is labelled.",
    "image_box": "Crowds, and places where objects cannot be told apart, get a box of the category "
    "ignore in the image. Nothing inside it is labelled.",
    "space_box": "Crowds, and places where objects cannot be told apart, get a 3D box of the "
    "category ignore. Nothing inside it is labelled.",
}
_YAW = {
    "front": "The heading points to the object's front, whether or not it moves. Where the front "
    "cannot be told, it points along the lane.",
    "motion": "The heading points where the object moves; for standing objects, to its front.",
}


def describe_rules(definition: DatasetDefinition) -> Sentences:
    """Return the labelling rules, topic by topic."""
    rules = definition.rules
    partly, largely = rules.occlusion_shares
    riders = " or ".join(rules.rider_categories) or "of the vehicle"
    sentences = {
        "Which objects": _scope(definition),
        "Frame": "Centres are in metres in the ego frame: x forward, y left, z up, origin on the "
        "ground below the vehicle. Yaw is in radians about z, from x to y.",
        "Tightness": "Every face touches the object. The gap to its outermost point is at most "
        f"{100 * rules.margin_m:.0f} cm; no point of the object is outside.",
        "Ground": "The lower face stands on the ground below the object, not on its lowest point.",
        "Heading": f"{_YAW[rules.yaw]} It may be off by {rules.max_yaw_error_deg:g} degrees.",
        "Occlusion": f"{_EXTENT[rules.occluded]} From {partly:.0%} hidden an object is partly, "
        f"from {largely:.0%} largely occluded.",
        "Truncation": f"For objects at the border of the view: {_EXTENT[rules.truncated]}",
        "Riders": _RIDERS[rules.riders].format(names=riders),
        "Articulated vehicles": _ARTICULATED[rules.articulated],
        "Ignore regions": _IGNORE[rules.ignore_regions],
        "Tracks": _tracks(rules),
    }
    return sentences | ({"Also": " ".join(rules.notes)} if rules.notes else {})


def _scope(definition: DatasetDefinition) -> str:
    rules = definition.rules
    text = (
        f"Every object of a category in this guideline that holds at least {rules.min_points} "
        f"lidar points and is at most {rules.max_range_m:g} m away on the ground."
    )
    own = [
        f"{item.name} from {definition.min_points_of(item.name)} points up to "
        f"{definition.max_range_of(item.name):g} m"
        for item in definition.categories
        if item.min_points is not None or item.max_range_m is not None
    ]
    return f"{text} Other limits: {', '.join(own)}." if own else text


def _tracks(rules: LabellingRules) -> str:
    text = "An object keeps its track id while it is in the scene, also after it was hidden."
    if rules.size_is_constant:
        text += " The box of a rigid object keeps its size over the whole track."
    return text


def describe_formats(definition: DatasetDefinition) -> str:
    """Return the formats in which labels may be delivered."""
    return " or ".join(_FORMATS[name] for name in definition.acceptance.formats)


def describe_acceptance(definition: DatasetDefinition) -> Sentences:
    """Return how a delivery is judged, in the order in which it is done."""
    rules = definition.acceptance
    return {
        "Format": "Every file is read and held against the JSON Schema. A file that cannot be "
        "read, or a requested frame that is missing, sends the delivery back.",
        "Rules": f"Every box is checked by program. At most {rules.max_error_rate:.1%} of the "
        f"boxes may have an error, {rules.max_warning_rate:.1%} a warning.",
        "Hidden gold frames": f"{rules.gold_share:.0%} of the frames are labelled already, which "
        f"is not shown. At least {rules.min_gold_recall:.0%} of their boxes must be found and "
        f"{rules.min_gold_precision:.0%} of the boxes delivered there be right, from an overlap "
        f"on the ground (IoU) of {rules.min_gold_iou:g}.",
        "Sampling": "A sample is inspected by people, by ISO 2859-1, general level "
        f"{rules.inspection_level}, acceptance quality limit {rules.aql_percent:g} %.",
        "Decision": "The delivery is accepted as a whole, or rejected with a list that names "
        f"every defect. It may be corrected {rules.num_corrections} times.",
    }
