"""Rules: micro-rules of single examples, the rules they generalize to, and the ordered set a student follows."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

import yaml
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .errors import DataError

DOUBT_MARK = "[doubtful label]"
"""The beginning of a rationale whose author doubts the example's gold label."""

TEACHER, CUES, MICRO_RULE, PATCH, PEOPLE, UNKNOWN = "teacher", "cues", "micro-rule", "patch", "people", "unknown"
"""Origins of a wording: the teacher, typical words of a cluster, one example, a correction of errors, or people."""

BY_PEOPLE = ("reason", "pin", "ban", "comment")
"""Fields of a rule that people read and write; no model sees them."""

FIELDS = ("id", "text", "labels", *BY_PEOPLE, "origin", "support", "other_wordings", "other_origins")
"""Fields of a rule in rules.yaml."""

RULES_OPEN = "<rules>"
RULES_CLOSE = "</rules>"
RULES_LEAD = "Follow these rules. Where several fit, the earlier one decides."
RULES_LEAD_SEVERAL = "Follow these rules. Where several fit, answer the labels of all of them."

# The first line must match, too: a user's own text may hold the same tags.
_LEADS = "|".join(map(re.escape, (RULES_LEAD, RULES_LEAD_SEVERAL)))
_BLOCK = re.compile(rf"\s*{RULES_OPEN}\n(?:{_LEADS})\n.*?\n{RULES_CLOSE}", re.DOTALL)
_TAG = re.compile(r"<\s*/?\s*rules\s*>", re.IGNORECASE)


class MicroRule(BaseModel):
    """What one example teaches: the teacher's rationale for its label, and one instruction for examples like it."""

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
    """One instruction of a rule set: what micro-rules of one kind say, in one or more wordings."""

    model_config = ConfigDict(frozen=True)

    id: str
    wordings: tuple[str, ...] = Field(min_length=1)
    chosen: int = Field(default=0, ge=0, description="index of the wording in use")
    labels: tuple[str, ...] = ()
    support: tuple[str, ...] = Field(default=(), description="ids of the training examples behind the rule")
    origins: tuple[str, ...] = Field(default=(), description="origin of each wording; empty where unknown")
    reason: str = Field(default="", description="why the rule holds, in one line")
    pin: bool = Field(default=False, description="a person wants the rule as it is, whatever a search finds")
    ban: bool = Field(default=False, description="a person does not want the rule, whatever a search finds")
    comment: str = Field(default="", description="what a person notes about the rule")

    @model_validator(mode="after")
    def _wordings_fit(self) -> Rule:
        if self.chosen >= len(self.wordings):
            raise ValueError(f"rule {self.id!r} uses wording {self.chosen} but has {len(self.wordings)}")
        if self.pin and self.ban:
            raise ValueError(f"rule {self.id!r} has both pin and ban; leave out one")
        if self.origins and len(self.origins) != len(self.wordings):
            raise ValueError(
                f"rule {self.id!r} has {len(self.origins)} origins for {len(self.wordings)} wordings; give one per "
                "wording, or none"
            )
        return self

    @property
    def is_teachers(self) -> bool:
        """Whether a teacher wrote one of its wordings."""
        return any(origin.partition(" ")[0] == TEACHER for origin in self.origins)

    @property
    def text(self) -> str:
        """The wording in use."""
        return self.wordings[self.chosen]

    def with_wording(self, index: int) -> Rule:
        """Return this rule with wording ``index`` in use."""
        return Rule.model_validate({**self.model_dump(), "chosen": index})

    def wording_from(self, origin: str) -> int | None:
        """Return the index of the first wording with this origin; None where there is none."""
        return self.origins.index(origin) if origin in self.origins else None


class Demonstration(BaseModel):
    """A labelled training example that a student sees before each example it decides."""

    model_config = ConfigDict(frozen=True)

    example_id: str
    inputs: dict[str, Any] = Field(description="what the deciding predictor reads, by field")
    label: str


class RuleSet(BaseModel):
    """The rules in a student's instructions, first to last, and the demonstrations below them."""

    model_config = ConfigDict(frozen=True)

    rules: tuple[Rule, ...] = ()
    demos: tuple[Demonstration, ...] = ()

    @model_validator(mode="after")
    def _ids_differ(self) -> RuleSet:
        repeated = sorted(name for name, count in Counter(rule.id for rule in self.rules).items() if count > 1)
        if repeated:
            raise ValueError(f"several rules have the same id: {', '.join(repeated)}")
        return self

    def __len__(self) -> int:
        return len(self.rules)

    def __bool__(self) -> bool:
        return bool(self.rules or self.demos)

    @property
    def shown(self) -> frozenset[str]:
        """Ids of the examples that the student sees as demonstrations."""
        return frozenset(demo.example_id for demo in self.demos)

    def with_rules(self, rules: Iterable[Rule]) -> RuleSet:
        """Return ``rules`` in place of these, with the same demonstrations."""
        return RuleSet(rules=tuple(rules), demos=self.demos)

    def render(self, lead: str = RULES_LEAD) -> str:
        """Return the numbered rules between tags, below the line ``lead``; an empty text when there is no rule."""
        if not self.rules:
            return ""
        lines = [f"{number}. {_one_line(rule.text)}" for number, rule in enumerate(self.rules, start=1)]
        return "\n".join([RULES_OPEN, lead, *lines, RULES_CLOSE])

    def _repr_html_(self) -> str:
        """Return the rules as a numbered list, for notebooks."""
        item = Markup("<li>{} <small>({}: {})</small></li>")
        rows = [item.format(rule.text, rule.id, ", ".join(rule.labels)) for rule in self.rules]
        shown = Markup("<p>{} demonstrations below the rules</p>").format(len(self.demos)) if self.demos else ""
        return Markup("<ol>{}</ol>{}").format(Markup("").join(rows), shown)

    def instruct(self, instructions: str, lead: str = RULES_LEAD) -> str:
        """Return ``instructions`` word for word, with these rules below in place of any earlier block of rules."""
        own = strip_rules(instructions)
        return f"{own}\n\n{self.render(lead)}".strip() if self.rules else own

    @property
    def digest(self) -> str:
        """A short digest of the rendered text, and of the demonstrations if there are any."""
        shown = "".join(f"\n{demo.model_dump_json()}" for demo in self.demos)
        return hashlib.sha256(f"{self.render()}{shown}".encode()).hexdigest()[:16]

    def to_yaml(self, bench: Sequence[Rule] = ()) -> str:
        """Return the rules in order, the demonstrations and the bench as YAML that people can read, edit and sign."""
        return write_yaml(self.document(bench), width=100)

    def document(self, bench: Sequence[Rule] = ()) -> dict[str, Any]:
        """Return the plain values of :meth:`to_yaml`."""
        demos = {"demos": [demo.model_dump() for demo in self.demos]} if self.demos else {}
        return {"rules": [_plain(rule) for rule in self.rules], **demos, "bench": [_plain(rule) for rule in bench]}

    @staticmethod
    def from_yaml(text: str) -> RuleSet:
        """Read the chosen rules of :meth:`to_yaml` text; the bench is left out.

        Raises:
            DataError: the text is not a rule set.
        """
        return RuleSet.with_bench_from_yaml(text)[0]

    @staticmethod
    def with_bench_from_yaml(text: str) -> tuple[RuleSet, tuple[Rule, ...]]:
        """Read the chosen rules and the bench of :meth:`to_yaml` text; DataError as for :meth:`from_yaml`.

        A rule that a person wrote without an id gets one, such as ``user-rule-1``; no induced rule has such an id.
        """
        try:
            document = read_yaml(text)
        except ValueError as error:
            raise DataError(f"Not a rule set: {error}. It needs a list 'rules' of id and text.") from error
        return RuleSet.with_bench_from(document)

    @staticmethod
    def with_bench_from(document: Any) -> tuple[RuleSet, tuple[Rule, ...]]:
        """Return the chosen rules and the bench of a :meth:`document`; DataError as for :meth:`from_yaml`."""
        try:
            listed, benched = document["rules"], document.get("bench") or ()
            taken = {row.get("id") for row in (*listed, *benched)}
            free = (name for number in count(1) if (name := f"user-rule-{number}") not in taken)
            rules = tuple(_from_plain(row, free) for row in listed)
            bench = tuple(_from_plain(row, free) for row in benched)
            chosen = RuleSet(rules=rules, demos=tuple(document.get("demos", ())))
            RuleSet(rules=(*rules, *bench))  # raises where an id stands twice
            return chosen, bench
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            cause = (
                error.errors()[0]["msg"].removeprefix("Value error, ") if isinstance(error, ValidationError) else error
            )
            raise DataError(f"Not a rule set: {cause}. It needs a list 'rules' of id and text.") from error


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a few of them could stand for billions of values, or for a value within itself."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it holds an alias (*name); write the value out")
        return super().compose_node(parent, index)


class _ExactDumper(yaml.SafeDumper):
    """YAML in which a next line (U+0085), which readers take for a line's end, is escaped."""


def _exact(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\x85" in text else None)


_ExactDumper.add_representer(str, _exact)


def write_yaml(document: Any, width: int | None = None) -> str:
    """Return plain values as YAML that people can read, and that :func:`read_yaml` reads back as they are."""
    return str(yaml.dump(document, Dumper=_ExactDumper, sort_keys=False, allow_unicode=True, width=width))


def read_yaml(text: str) -> Any:
    """Return what a YAML file of a run holds, as plain values; ValueError where it is no such YAML, or too deep."""
    try:
        return yaml.load(text, _PlainLoader)  # a safe loader: no tag makes an object or runs code
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:  # the last three of wrong !!tags
        raise ValueError(f"it is no plain YAML: {error}".replace('"<unicode string>", ', "")) from error


def teacher_origin(kind: str, draw: int = 0) -> str:
    """Return the origin of a teacher's wording: its kind, and the number of its draw, counted from 0."""
    return f"{TEACHER} {kind} draw {draw + 1}" if draw else f"{TEACHER} {kind}"


def is_cues(origin: str) -> bool:
    """Whether wordings of this origin are lists of cue words, no sentences."""
    return CUES in origin.split()


def label_slug(label: str) -> str:
    """Return a label as the beginning of a rule id: lower case, letters, digits and underscores only."""
    return re.sub(r"\W+", "_", label).strip("_").lower() or "label"


def supporting(rule: Rule, micro_rules: Iterable[MicroRule]) -> list[MicroRule]:
    """Return the micro-rules of the examples behind a rule, in the order of its support, as far as they are there.

    Of an example with several micro-rules, it is the one for a label of ``rule``.
    """
    same_label_last = sorted(micro_rules, key=lambda item: item.label in rule.labels)
    by_id = {item.example_id: item for item in same_label_last}
    return [by_id[example_id] for example_id in rule.support if example_id in by_id]


def strip_rules(instructions: str) -> str:
    """Return ``instructions`` without the delimited block of rules, if there is one."""
    return _BLOCK.sub("", instructions).strip() if _BLOCK.search(instructions) else instructions


def _one_line(text: str) -> str:
    """Return the text as one line without tags, which could end the block; removing one may complete another."""
    while _TAG.search(text):
        text = _TAG.sub("", text)
    return " ".join(text.split())


def _plain(rule: Rule) -> dict[str, Any]:
    """Return a rule's fields in the order in which people read them: the wording in use before the others."""
    others = [number for number in range(len(rule.wordings)) if number != rule.chosen]
    return {
        "id": rule.id,
        "text": rule.text,
        "labels": list(rule.labels),
        **{name: getattr(rule, name) for name in BY_PEOPLE if getattr(rule, name)},
        **({"origin": rule.origins[rule.chosen]} if rule.origins else {}),
        "support": list(rule.support),
        **({"other_wordings": [rule.wordings[number] for number in others]} if others else {}),
        **({"other_origins": [rule.origins[number] for number in others]} if others and rule.origins else {}),
    }


def _from_plain(row: dict[str, Any], free_ids: Iterator[str]) -> Rule:
    if unknown := [name for name in row if name not in FIELDS]:
        raise ValueError(f"a rule has the unknown field {unknown[0]!r}; there are {', '.join(FIELDS)}")
    wordings = (row["text"], *row.get("other_wordings", ()))
    origins = (row["origin"], *row.get("other_origins", ())) if "origin" in row else ()
    known = {key: row[key] for key in ("labels", "support", *BY_PEOPLE) if key in row}
    known["id"] = next(free_ids) if row.get("id") is None else row["id"]
    # People who add or remove a wording may leave the origins as they are: which belongs to which is then unknown.
    return Rule(wordings=wordings, origins=origins if len(origins) == len(wordings) else (), **known)
