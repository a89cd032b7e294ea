"""What PLD distils: micro-rules, the rules they generalize to, and the ordered rule set a student follows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from .errors import DataError

DOUBT_MARK = "[doubtful label]"
"""A rationale that begins so says that its author doubts the example's gold label."""

TEACHER, CUES, MICRO_RULE, PATCH, UNKNOWN = "teacher", "cues", "micro-rule", "patch", "unknown"
"""Where a wording came from: a synthesis, the words that set a cluster apart, an example, or a mended error."""
_JOINED = ", "

RULES_OPEN = "<rules>"
RULES_CLOSE = "</rules>"
RULES_LEAD = "Follow these rules. Where several fit, the earlier one decides."
RULES_LEAD_SEVERAL = "Follow these rules. Where several fit, answer the labels of all of them."
"""The lead where an answer may hold several labels."""

# The lead is part of the match: a user's own text may hold the same tags.
_LEADS = "|".join(map(re.escape, (RULES_LEAD, RULES_LEAD_SEVERAL)))
_BLOCK = re.compile(rf"\s*{RULES_OPEN}\n(?:{_LEADS})\n.*?\n{RULES_CLOSE}", re.DOTALL)
_TAG = re.compile(r"<\s*/?\s*rules\s*>", re.IGNORECASE)


class MicroRule(BaseModel):
    """One example's abstraction: the teacher's rationale and one reusable instruction."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    example_id: str
    inputs: dict[str, Any]
    label: str
    rationale: str
    rule: str = Field(min_length=1)

    @property
    def doubtful(self) -> bool:
        """Whether the rationale's author doubted the gold label."""
        return self.rationale.startswith(DOUBT_MARK)


class Rule(BaseModel):
    """One cluster's generalization: one or more wordings of it, and the examples that support it."""

    model_config = ConfigDict(frozen=True)

    id: str
    wordings: tuple[str, ...] = Field(min_length=1)
    chosen: int = Field(default=0, ge=0, description="index of the wording in use")
    labels: tuple[str, ...] = ()
    support: tuple[str, ...] = Field(default=(), description="ids of the training examples behind the rule")
    effect: float | None = Field(default=None, description="estimated change of the objective when included")
    origins: tuple[str, ...] = Field(
        default=(), description="where each wording came from, several origins joined by commas; empty where unknown"
    )

    @model_validator(mode="after")
    def _wordings_fit(self) -> Rule:
        if self.chosen >= len(self.wordings):
            raise ValueError(f"rule {self.id!r} uses wording {self.chosen} but has {len(self.wordings)}")
        if self.origins and len(self.origins) != len(self.wordings):
            raise ValueError(
                f"rule {self.id!r} has {len(self.origins)} origins for {len(self.wordings)} wordings; give one a "
                "wording, or none at all"
            )
        return self

    @property
    def text(self) -> str:
        """The wording in use."""
        return self.wordings[self.chosen]

    def with_wording(self, index: int) -> Rule:
        """Return this rule with wording ``index`` in use."""
        return Rule.model_validate({**self.model_dump(), "chosen": index})

    def wording_from(self, origin: str) -> int | None:
        """Return the number of the first wording that came from ``origin``; None where none did."""
        return next((i for i, named in enumerate(self.origins) if origin in named.split(_JOINED)), None)


class RuleSet(BaseModel):
    """The ordered choice: the rules in a student's instructions, first to last."""

    model_config = ConfigDict(frozen=True)

    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> RuleSet:
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) < len(ids):
            twice = sorted({rule_id for rule_id in ids if ids.count(rule_id) > 1})
            raise ValueError(f"rule ids stand twice: {', '.join(twice)}")
        return self

    def __len__(self) -> int:
        """Return the number of rules."""
        return len(self.rules)

    def render(self, lead: str = RULES_LEAD) -> str:
        """Return the delimited, numbered block for a system prompt, under its lead; empty when there is no rule."""
        if not self.rules:
            return ""
        lines = [f"{number}. {_one_line(rule.text)}" for number, rule in enumerate(self.rules, start=1)]
        return "\n".join([RULES_OPEN, lead, *lines, RULES_CLOSE])

    def instruct(self, instructions: str, lead: str = RULES_LEAD) -> str:
        """Return ``instructions`` word for word with this set's block below, in place of any earlier block."""
        own = strip_rules(instructions)
        return f"{own}\n\n{self.render(lead)}".strip() if self.rules else own

    @property
    def digest(self) -> str:
        """A short content digest: equal for rule sets that render alike."""
        return hashlib.sha256(self.render().encode()).hexdigest()[:16]

    def to_json(self) -> str:
        """Return the set as JSON text."""
        return self.model_dump_json(indent=2)

    @classmethod
    def from_json(cls, text: str) -> RuleSet:
        """Read a set from :meth:`to_json` text.

        Raises:
            DataError: the text is not a rule set.
        """
        return _validated(cls, json.loads, text)

    def to_yaml(self, bench: Sequence[Rule] = ()) -> str:
        """Return the chosen rules in order, then the bench, as YAML that people can read, edit and sign."""
        document = {"rules": [_plain(rule) for rule in self.rules], "bench": [_plain(rule) for rule in bench]}
        return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))

    @classmethod
    def from_yaml(cls, text: str) -> RuleSet:
        """Read the chosen rules of :meth:`to_yaml` text; the bench is left out.

        Raises:
            DataError: the text is not a rule set.
        """
        return _validated(cls, yaml.safe_load, text)


def teacher_draw(number: int) -> str:
    """Return the origin of what a teacher wrote when asked for the ``number``-th time, from 0."""
    return f"{TEACHER} draw {number + 1}" if number else TEACHER


def is_draw(origin: str) -> bool:
    """Return whether an origin is what a teacher wrote, the first time or a later one."""
    return origin == TEACHER or origin.startswith(f"{TEACHER} draw ")


def joined_origins(origins: Iterable[str]) -> str:
    """Return the origins of one wording as one text."""
    return _JOINED.join(origins)


def origins_of(rules: Iterable[Rule]) -> list[str]:
    """Return the known origins of the rules' wordings, each once, as they come."""
    named = (origin for rule in rules for joined in rule.origins for origin in joined.split(_JOINED))
    return [origin for origin in dict.fromkeys(named) if origin != UNKNOWN]


def label_slug(label: str) -> str:
    """Return a label as rule ids begin with it: lower case, with an underscore for all that is no letter or digit."""
    return re.sub(r"\W+", "_", label).strip("_").lower() or "label"


def by_example(rule: Rule, micro_rules: Iterable[MicroRule]) -> dict[str, MicroRule]:
    """Return example id -> its micro-rule: the one for a label of ``rule``, where an example has several labels."""
    fitting_last = sorted(micro_rules, key=lambda one: one.label in rule.labels)
    return {one.example_id: one for one in fitting_last}


def strip_rules(instructions: str) -> str:
    """Return ``instructions`` without the delimited block of rules, if there is one."""
    return _BLOCK.sub("", instructions).strip() if _BLOCK.search(instructions) else instructions


def _one_line(text: str) -> str:
    """One line that cannot end the block, not even by tags that removing a tag would put together."""
    while _TAG.search(text):
        text = _TAG.sub("", text)
    return " ".join(text.split())


def _plain(rule: Rule) -> dict[str, Any]:
    """Order the fields for a reader: the text first; the other wordings only where there are some."""
    row: dict[str, Any] = {"id": rule.id, "text": rule.text, "labels": list(rule.labels)}
    if rule.origins:
        row["origin"] = rule.origins[rule.chosen]
    if rule.effect is not None:
        row["effect"] = round(rule.effect, 4)
    row["support"] = list(rule.support)
    if len(rule.wordings) > 1:
        row["other_wordings"] = [text for i, text in enumerate(rule.wordings) if i != rule.chosen]
    if len(rule.origins) > 1:
        row["other_origins"] = [origin for i, origin in enumerate(rule.origins) if i != rule.chosen]
    return row


def _validated(cls: type[RuleSet], load: Any, text: str) -> RuleSet:
    try:
        document = load(text)
        rules = [_from_plain(row) for row in document["rules"]]
        return cls(rules=tuple(rules))
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise DataError(f"Not a rule set: {error}. It needs a list 'rules' of id and text.") from error


def _from_plain(row: dict[str, Any]) -> Rule:
    if "wordings" in row:
        return Rule.model_validate(row)
    wordings = (row["text"], *row.get("other_wordings", ()))
    origins = (row["origin"], *row.get("other_origins", ())) if "origin" in row else ()
    known = {key: row[key] for key in ("id", "labels", "support", "effect") if key in row}
    # Who adds or removes a wording by hand need not keep the origins: which belongs to which is then unknown.
    return Rule(wordings=wordings, origins=origins if len(origins) == len(wordings) else (), **known)
