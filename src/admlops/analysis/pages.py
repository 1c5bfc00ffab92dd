"""HTML pages from templates: every value is escaped, and nothing outside the file is needed."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined


def render_page(
    template: str,
    package: str = "admlops.analysis",
    **values: Any,  # noqa: ANN401 - what the template shows
) -> str:
    """Return the page that a template makes of the values.

    Args:
        template: file name in the package's folder of templates.
        package: where it is; what it builds on may be in this package.
        **values: what the template shows.
    """
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("admlops.analysis")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)
