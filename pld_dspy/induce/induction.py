"""What induction found, and what was done on the way from micro-rules to rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..rules import Rule

LISTED = 3
"""Most labels listed per finding; the others are counted."""

LOSSES = {
    "about_format": "about the answer's format dropped",
    "suspects_dropped": "with a suspect label dropped",
    "suspects_down_weighted": "with a suspect label put last",
    "noise": "joined no rule",
}
"""Counts of micro-rules -> how the diagnosis says it."""

FINDINGS = {
    "rescued": "all noise, yet kept as rules:",
    "regrouped": "clustered again:",
    "split": "too big a cluster, split:",
    "compacted": "clustered by neighbourhoods:",
}
"""Findings of ``ClusterCheck`` -> how the diagnosis says it."""


@dataclass(frozen=True)
class Induction:
    """One rule per cluster, those with the most support first, and the example ids of what was left out."""

    rules: list[Rule]
    noise: list[str] = field(default_factory=list)
    """Their micro-rule joined no cluster."""
    fallbacks: list[str] = field(default_factory=list)
    """Ids of rules for which no draw of the teacher was usable: their micro-rules stand in."""
    about_format: list[str] = field(default_factory=list)
    """Their micro-rule was about the answer's format, and was dropped."""
    dropped: list[str] = field(default_factory=list)
    """None of their micro-rules was used, since their labels are doubted."""
    counts: dict[str, int] = field(default_factory=dict)
    """Numbers of micro-rules, of rules and of labels, by the names that ``diagnosis`` reads."""
    diagnosis: str = ""
    """The same in one line."""


def diagnosis(counts: Mapping[str, int], findings: Mapping[str, Sequence[str]], without_rule: Sequence[str]) -> str:
    """Return the counts, the findings of ``ClusterCheck`` and the labels without a rule as one line."""
    said = [f"{counts[name]} {text}" for name, text in LOSSES.items() if counts[name]]
    said += [f"{text} {_listed(findings[name])}" for name, text in FINDINGS.items() if name in findings]
    if counts["in_parts"]:
        said.append(f"{counts['in_parts']} rules generalized in parts")
    if without_rule:
        said.append(f"no rule for {_listed(without_rule)}")
    size = f"{counts['micro_rules']} micro-rules gave {counts['rules']} rules, the largest from {counts['largest']}"
    return f"{size}; {'; '.join(said) or 'no problem found'}."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
