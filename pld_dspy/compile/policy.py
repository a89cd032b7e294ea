"""What people ask of the rules before a compile: which to pin, to ban, to reword and to add."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import DataError
from ..rules import PEOPLE, Rule, RuleSet, is_cues
from ..search.search_config import Style
from ..task.splits import identity, normalized
from ..task.task import Task

PolicyLike: TypeAlias = RuleSet | Path | str | None
"""What a user may give as rules: a file in the form of rules.yaml, or a rule set."""


@dataclass(frozen=True)
class Policy:
    """The rules that people wrote or edited, in their order."""

    task: Task
    rules: Sequence[Rule] = ()

    @classmethod
    def of(cls, given: PolicyLike, task: Task) -> Policy:
        """Return the policy that a user gave; DataError where it cannot be read or does not fit the task."""
        if given is None:
            return cls(task)
        if not isinstance(given, (RuleSet, Path, str)):
            raise DataError(f"rules is a {type(given).__name__}. Give a RuleSet, or a file in the form of rules.yaml.")
        source = "rules" if isinstance(given, RuleSet) else str(given)
        found = cls(task, given.rules if isinstance(given, RuleSet) else _read(Path(given)))
        if not found.rules:
            raise DataError(f"{source} holds no rule. Write some under 'rules' or 'bench', or leave it out.")
        banned = found.said(found.banned)
        for rule in found.rules:
            if unknown := sorted({*rule.labels} - {*task.labels}):
                raise DataError(
                    f"{source}: the rule {rule.id!r} has the label {unknown[0]!r}, which the task does not have. Give "
                    f"some of {', '.join(task.labels)}, or none: they are then found from the text."
                )
            if rule.pin and normalized(rule.text) in banned:
                raise DataError(f"{source}: the rule {rule.id!r} is pinned, and its text is banned. Leave out one.")
        return found

    @property
    def pinned(self) -> list[Rule]:
        """The rules that are in every set."""
        return [rule for rule in self.rules if rule.pin]

    @property
    def banned(self) -> list[Rule]:
        """The rules that are in none."""
        return [rule for rule in self.rules if rule.ban]

    @staticmethod
    def said(rules: Sequence[Rule]) -> set[str]:
        """Return all wordings of some rules, normalized."""
        return {normalized(text) for rule in rules for text in rule.wordings}

    def pool(self, induced: Sequence[Rule]) -> list[Rule]:
        """Return the rules to choose from: pinned ones in their order, induced ones as edited, then added ones.

        No rule has the id or a wording of a banned one, and no other rule those of a pinned one.
        """
        known = {rule.id: rule for rule in induced}
        merged = {**known, **{rule.id: self._merged(rule, known.get(rule.id)) for rule in self.rules}}
        pinned = [merged[rule.id] for rule in self.pinned]
        settled = self.said([*pinned, *self.banned])
        free = [rule for rule in merged.values() if not rule.pin and not rule.ban]
        return [*pinned, *_with_wordings(free, lambda text, _: normalized(text) not in settled)]

    def _merged(self, given: Rule, induced: Rule | None) -> Rule:
        """Return a rule as people want it, with what they left out taken from the induced rule of the same id.

        It has the induced wordings if its text is one of them; else it was edited, and has its text alone, as a pinned
        rule has. One that was added has all wordings that people gave it.
        """
        base, origin = induced or given, PEOPLE
        if induced is not None:
            origins = dict(zip(map(identity, induced.wordings), induced.origins, strict=True))
            origin = origins.get(identity(given.text), PEOPLE)
        wordings = tuple(dict.fromkeys((given.text, *given.wordings)))[: 1 if induced or given.pin else None]
        kept = induced is not None and origin != PEOPLE and not given.pin
        return Rule(
            id=given.id,
            wordings=base.wordings if kept else wordings,
            origins=base.origins if kept else (origin,) * len(wordings),
            labels=given.labels or base.labels or tuple(self.task.labels_named(given.text)),
            support=given.support or base.support,
            reason=given.reason or base.reason,
            pin=given.pin,
            ban=given.ban,
            comment=given.comment,
        )


def in_style(pool: Sequence[Rule], style: Style) -> list[Rule]:
    """Return the rules in the wordings of a style, without those that have none; what people wrote stays."""

    def fits(_: str, origin: str) -> bool:
        return style == "any" or origin == PEOPLE or is_cues(origin) == (style == "cues")

    return [rule for rule in pool if rule.pin] + _with_wordings([rule for rule in pool if not rule.pin], fits)


def _with_wordings(rules: Sequence[Rule], keep: Callable[[str, str], bool]) -> list[Rule]:
    """Return the rules with those wordings that are to be kept, by text and origin; without any, a rule is left out."""
    pairs = [[pair for pair in zip(rule.wordings, rule.origins, strict=True) if keep(*pair)] for rule in rules]
    return [
        rule.model_copy(update={"wordings": tuple(t for t, _ in kept), "origins": tuple(o for _, o in kept)})
        for rule, kept in zip(rules, pairs, strict=True)
        if kept
    ]


def _read(path: Path) -> list[Rule]:
    """Read rules and bench of a file; DataError where there is none, or it has another form."""
    try:
        text = path.read_text(encoding="utf-8")
        chosen, bench = RuleSet.with_bench_from_yaml(text) if text.strip() else (RuleSet(), ())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"The rules in {path} cannot be read: {error}.") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return [*chosen.rules, *bench]
