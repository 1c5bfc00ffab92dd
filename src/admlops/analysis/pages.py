"""HTML pages from templates: every value is escaped, and nothing outside the file is needed."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render_page(template: str, **values: Any) -> str:  # noqa: ANN401 - what the template shows
    """Return the page that a template of this package makes of the values."""
    environment = Environment(
        loader=PackageLoader("admlops.analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = lambda value: f"{value:,}".replace(",", "\u202f")
    return environment.get_template(template).render(**values)
