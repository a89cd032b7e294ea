"""What the review page shows of a finished run: scores, state, and the rules as rules.yaml has them now."""

from __future__ import annotations

import hashlib
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..audit.lint import Finding, lint_learned
from ..errors import DataError, PLDError
from ..ledger.jsonl import read_jsonl
from ..rules import MicroRule
from ..run.folder import RunFolder
from ..run.result import PLDResult
from .edits import Change, changes, listed, parse_edits
from .flips import Flips
from .pages import supporting_examples, template
from .signature import read_signature, signature_faults
from .trail import Entry, read_trail

ACCEPTED, TAKEN_BACK = "accepted", "acceptance taken back"
"""What the audit trail says of a rule that a person has accepted; it counts for the very text that was accepted."""


@dataclass(frozen=True)
class State:
    """Whether a run's rules are as they were scored and signed; ``name`` is also the style of the bar."""

    name: str  # unchanged, edited, signed or void
    title: str
    reasons: Sequence[str] = ()


def version_of(text: str) -> str:
    """Return the digest that a form names, so that it never overwrites what it was not made from."""
    return hashlib.sha256(text.encode()).hexdigest()


def render(
    folder: Path,
    text: str,
    *,
    nonce: str,
    flips: Flips | None = None,
    without_flips: str = "",
    message: str = "",
    typed: Mapping[str, str] | None = None,
    can_undo: bool = False,
) -> str:
    """Return the page of a finished run whose rules.yaml holds ``text``.

    Args:
        folder: the run folder.
        text: what rules.yaml holds; where it cannot be read, the page shows the fault and the lines in place of rules.
        nonce: lets the page's own style and script run under its Content-Security-Policy.
        flips: which answers the run's rules turned; None where that is not known.
        without_flips: why it is not known.
        message: why a form was not saved.
        typed: the texts of that form by field, to be copied.
        can_undo: whether the last edit can be taken back.

    Raises:
        RunError: the run is not finished, or one of its files is damaged.
        DataError: micro_rules.jsonl is damaged.
    """
    result, run = PLDResult.load(folder), RunFolder(folder)
    micro_rules = read_jsonl(run.micro_rules, MicroRule) if run.micro_rules.is_file() else []
    common = {
        "folder": shlex.quote(str(folder)),
        "name": folder.resolve().name,
        "nonce": nonce,
        "message": message,
        "typed": typed or {},
        "version": version_of(text),
    }
    try:
        rules, bench = lists = parse_edits(text, result)
    except DataError as error:
        return template("review_fault.html.j2").render(**common, fault=str(error), lines=text.split("\n"))
    edits = changes(listed(result), lists)
    accepted, trail_fault = _accepted(folder)
    return template("review.html.j2").render(
        **common,
        result=result,
        splits=[(name, one) for name, one in (("Test", result.test), ("Validation", result.validation)) if one],
        state=_state(folder, edits),
        rules=rules.rules,
        bench=bench,
        changed={change.rule_id: change.what for change in edits},
        examples={rule.id: supporting_examples(rule, micro_rules) for rule in (*rules.rules, *bench)},
        findings=_by_rule(lint_learned(rules.rules, result.labels, micro_rules)),
        accepted={rule.id: accepted[rule.id, rule.text] for rule in rules.rules if (rule.id, rule.text) in accepted},
        trail_fault=trail_fault,
        flips=flips,
        without_flips=without_flips,
        can_undo=can_undo,
    )


def _state(folder: Path, edits: Sequence[Change]) -> State:
    try:
        signature = read_signature(folder)
        faults = signature_faults(folder) if signature else []
    except PLDError as error:
        return State("void", "The signature cannot be read", [str(error)])
    what = [f"{change.rule_id}: {', '.join(change.what)}" for change in edits]
    if signature and faults:
        return State(
            "void",
            f"Signature void: {signature.by} signed on {signature.when[:10]}, and it has changed since",
            faults + what,
        )
    if signature:
        return State("signed", f"Signed by {signature.by} on {signature.when[:10]}; the signature is valid")
    if edits:
        return State("edited", "Edited, not rechecked", what)
    return State("unchanged", "Unchanged since it was scored; not signed")


def _accepted(folder: Path) -> tuple[dict[tuple[str, str], Entry], str]:
    """Return rule id and text -> the line of the trail in which it was accepted, and what is wrong with the trail."""
    found: dict[tuple[str, str], Entry] = {}
    try:
        entries = read_trail(folder)
    except PLDError as error:
        return found, str(error)
    for entry in entries:
        key: Any = entry.details.get("rule"), entry.details.get("text")
        if entry.what == ACCEPTED:
            found[key] = entry
        elif entry.what == TAKEN_BACK:
            found.pop(key, None)
    return found, ""


def _by_rule(findings: Sequence[Finding]) -> dict[str | None, list[Finding]]:
    found: dict[str | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.rule_id].append(finding)
    return found
