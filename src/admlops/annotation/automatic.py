"""Attributes by which automatic labels are told from those that people made."""

AUTO = "auto"
"""True on boxes that models made."""
CONFIDENCE = "auto_confidence"
"""How probably the box is right."""
INTERPOLATED = "auto_interpolated"
"""True where no model showed the box and its track leads through it."""
AUTOMATIC_ATTRIBUTES = frozenset({AUTO, CONFIDENCE, INTERPOLATED})
"""Definitions need not list them."""
