"""Templates of the pages that people read; every value that is filled in is escaped."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from ..scoring.difference import p_text

EXAMPLES_SHOWN = 30
"""Supporting examples that a page shows in full per rule; of the others it gives the ids."""


@cache
def template(name: str) -> Template:
    """Return a template of this folder, with the filters for figures."""
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=PackageLoader(__package__, ""),
    )
    environment.filters["rate"] = "{:.3f}".format
    environment.filters["change"] = "{:+.3f}".format
    environment.filters["count"] = "{:,}".format
    environment.filters["p_value"] = p_text
    return environment.get_template(name)
