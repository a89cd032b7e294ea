"""The space that every method searches, as Optuna parameters: which rules, in which wording and order."""

from __future__ import annotations

from collections.abc import Sequence

from optuna.distributions import BaseDistribution

from pld_dspy.rules import Rule, RuleSet
from pld_dspy.search.space import Parameters, Space


def distributions(rules: Sequence[Rule]) -> dict[str, BaseDistribution]:
    """Return the distributions of each rule's use, sort key and, if there are several, wording."""
    return Space(tuple(rules)).distributions()


def rule_set(rules: Sequence[Rule], parameters: Parameters) -> RuleSet:
    """Return the rules in use, in ascending order of their keys."""
    space = Space(tuple(rules))
    return space.rule_set(space.candidate(parameters))


def guards(rules: Sequence[Rule]) -> list[Parameters]:
    """Return the parameters of no rule, and of all rules in their own order and first wordings."""
    space = Space(tuple(rules))
    return [space.parameters(space.none()), space.parameters(space.all())]
