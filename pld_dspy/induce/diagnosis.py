"""Diagnosis: what was found and done on the way from micro-rules to rules, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

LISTED = 3
"""Most labels listed per finding; the others are counted."""

LOSSES = {
    "about_format": "about the answer's format dropped",
    "suspects_dropped": "with a suspect label dropped",
    "suspects_down_weighted": "with a suspect label put last",
    "noise": "joined no rule",
}
"""Counts of micro-rules -> how the line says it."""

FINDINGS = {
    "rescued": "all noise, yet kept as rules:",
    "regrouped": "clustered again:",
    "split": "too big a cluster, split:",
    "compacted": "clustered by neighbourhoods:",
}
"""Findings of :class:`~pld_dspy.induce.check.ClusterCheck` -> how the line says it."""


def diagnosis(counts: Mapping[str, int], findings: Mapping[str, Sequence[str]], without_rule: Sequence[str]) -> str:
    """Return the counts of ``Induction``, the findings of ``ClusterCheck`` and the labels without a rule as a line."""
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
