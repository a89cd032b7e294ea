"""rules.yaml as people edit it: read and checked, compared with the run's result, and written back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from ..errors import DataError, RunError
from ..ledger.jsonl import write_whole
from ..rules import BY_PEOPLE, FIELDS, PEOPLE, UNKNOWN, Rule, RuleSet, read_yaml
from ..run.folder import RunFolder
from ..run.result import PLDResult

Listed: TypeAlias = tuple[RuleSet, tuple[Rule, ...]]
"""The chosen rules in order, and the bench."""

LISTS = ("labels", "support", "other_wordings", "other_origins")


@dataclass(frozen=True)
class Change:
    """What people did to one rule, in words; ``reads`` says whether the student reads another text or order for it."""

    rule_id: str
    labels: tuple[str, ...]
    what: tuple[str, ...]
    reads: bool

    def __str__(self) -> str:
        return f"{self.rule_id}: {', '.join(self.what)}"


def listed(result: PLDResult) -> Listed:
    """Return the rules and the bench of a result."""
    return result.rules, tuple(result.bench)


def read_edits(folder: Path) -> Listed:
    """Return what rules.yaml of a finished run holds now.

    Raises:
        RunError: the run is not finished, or has no rules.yaml.
        DataError: as for :func:`parse_edits`.
    """
    result = PLDResult.load(folder)
    return parse_edits(read_rules(folder), result, source=str(RunFolder(folder).rules))


def read_rules(folder: Path) -> str:
    """Return the text of rules.yaml; RunError where it cannot be read."""
    path = RunFolder(folder).rules
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"Cannot read {path}: {error}. Restore it, in UTF-8.") from error


def write_edits(folder: Path, rules: RuleSet, bench: Sequence[Rule]) -> str:
    """Write rules and bench into rules.yaml of a finished run, for ``recheck`` to score; return its text.

    Raises:
        RunError: the run is not finished.
        DataError: as for :func:`parse_edits`; nothing is written then.
    """
    text = rules.to_yaml(bench)
    parse_edits(text, PLDResult.load(folder))
    write_whole(RunFolder(folder).rules, text)
    return text


def parse_edits(text: str, result: PLDResult, *, source: str = "rules.yaml") -> Listed:
    """Return the rules and the bench in ``text``.

    A wording that people wrote has the origin "people", and a rule that they gave no id one such as "user-rule-1".

    Raises:
        DataError: it is no YAML; a rule has no text, an unknown field or label, or the id of another; it is both
            pinned and banned, banned among the rules, or pinned on the bench.
    """
    document = _document(text, source)
    own_rules = (*result.rules.rules, *result.bench)
    labels = dict.fromkeys([*result.labels, *(label for rule in own_rules for label in rule.labels)])
    for name in ("rules", "bench"):
        for number, row in enumerate(document.get(name, ()), start=1):
            if fault := next(_faults(row, name, [*labels]), None):
                own = f" ({row['id']})" if isinstance(row, dict) and row.get("id") else ""
                raise DataError(f"{source} line {_line(text, name, number)}: {name} {number}{own} {fault}")
    try:
        rules, bench = RuleSet.with_bench_from(document)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    known = {rule.id: rule.wordings for rule in own_rules}
    rules = rules.with_rules(_with_origin(rule, known) for rule in rules.rules)
    return rules, tuple(_with_origin(rule, known) for rule in bench)


def changes(before: Listed, after: Listed) -> list[Change]:
    """Return what people changed, rule by rule; empty where both lists are written the same."""
    if before[0].document(before[1]) == after[0].document(after[1]):
        return []
    old, new = ({rule.id: rule for rule in (*rules.rules, *bench)} for rules, bench in (before, after))
    orders = [[rule.id for rule in rules.rules] for rules, _ in (before, after)]
    common = [[name for name in order if name in other] for order, other in zip(orders, orders[::-1], strict=True)]
    blocks = SequenceMatcher(a=common[0], b=common[1], autojunk=False).get_matching_blocks()
    in_place = {name for block in blocks for name in common[0][block.a : block.a + block.size]}
    found = []
    for name in {**new, **old}:
        was, now = (order.index(name) + 1 if name in order else None for order in orders)
        place = _place(old.get(name), new.get(name), was, now, moved=bool(was and now and name not in in_place))
        texts = _texts(old[name], new[name]) if name in old and name in new else []
        if place or texts:
            reads = bool(was or now) and (bool(place) or (bool(now) and "reworded" in texts))
            found.append(Change(name, (new.get(name) or old[name]).labels, (*place, *texts), reads))
    if before[0].demos != after[0].demos:
        found.append(Change("demos", (), ("demonstrations changed",), reads=True))
    return found or [Change("bench", (), ("order or origins changed",), reads=False)]


def unchecked(folder: Path) -> list[Change]:
    """Return the changes in rules.yaml that were not rechecked; errors as for :func:`read_edits`."""
    return changes(listed(PLDResult.load(folder)), read_edits(folder))


def _document(text: str, source: str) -> dict[str, list[Any]]:
    """Return the lists in rules.yaml."""
    try:
        document = read_yaml(text)
    except ValueError as error:
        raise DataError(f"{source}: {error}") from error
    if not isinstance(document, dict) or not set(document) <= {"rules", "demos", "bench"} or "rules" not in document:
        raise DataError(f"{source} needs a list 'rules', may have the lists 'demos' and 'bench', and nothing else.")
    document = {name: rows or [] for name, rows in document.items()}
    if wrong := [name for name, rows in document.items() if not isinstance(rows, list)]:
        raise DataError(f"{source}: {wrong[0]!r} must be a list.")
    return document


def _place(old: Rule | None, new: Rule | None, was: int | None, now: int | None, *, moved: bool) -> list[str]:
    """Return in words where a rule went; nothing where it stayed."""
    if old is None:
        return [f"added as rule {now}" if now else "added to the bench"]
    if new is None:
        return ["removed" if was else "removed from the bench"]
    if bool(was) != bool(now):
        return [f"taken from the bench as rule {now}" if now else "moved to the bench"]
    return [f"moved from place {was} to {now}"] if moved else []


def _texts(old: Rule, new: Rule) -> list[str]:
    """Return in words what changed in a rule itself."""
    reason = "its reason stays as it was" if old.text != new.text and old.reason == new.reason != "" else ""
    others = [set(rule.wordings) - {rule.text} for rule in (old, new)]
    return [
        *(["reworded"] if old.text != new.text else []),
        *([reason] if reason else []),
        *(f"{name} changed" for name in ("labels", "support", *BY_PEOPLE) if getattr(old, name) != getattr(new, name)),
        *(["other wordings changed"] if others[0] != others[1] else []),
    ]


def _faults(row: Any, place: str, labels: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with a rule of rules.yaml, as the end of a sentence."""
    if not isinstance(row, dict):
        yield "is no rule. Give it an id and a text."
        return
    for name in ("text",) if row.get("id") is None else ("id", "text"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            yield f"has no {name}. Give it one that is not empty, in quotes if it looks like a number."
    if unknown := [str(name) for name in row if name not in FIELDS]:
        yield f"has the unknown field {unknown[0]!r}. A rule may have {', '.join(FIELDS)}."
    for name in LISTS:
        if not isinstance(row.get(name, []), list):
            yield f"has {name} that is no list. Write one, such as [a, b]."
    if wrong := [label for label in row.get("labels", ()) if label not in labels]:
        yield f"has the label {wrong[0]!r}, which is not in the label set ({', '.join(labels)})."
    if row.get("ban") and place == "rules":
        yield "is banned and stands among the rules. Move it to the bench, or take the ban away."
    if row.get("pin") and place == "bench":
        yield "is pinned and stands on the bench. Move it to the rules, or take the pin away."


def _line(text: str, place: str, number: int) -> int:
    """Return the line on which the rule ``number`` of a list begins, counted from 1."""
    root: Any = yaml.compose(text, yaml.SafeLoader)
    rows = {key.value: value for key, value in root.value}[place]
    return int(rows.value[number - 1].start_mark.line) + 1


def _with_origin(rule: Rule, known: dict[str, tuple[str, ...]]) -> Rule:
    if rule.text in known.get(rule.id, ()):
        return rule
    others = (rule.origins or (UNKNOWN,) * len(rule.wordings))[1:]
    return rule.model_copy(update={"origins": (PEOPLE, *others)})
