"""A decision whose best rules are known: mail to sort by a keyword, and students, rules and records for it.

The student of :func:`engine.rule_following_lm` obeys ``If the text mentions WORD, answer LABEL.``, so the answers under
any rule set follow from its text.
"""

from __future__ import annotations

import json
import math
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import dspy
import numpy as np
from dspy import lm15
from engine import fn_lm, output_fields, rule_following_lm, rules_in, teacher_lm

from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.pld import PLD
from pld_dspy.rules import MicroRule, Rule, RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.search.space import Candidate
from pld_dspy.search.trials import FinishedTrial
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.task import Task
from pld_dspy.teacher.teacher import Teacher

WORDS = {
    "spam": ("lottery", "winner", "jackpot"),
    "work": ("meeting", "deadline", "invoice"),
    "home": ("dinner", "garden", "laundry"),
}
LABELS = tuple(WORDS)
KEYWORDS = tuple(word for words in WORDS.values() for word in words)
INSTRUCTIONS = 'Sort the mail.\n\nAnswer   with care: {not a variable}, "100%".'


class Mail(dspy.Signature):
    __doc__ = INSTRUCTIONS

    text: str = dspy.InputField()
    label: Literal["spam", "work", "home"] = dspy.OutputField()


class Team(Enum):
    BILLING = "billing"
    TECH = "technical support"


class Route(dspy.Signature):
    """Route the ticket."""

    ticket: str = dspy.InputField()
    team: Team = dspy.OutputField()


def mails(n: int, *, start: int = 0, seed: int = 0) -> list[dspy.Example]:
    """``n`` labelled mails with one keyword each, labels in turn; ``start`` keeps two splits apart."""
    rng = random.Random(f"{seed}-{start}")
    return [
        mail(number, LABELS[number % 3], rng.choice(WORDS[LABELS[number % 3]])) for number in range(start, start + n)
    ]


def mail(number: int, label: str, word: str) -> dspy.Example:
    return dspy.Example(id=f"m{number}", text=f"Mail {number} about the {word}", label=label).with_inputs("text")


def keyword(example: dspy.Example) -> str:
    return str(example.text.split()[-1])


def instruction(words: str, label: str) -> str:
    """A rule that the student obeys."""
    return f"If the text mentions {words}, answer {label}."


def rule(rule_id: str, words: str, label: str, *more: str, support: Sequence[str] = ()) -> Rule:
    """A rule with further wordings that mention ``more`` in place of ``words``."""
    wordings = tuple(instruction(said, label) for said in (words, *more))
    return Rule(id=rule_id, wordings=wordings, labels=(label,), support=tuple(support))


def rule_set(*rules: Rule) -> RuleSet:
    return RuleSet(rules=rules)


def good_rules() -> list[Rule]:
    """One true rule a keyword."""
    return [rule(f"{label}-{word}", word, label) for label, words in WORDS.items() for word in words]


def micro_rules(examples: Sequence[dspy.Example]) -> list[MicroRule]:
    """The record of a teacher who reads the keyword."""
    return [micro_rule(example.id, example.text, example.label, keyword(example)) for example in examples]


def micro_rule(example_id: str, text: str, label: str, word: str, *, rationale: str = "It says so.") -> MicroRule:
    return MicroRule(
        example_id=example_id, inputs={"text": text}, label=label, rationale=rationale, rule=instruction(word, label)
    )


def student_lm(default: str | Callable[[str], str] = "work", **settings: Any) -> dspy.LM:
    """A rule follower outside DSPy's cache, so that every request reaches its engine and its log."""
    return rule_following_lm(default, **{"cache": False, **settings})


LIKING = {"spam": 0.0, "work": 2.5, "home": 0.0}
"""What a student likes to answer, whatever the mail."""


def leaning_lm(
    *, listing: bool = True, skill: float = 1.2, liking: Mapping[str, float] = LIKING, **settings: Any
) -> dspy.LM:
    """A student that half knows the keywords, is pushed by rules, and likes a label too much.

    With ``sees_demos``, demonstrations with the same last word push it further.
    """

    def weights(system: str, user: str) -> dict[str, float]:
        chance, told = random.Random(user), [label for words, label in rules_in(system) if words[0] in user]
        demos = [line.split(" => ") for line in system.splitlines() if " => " in line]
        shown = [label for text, label in demos if text.split()[-1] in user]
        logits = {
            label: chance.gauss(0, 1)
            + liking[label]
            + skill * any(word in user for word in words)
            + (label in told)
            + 2 * (label in shown)
            for label, words in WORDS.items()
        }
        total = sum(math.exp(logit) for logit in logits.values())
        return {label: math.exp(logit) / total for label, logit in logits.items()}

    def answer(system: str, user: str) -> str:
        given = weights(system, user)
        return max(given, key=given.__getitem__)

    def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
        given, own = weights(system, user), answer(system, user)
        top = tuple(lm15.TopLogprob(label, math.log(weight)) for label, weight in given.items())
        return [lm15.TokenLogprob(own, math.log(given[own]), top=top)]

    return fn_lm(answer, model="custom/leaning", cache=False, logprobs=tokens if listing else None, **settings)


def mail_teacher(answers: Mapping[str, Callable[[dict[str, str]], str]] | None = None, **settings: Any) -> dspy.LM:
    """A teacher that names each mail's keyword, outside DSPy's cache."""
    return teacher_lm(answers, keywords=KEYWORDS, **{"cache": False, **settings})


def as_teacher(lm: dspy.LM | None, ledger: Ledger | None = None, **programs: dspy.Module) -> Teacher | None:
    """``lm`` as the teacher of the mail sorter; ``programs`` by stage."""
    if lm is None and not programs:
        return None
    return Teacher(task=INSTRUCTIONS, lm=lm, programs=programs, ledger=ledger or Ledger())


def student(lm: dspy.LM | None = None) -> dspy.Predict:
    """The mail sorter, bound to ``lm`` where given."""
    program = dspy.Predict(Mail)
    program.lm = lm
    return program


def mail_task() -> Task:
    return Task.of(student(), mails(3))


def mail_evaluator(lm: dspy.LM, path: Path | None = None, **ledger: Any) -> Evaluator:
    """The mail sorter on ``lm`` as a function of its rules; ``ledger`` are settings of the ledger."""
    return Evaluator(student=student(), task=mail_task(), ledger=Ledger(path, **ledger), lm=lm, adapter=LabelAdapter())


def finished_trial(candidate: Candidate, rows: Any, correct: Any, logprobs: Any = None, **more: Any) -> FinishedTrial:
    """A screened trial with the given answers; without log-probabilities where None."""
    return FinishedTrial(
        **{"step": 3, "kind": "screen", "rules": None, **more},
        candidate=candidate,
        rows=np.asarray(rows),
        correct=np.asarray(correct),
        logprobs=np.full((len(rows), 1), np.nan) if logprobs is None else logprobs,
    )


TRAIN, VAL, TEST = mails(36), mails(24, start=100), mails(24, start=200)
SEARCH = SearchConfig(screen_calls=0, trials=2)
"""A search of four trials, of which the second, all rules, is right everywhere."""


def pld(folder: Path | None = None, **settings: Any) -> PLD:
    """A quick compile that learns from :func:`mail_teacher`; ``settings`` are those of PLD."""
    given = {"search": SEARCH, "induce": InduceConfig(wordings=1), "num_threads": 1, "teacher_threads": 1}
    given |= {
        "patience": 0.0,
        "run_dir": folder,
        "adapter": LabelAdapter(),
        "teacher": mail_teacher(),
        "tracking": None,
        "embedder": "tfidf",
    }
    return PLD(**{**given, **settings})


def compiled(optimizer: PLD, program: dspy.Module, **data: Any) -> dspy.Module:
    """The mail sorter ``program`` compiled on the splits above; ``data`` are arguments of compile."""
    return optimizer.compile(program, **{"trainset": TRAIN, "valset": VAL, "testset": TEST, **data})


def letters(texts: Sequence[str]) -> np.ndarray:
    """Unit vectors of texts, in place of the sentence encoder, which takes a second."""
    counts = np.array([[text.count(letter) for letter in string.ascii_letters] for text in texts], dtype=float)
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def proposing_lm(texts: Iterator[str]) -> dspy.LM:
    """A teacher whose instructions and rules are the next text; asked as a student, it answers what is rarely right."""

    def answer(system: str, user: str) -> str:
        fields = output_fields(system)
        if not fields:
            return "spam"
        told = next(texts) if any("instruction" in name or "rules" in name for name in fields) else ""
        outputs = {name: "Label:" if "prefix" in name else told or "A task." for name in fields}
        if "JSON object" in system:
            return json.dumps(outputs)
        return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in outputs.items())

    return fn_lm(answer, model="custom/proposing", cache=False)
