"""Every prompt that the library sends, as DSPy signatures."""

from __future__ import annotations

import re
from typing import Any, Literal, TypeAlias, get_args

import dspy
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

ChangeKind: TypeAlias = Literal["reword", "split", "merge", "add", "retire", "move"]

_MEANT: dict[str, ChangeKind] = {
    "rewrite": "reword",
    "replace": "reword",
    "edit": "reword",
    "change": "reword",
    "combine": "merge",
    "join": "merge",
    "insert": "add",
    "new": "add",
    "remove": "retire",
    "delete": "retire",
    "drop": "retire",
    "reorder": "move",
}
"""What models write for a kind, and mean beyond doubt; also with more words behind it."""

PLACEHOLDERS = ("<sign>", "<label>")
"""How the prompts below write what a teacher is to fill in."""


def is_unfilled(text: str) -> bool:
    """Say whether a teacher's text repeats the form it was given instead of filling it in, as small models do."""
    return any(placeholder in text.casefold() for placeholder in PLACEHOLDERS)


REFUSED = "{task}\n\n(An earlier answer was refused: {reason}. Write one that names a real sign and a label.)"
"""What a teacher reads as the task, where its first answer could not be used."""


class ExplainExample(dspy.Signature):
    """You train a small model by writing instructions for it. You see the task, one example of it and the correct
    label. First say briefly why this label is correct and why the nearest other label is not. Then abstract the
    reasoning into ONE instruction that would help on similar examples: name the sign to look for and the label to
    answer, in one sentence of at most 40 words. Do not mention this example, its names or its numbers."""

    task: str = dspy.InputField(desc="what the small model is asked to do")
    labels: str = dspy.InputField(desc="the labels it may answer")
    example: str = dspy.InputField()
    label: str = dspy.InputField(desc="the correct label of the example")
    rationale: str = dspy.OutputField(desc="one to three sentences")
    rule: str = dspy.OutputField(desc="one instruction: if <sign>, answer <label>")


WORDING_KINDS = {
    "imperative": "if <sign>, answer <label>; at most 20 words",
    "cues": "if the text is about a, b, c or d, answer <label>; 5 to 12 literal words or short phrases, of the same "
    "kind as those in the notes, that speak for this label and no other",
    "contrast": "answer <label> rather than another, nearest one, if ...; at most 30 words",
    "definition": "<label>: what belongs to it, and what does not; at most 40 words",
}
"""Kinds of wordings that a teacher gives -> what each is like. Which kind a student follows, the search finds out."""


class WrittenRule(BaseModel):
    """One rule of a draft, in a wording of each kind."""

    model_config = ConfigDict(frozen=True)

    kinds: tuple[int, ...] = Field(description="numbers of the kinds of examples that it covers")
    imperative: str = Field(default="", description=WORDING_KINDS["imperative"])
    cues: str = Field(default="", description=WORDING_KINDS["cues"])
    contrast: str = Field(default="", description=WORDING_KINDS["contrast"])
    definition: str = Field(default="", description=WORDING_KINDS["definition"])
    reason: str = Field(default="", description="why the rule holds, in one line")

    @field_validator("kinds", mode="before")
    @classmethod
    def _read_loosely(cls, value: Any) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", str(value))]


class WriteRules(dspy.Signature):
    """You train a small model by writing instructions for it. You see the whole task, and notes of all kinds of
    training examples. Write the rules that you would give it, the most decisive first: one per kind of reasoning (kinds
    that overlap share one; every kind is covered), then one for each pair of labels that is most easily confused, which
    covers kinds of both. Each rule covers what is alike but was not seen yet, keeps the exceptions, names the label to
    answer, and comes in four wordings; each stands alone, and is one that a person who knows the task would sign. Where
    a note is marked as a doubtful label, follow the others."""

    task: str = dspy.InputField(desc="what the small model is asked to do, and all kinds of examples")
    labels: str = dspy.InputField(desc="the labels it may answer")
    kinds: list[str] = dspy.InputField(desc="the kinds of examples by number: label, size, notes and why")
    rules: list[WrittenRule] = dspy.OutputField()


class GeneralizeRules(dspy.Signature):
    """You train a small model by writing instructions for it. You see the whole task, and several notes that were each
    drawn from one example with the same kind of reasoning. Write ONE instruction that covers what the notes share and
    what is alike but was not seen yet, keeps their exceptions, leaves alone what the nearest notes of other labels say,
    and names the label to answer. Give it in several wordings of different kinds; each stands alone, and is one that a
    person who knows the task would sign."""

    task: str = dspy.InputField(desc="what the small model is asked to do, and all kinds of examples")
    labels: str = dspy.InputField(desc="the labels it may answer")
    notes: list[str] = dspy.InputField(desc="instructions drawn from single examples, and why; the most typical first")
    near: list[str] = dspy.InputField(desc="the nearest notes of other labels")
    label: str = dspy.InputField(desc="the label that most of the notes answer")
    kinds: list[str] = dspy.InputField(desc="the kind of each wording to give")
    wordings: list[str] = dspy.OutputField(desc="one wording per kind, in this order, each a complete instruction")


class Change(BaseModel):
    """One change to the ordered rules."""

    model_config = ConfigDict(frozen=True)

    kind: ChangeKind | SkipJsonSchema[Literal["unreadable"]]
    ids: tuple[str, ...] = Field(
        default=(),
        description="ids of the rules it concerns. reword, split: one; merge, retire: all; add: the rule that the new "
        "one goes before, none for the end; move: the rule, then the one that it goes before, none for the beginning",
    )
    texts: tuple[str, ...] = Field(
        default=(),
        description="full texts. reword, add: the rule's; merge: the one rule's that replaces them; split: those of "
        "the rules that replace it; retire, move: none",
    )

    @model_validator(mode="before")
    @classmethod
    def _repaired(cls, data: Any) -> Any:
        """Read ``"Rewrite rule"``, one text or id for a list, or ``null`` as meant; anything else is "unreadable"."""
        if not isinstance(data, dict):
            data = {"texts": str(data)}
        kind = (re.findall(r"[a-z]+", str(data.get("kind", "")).casefold()) or [""])[0]
        kind = _MEANT.get(kind, kind)
        ids = data.get("ids") or data.get("rules") or data.get("rule") or data.get("id") or ()
        return {
            "kind": kind if kind in get_args(ChangeKind) else "unreadable",
            "ids": [one.strip() for given in _listed(ids) for one in re.split(r"[,;]", given) if one.strip()],
            "texts": [" ".join(text.split()) for text in _listed(data.get("texts") or data.get("text") or ())],
        }


def _listed(given: Any) -> list[str]:
    """Return the texts, none of them empty, of a list or of a single one."""
    many = given if isinstance(given, (list, tuple)) else [given]
    return [text for text in many if isinstance(text, str) and text.strip()]


class ReviseRules(dspy.Signature):
    """You maintain the ordered rules that a small model follows. Where several rules fit, the earlier one decides, or
    each of them if it may answer several labels. You see its rules, further rules on the bench that it does not
    follow, and examples that it gets wrong under its rules or only just right, the costliest confusions first. Revise
    the list as a whole, by any number of changes together: reword a rule, split one, merge several, add one, retire
    some, or move one; moving a rule from the bench brings it in. They are made one after the other, ids stay valid
    meanwhile, and a merged rule stands where the first of those that it replaces stood. The changes are tried together
    and apart on examples that you do not see, and those stay that help. So name general signs, never these examples,
    their names or their numbers. Every rule is one or two sentences of at most 45 words, stands alone and names the
    label to answer."""

    task: str = dspy.InputField(desc="what the small model is asked to do")
    labels: str = dspy.InputField(desc="the labels it may answer")
    rules: list[str] = dspy.InputField(desc="its rules in order, each after its id")
    bench: list[str] = dspy.InputField(desc="rules that it does not follow, each after its id")
    errors: list[str] = dspy.InputField(desc="what it gets wrong or only just right")
    earlier: list[str] = dspy.InputField(desc="your earlier changes, and what came of them")
    changes: list[Change] = dspy.OutputField(desc="all changes to the list, each complete in itself")


class JudgeExample(dspy.Signature):
    """You check the labels of training examples, some of which are wrong. You see the task and one example without
    its label. Decide it yourself: say briefly what in the example decides, then answer one label. If two labels fit
    equally well, or nothing in the example decides, answer unclear."""

    task: str = dspy.InputField(desc="what has to be decided")
    labels: str = dspy.InputField(desc="the labels to choose from")
    example: str = dspy.InputField()
    reason: str = dspy.OutputField(desc="one sentence")
    answer: str = dspy.OutputField(desc="one of the labels, or unclear")
