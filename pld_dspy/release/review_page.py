"""A finished run under review: what its page shows, and what the forms of the page do to rules.yaml."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from ..audit.lint import Finding, lint_learned
from ..errors import DataError, PLDError
from ..ledger.jsonl import read_jsonl, write_whole
from ..rules import MicroRule, RuleSet, supporting
from ..run.folder import RunFolder
from ..run.result import PLDResult
from .edits import Change, Listed, changes, listed, parse_edits, read_rules, write_edits
from .pages import EXAMPLES_SHOWN, template
from .review_form import Form, StaleForm, edited
from .signature import read_signature, signature_faults
from .trail import ACCEPTED, TAKEN_BACK, Entry, append, read_acceptances, text_digest

if TYPE_CHECKING:
    from .flips import Flips

EDITED = "edited"


@dataclass(frozen=True)
class State:
    """Whether a run's rules are as they were scored and signed; ``name`` is also the style of the bar."""

    name: str  # unchanged, edited, signed or void
    title: str
    reasons: Sequence[str] = ()


class Review:
    """One run under review; several threads may use it.

    Args:
        folder: a finished run.
        by: who accepts rules, for the audit trail.
        find_flips: called with the run's rules; returns what they turned, or None and why that is not known.

    Raises:
        RunError: the run is not finished, or one of its files is damaged.
        DataError: micro_rules.jsonl is damaged.
    """

    def __init__(self, folder: Path, *, by: str, find_flips: Callable[[RuleSet], tuple[Flips | None, str]]) -> None:
        self.folder, self.by, self._run = folder, by, RunFolder(folder)
        self._find_flips = find_flips
        self._flips: dict[str, tuple[Flips | None, str]] = {}  # of the last scored rules, by their digest
        self._before: list[tuple[str, str]] = []  # version after each edit, and what rules.yaml held before it
        self._lock = FileLock(f"{self._run.config}.lock", thread_local=False)  # that of recheck
        self.page(nonce="")

    def page(self, *, nonce: str, message: str = "", typed: Mapping[str, str] | None = None) -> str:
        """Return the page; where rules.yaml cannot be read, it shows the fault and the lines in place of rules.

        Args:
            nonce: lets the page's own style and script run under its Content-Security-Policy.
            message: why a form was not saved.
            typed: the texts of that form by field, to be copied.

        Raises:
            RunError, DataError: as for the constructor.
        """
        result, text = PLDResult.load(self.folder), read_rules(self.folder)
        common = {"name": self.folder.resolve().name, "nonce": nonce, "message": message, "typed": typed or {}}
        try:
            lists = parse_edits(text, result)
        except DataError as error:
            return template("review_fault.html.j2").render(**common, fault=str(error), lines=text.split("\n"))
        digest = result.rules.digest
        found = self._flips.get(digest) or self._find_flips(result.rules)
        self._flips = {digest: found}  # another thread may replace it at once
        flips, without_flips = found
        return template("review.html.j2").render(
            **common,
            **self._of_rules(result, lists),
            folder=shlex.quote(str(self.folder)),
            version=text_digest(text),  # a form names it, so that it never overwrites what it was not made from
            result=result,
            splits=[(name, one) for name, one in (("Test", result.test), ("Validation", result.validation)) if one],
            flips=flips,
            without_flips=without_flips,
            can_undo=self._can_undo(text),
        )

    def post(self, form: Form) -> None:
        """Do what a form asks for: take back the last edit, accept a rule, or what :func:`edited` says.

        Raises:
            StaleForm: rules.yaml is no longer what the form was made from.
            DataError: the edit is not possible; nothing is written.
            RunError: a file cannot be read or written.
        """
        with self._lock:
            text = read_rules(self.folder)
            if form.get("version") != text_digest(text):
                raise StaleForm("rules.yaml was changed elsewhere, in another tab or in an editor.")
            if form.get("do") == "undo":
                if self._can_undo(text):
                    write_whole(self._run.rules, self._before.pop()[1])
                    append(self.folder, EDITED, by=self.by, undone=True)
                return
            result = PLDResult.load(self.folder)
            accepting = {"accept": ACCEPTED, "unaccept": TAKEN_BACK}.get(form.get("do", ""))
            old = parse_edits(text, result)
            new = edited(old, {**form, "do": "save"} if accepting else form)
            if new != old:
                self._before.append((text_digest(write_edits(self.folder, *new)), text))
                append(self.folder, EDITED, by=self.by, rule=form.get("rule"), did=form.get("do") or "save")
            if accepting:
                rule = next(rule for rule in (*new[0].rules, *new[1]) if rule.id == form["rule"])
                append(self.folder, accepting, by=self.by, rule=rule.id, text=rule.text)

    def _of_rules(self, result: PLDResult, lists: Listed) -> dict[str, Any]:
        """Return what the page shows of the rules and the bench, and the state they are in."""
        rules, bench, micro_rules = lists[0].rules, lists[1], []
        if self._run.micro_rules.is_file():
            micro_rules = read_jsonl(self._run.micro_rules, MicroRule)
        edits = changes(listed(result), lists)
        accepted, trail_fault = _accepted(self.folder)
        return {
            "rules": rules,
            "bench": bench,
            "state": _state(self.folder, edits),
            "changed": {change.rule_id: change.what for change in edits},
            "examples": {rule.id: supporting(rule, micro_rules)[:EXAMPLES_SHOWN] for rule in (*rules, *bench)},
            "findings": _by_rule(lint_learned(rules, result.labels, micro_rules)),
            "accepted": {rule.id: accepted[rule.id, rule.text] for rule in rules if (rule.id, rule.text) in accepted},
            "trail_fault": trail_fault,
        }

    def _can_undo(self, text: str) -> bool:
        return bool(self._before) and self._before[-1][0] == text_digest(text)


def _state(folder: Path, edits: Sequence[Change]) -> State:
    try:
        signature = read_signature(folder)
        faults = signature_faults(folder) if signature else []
    except PLDError as error:
        return State("void", "The signature cannot be read", [str(error)])
    what = [*map(str, edits)]
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
    """Return who accepted what, and what is wrong with the trail."""
    try:
        return read_acceptances(folder), ""
    except PLDError as error:
        return {}, str(error)


def _by_rule(findings: Sequence[Finding]) -> dict[str | None, list[Finding]]:
    found: dict[str | None, list[Finding]] = defaultdict(list)
    for finding in findings:
        found[finding.rule_id].append(finding)
    return found
