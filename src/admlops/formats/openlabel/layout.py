"""Names that the OpenLABEL writer uses, and the reader knows.

Source: ASAM OpenLABEL 1.0.0. What the standard has no place for stands in the frame property
``admlops`` (frame properties may be added to), so that frames come back whole.
"""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]
"""A JSON object."""
SCHEMA_VERSION = "1.0.0"
EGO = "vehicle-iso8855"
"""Coordinate system of the boxes: x forward, y left, z up, origin on the ground."""
WORLD = "odom"
EXTENSION = "admlops"
CUBOID_NAME = "shape3D"
BBOX_NAME = "shape2D"
CORNERS = "corners_px"
"""Left, top, right, bottom of a bbox as they were: centre and size round."""
INDEX = "index"
"""Place of a shape among those of its kind in the frame: objects are in another order."""
ATTRIBUTE_KINDS = ("boolean", "num", "text", "vec")
SHAPES = ("cuboid", "bbox")
MIN_DISTORTION = 5
"""The schema asks for at least as many distortion coefficients."""
