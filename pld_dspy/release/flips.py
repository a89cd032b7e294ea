"""Validation examples that the rules turned right or wrong, each at the rule that it is nearest to; no call is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import dspy

from ..compile.context import CompileContext
from ..errors import BudgetExceeded
from ..ledger.budget import Budget
from ..ledger.ledger import Ledger
from ..local.lm import LocalLM
from ..rules import RuleSet
from ..run.folder import RunFolder
from ..search.applicability import applicability
from ..student.adapter import asking_for_logprobs
from ..student.evaluator import Evaluator


@dataclass(frozen=True)
class Flip:
    """A validation example whose answer is right under only one of two students; a failed call has no answer (None)."""

    text: str
    gold: str
    before: str | None  # the unchanged student's answer
    after: str | None  # the compiled student's

    @property
    def righted(self) -> bool:
        """Whether the compiled student is the one that is right."""
        return self.after == self.gold


Flips: TypeAlias = dict[str | None, list[Flip]]
"""Rule id -> flips; None for those that are near no rule."""


def find_flips(context: CompileContext, run: RunFolder, rules: RuleSet, adapter: dspy.Adapter) -> Flips | None:
    """Return what ``rules`` turned on validation, from the answers in predictions.jsonl; None where some are missing.

    ``adapter`` is the run's; answers that were asked for with log-probabilities are found, too.
    """
    ledger = Ledger(run.predictions, budget=Budget(student_calls=0))
    lm, examples = _same_settings(run.settings()["student"]["lm"]), context.splits.val
    for asking in (asking_for_logprobs(adapter), adapter):
        evaluator = Evaluator(student=context.student, task=context.task, ledger=ledger, lm=lm, adapter=asking)
        with suppress(BudgetExceeded):
            before, after = (evaluator.labels(one, examples, stage="review") for one in (None, rules))
            rows = zip(context.texts(examples), context.task.golds(examples), before, after, strict=True)
            turned = [Flip(*row) for row in rows if (row[1] == row[2]) != (row[1] == row[3])]
            return _by_nearest_rule(context, rules, turned)
    return None


def _same_settings(settings: dict[str, Any]) -> dspy.LM:
    """Return an LM with the settings that answers are stored under; it is connected to nothing."""
    given = {name: value for name, value in settings.items() if name not in ("type", "server")}
    model_type = settings["type"]
    if "server" in settings:
        return LocalLM(context_tokens=0, model_type=model_type, **given)
    return dspy.LM(model_type=model_type, **given)


def _by_nearest_rule(context: CompileContext, rules: RuleSet, flips: Sequence[Flip]) -> Flips:
    """Give each flip to the rule for its old or new label whose supporting examples are nearest to its text."""
    found: Flips = defaultdict(list)
    if not flips or not rules.rules:
        return found
    texts = [flip.text for flip in flips]
    near = applicability(rules.rules, context.texts_by_id, texts, context.plain_embedder)
    labels_of = context.task.labels_of
    for flip, row in zip(flips, near, strict=True):
        labels = {label for answer in (flip.before, flip.after) if answer is not None for label in labels_of(answer)}
        nearness = [value if labels & set(rule.labels) else 0.0 for value, rule in zip(row, rules.rules, strict=True)]
        best = max(range(len(nearness)), key=nearness.__getitem__)
        found[rules.rules[best].id if nearness[best] > 0 else None].append(flip)
    return found
