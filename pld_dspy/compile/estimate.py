"""What a compile will cost at most, before the first call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import dspy

from ..induce.config import InduceConfig
from ..ledger.budget import UNCAPPED, Budget, Role
from ..resolve.config import ResolveConfig
from ..search.config import SearchConfig
from ..task.splits import Splits
from ..task.task import CHARACTERS_PER_TOKEN, Task

RULE_TOKENS = 40
TEACHER_PROMPT_TOKENS = 350
TEACHER_ANSWER_TOKENS = 120
LABEL_TOKENS = 5


@dataclass(frozen=True, kw_only=True)
class StageEstimate:
    """Upper bounds for one stage: calls, and tokens counted as four characters each."""

    role: Role
    stage: str
    calls: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Upper bounds for a compile; ``money`` is None where a model has no price.

    Those of single stages, and of money, are without the caps of ``budget``.
    """

    stages: list[StageEstimate]
    money: float | None
    budget: Budget = field(default_factory=Budget)

    @property
    def student_calls(self) -> int:
        """All student calls, within the cap."""
        return self._within("student")

    @property
    def teacher_calls(self) -> int:
        """All teacher calls, within the cap."""
        return self._within("teacher")

    def _within(self, role: Role) -> int:
        calls = {stage.stage: stage.calls for stage in self.stages if stage.role == role}
        uncapped, cap = calls.pop(UNCAPPED, 0), self.budget.cap(role)
        most = sum(calls.values())
        return uncapped + (most if cap is None else min(most, cap))


def estimate(
    task: Task,
    *,
    instructions: str,
    splits: Splits,
    recorded: int,
    has_teacher: bool,
    induce: InduceConfig,
    search: SearchConfig,
    resolve: ResolveConfig | None = None,
    calibrate: bool = False,
    budget: Budget,
    models: dict[str, str],
) -> Estimate:
    """Bound the calls and tokens of a compile from above.

    Calls that fail or give nothing usable, and are made again, come on top; caps hold for these too.

    Args:
        task: the labelled decision.
        instructions: the student's own.
        splits: the data; the test split may be empty.
        recorded: training examples that need no teacher.
        has_teacher: whether the others are explained and clusters synthesized by a teacher.
        induce: whether the teacher audits labels, and how often it is asked for a synthesis.
        search: its budget.
        resolve: its limits; None where the loop is left out.
        calibrate: whether both students answer the training examples for it.
        budget: caps and prices.
        models: role -> model name, for prices.
    """
    trainset, valset, testset = splits.train, splits.val, splits.test
    explained = sum(len(task.labels_of(gold)) for gold in task.golds(trainset))  # each label by itself
    asked = (explained - recorded) if has_teacher else 0
    audited = explained if has_teacher and induce.audit == "teacher" else 0
    syntheses = induce.draws * (explained // 2 + len(task.labels)) if has_teacher else 0
    # As many rules as a teacher's clusters or the recorded labels may give: half of the pool in a set on average.
    pool = explained // 4 if search.most is None else search.most
    rules = RULE_TOKENS * pool
    own = len(instructions) // CHARACTERS_PER_TOKEN
    val, test, train = (_mean_tokens(task, split) for split in (valset, testset, trainset))
    stages = [
        _teacher("explain", asked, own + train),
        *([_teacher("audit", audited, own + train)] if audited else []),
        _teacher("induce", syntheses, own + 12 * RULE_TOKENS),
        _student("search", search.most_calls(len(valset)), own + rules + val),
        *_resolving(
            resolve,
            asks_teacher=has_teacher,
            train=len(trainset),
            val=len(valset),
            pool=pool,
            prompt=own + rules + val,
        ),
        *([_student("calibrate", 2 * len(trainset), own + rules + train)] if calibrate else []),
        _student("test", 2 * len(testset), own + rules + test),
    ]
    return Estimate(stages=stages, money=_money(stages, budget, models), budget=budget)


def _resolving(
    resolve: ResolveConfig | None, *, asks_teacher: bool, train: int, val: int, pool: int, prompt: int
) -> list[StageEstimate]:
    if resolve is None:
        return []
    return [
        _student("resolve", resolve.most_student_calls(train=train, val=val, rules=pool), prompt),
        _teacher("resolve", resolve.most_teacher_calls() if asks_teacher else 0, prompt + 10 * RULE_TOKENS),
    ]


def _teacher(stage: str, calls: int, prompt: int) -> StageEstimate:
    return StageEstimate(
        role="teacher",
        stage=stage,
        calls=calls,
        tokens_in=calls * (TEACHER_PROMPT_TOKENS + prompt),
        tokens_out=calls * TEACHER_ANSWER_TOKENS,
    )


def _student(stage: str, calls: int, prompt: int) -> StageEstimate:
    return StageEstimate(
        role="student", stage=stage, calls=calls, tokens_in=calls * prompt, tokens_out=calls * LABEL_TOKENS
    )


def _mean_tokens(task: Task, examples: Sequence[dspy.Example]) -> int:
    if not examples:
        return 0
    return sum(len(task.text(example)) for example in examples) // len(examples) // CHARACTERS_PER_TOKEN


def _money(stages: Sequence[StageEstimate], budget: Budget, models: dict[str, str]) -> float | None:
    total = 0.0
    for stage in stages:
        if not stage.calls:
            continue
        price = budget.prices.get(models.get(stage.role, ""))
        if price is None:
            return None
        total += (stage.tokens_in * price[0] + stage.tokens_out * price[1]) / 1e6
    return total
