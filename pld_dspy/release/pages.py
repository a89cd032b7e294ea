"""Templates of the pages that people read; every value that is filled in is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from ..rules import MicroRule, Rule, by_example
from ..scoring.difference import p_text

EXAMPLES_SHOWN = 30
"""Supporting examples that the page shows in full per rule; of the others it gives the ids."""


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


def supporting_examples(rule: Rule, micro_rules: Sequence[MicroRule]) -> list[MicroRule]:
    """Return the first :data:`EXAMPLES_SHOWN` examples behind a rule, as far as ``micro_rules`` hold them."""
    by_id = by_example(rule, micro_rules)
    return [by_id[example_id] for example_id in rule.support if example_id in by_id][:EXAMPLES_SHOWN]
