"""The rules of a definition in sentences, as an annotation guideline states them."""

from admlops.annotation.definition import DatasetDefinition
from admlops.annotation.labelling_rules import LabellingRules

Sentences = dict[str, str]
"""What holds, by topic."""

_FORMATS = {
    "openlabel": "ASAM OpenLABEL",
    "cvat": "CVAT",
    "kitti": "the KITTI object format",
    "coco": "COCO",
    "bdd100k": "BDD100K",
}
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
    riders = " or ".join(rules.rider_categories) or "of the vehicle"
    partly, largely = rules.occlusion_shares
    in_space = _space_rules(rules) if "space_box" in definition.shapes else {}
    in_images = {"In images": _image_rules(rules)} if "image_box" in definition.shapes else {}
    sentences = {
        "Which objects": _scope(definition),
        **in_space,
        **in_images,
        "Occlusion": f"{_EXTENT[rules.occluded]} From {partly:.0%} hidden an object is partly, "
        f"from {largely:.0%} largely occluded.",
        "Riders": _RIDERS[rules.riders].format(names=riders),
        "Articulated vehicles": _ARTICULATED[rules.articulated],
        "Ignore regions": _IGNORE[rules.ignore_regions],
        "Tracks": _tracks(definition),
    }
    return sentences | ({"Also": " ".join(rules.notes)} if rules.notes else {})


def _space_rules(rules: LabellingRules) -> Sentences:
    return {
        "Frame": "Centres are in metres in the ego frame: x forward, y left, z up, origin on the "
        "ground below the vehicle. Yaw is in radians about z, from x to y.",
        "Tightness": "Every face touches the object. The gap to its outermost point is at most "
        f"{100 * rules.margin_m:.0f} cm; no point of the object is outside.",
        "Ground": "The lower face stands on the ground below the object, not on its lowest point.",
        "Heading": f"{_YAW[rules.yaw]} It may be off by {rules.max_yaw_error_deg:g} degrees.",
        "Truncation": f"For objects at the border of the view: {_EXTENT[rules.truncated]}",
    }


def _image_rules(rules: LabellingRules) -> str:
    return (
        "Boxes are upright rectangles in pixels of the image. Every edge touches the object; the "
        f"gap is at most {rules.image_margin_px:g} px. A box ends at the border of the image, "
        "also where its object goes on."
    )


def _scope(definition: DatasetDefinition) -> str:
    return " ".join(
        describe(definition)
        for shape, describe in (("space_box", _space_scope), ("image_box", _image_scope))
        if shape in definition.shapes
    )


def _space_scope(definition: DatasetDefinition) -> str:
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


def _image_scope(definition: DatasetDefinition) -> str:
    least = definition.rules.min_height_px
    limit = f" that is at least {least:g} px high" if least else ", however small"
    text = f"In images: every object of a category in this guideline{limit}."
    own = [
        f"{item.name} from {item.min_height_px:g} px"
        for item in definition.categories
        if item.min_height_px is not None
    ]
    return f"{text} Other limits: {', '.join(own)}." if own else text


def _tracks(definition: DatasetDefinition) -> str:
    text = "An object keeps its track id while it is in the scene, also after it was hidden."
    if definition.rules.size_is_constant and "space_box" in definition.shapes:
        text += " The box of a rigid object keeps its size over the whole track."
    if len(definition.shapes) > 1:
        text += " Its boxes in space and in images have the same track id."
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
        f"(IoU) of {_overlaps(definition)}.",
        "Sampling": "A sample is inspected by people, by ISO 2859-1, general level "
        f"{rules.inspection_level}, acceptance quality limit {rules.aql_percent:g} %.",
        "Decision": "The delivery is accepted as a whole, or rejected with a list that names "
        f"every defect. It may be corrected {rules.num_corrections} times.",
    }


def _overlaps(definition: DatasetDefinition) -> str:
    rules = definition.acceptance
    least = {
        "space_box": f"{rules.min_gold_iou:g} on the ground",
        "image_box": f"{rules.min_gold_image_iou:g} in images",
    }
    return " and ".join(least[shape] for shape in definition.shapes)
