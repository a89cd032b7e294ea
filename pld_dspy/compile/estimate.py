"""What a compile costs at most, before the first call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import dspy

from ..explain import match_records
from ..induce.draft import AT_ONCE
from ..induce.induce_config import InduceConfig
from ..ledger.budget import UNCAPPED, Budget, Role
from ..ledger.ledger import Ledger
from ..resolve.diagnosis import MOST_CHARACTERS
from ..search.demonstrations import MOST_TOKENS
from ..search.search_config import LEAST, WHOLE_LISTS, WITH_TEACHER, SearchConfig
from ..task.task import CHARACTERS_PER_TOKEN, Task
from ..teacher.brief import TOKENS as BRIEF_TOKENS
from .auto import expected_rules
from .context import CompileContext

RULE_TOKENS = 40
TEACHER_PROMPT_TOKENS = 500
ANSWER_TOKENS = 120
LABEL_TOKENS = 5
LEAST_PER_RULE = 4  # screening calls
DISAGREE = 0.2  # of the examples, two good rule sets answer about so many differently


class StageEstimate(NamedTuple):
    """Upper bounds for one stage: calls, and tokens of four characters each."""

    role: Role
    stage: str
    calls: int
    tokens_in: int
    tokens_out: int


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Upper bounds for a compile, before the caps of ``budget``; ``money`` is None where a model has no price.

    ``warnings`` say in words what so few calls or examples cannot tell.
    """

    stages: list[StageEstimate]
    money: float | None
    budget: Budget = field(default_factory=Budget)
    warnings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        capped = self.budget.student_calls is not None or self.budget.teacher_calls is not None
        caps = ", with the caps, which end all stages except the test" if capped else ""
        lines = [f"At most {self.student_calls:,} student and {self.teacher_calls:,} teacher calls{caps}."]
        if self.money is not None:
            lines.append(f"At most {self.money:.2f} in the currency of the prices.")
        return "\n".join([*lines, *self.warnings])

    def minutes(self, ledger: Ledger) -> float | None:
        """Return the minutes that the student calls take at most, going by those of the baseline; None without any."""
        known = ledger.spent["student", "baseline"]
        if not known.calls:
            return None
        return self.student_calls * known.call_seconds / known.calls / ledger.threads["student"] / 60

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
    context: CompileContext,
    induce: InduceConfig,
    *,
    frames: bool,
    calibrate: bool,
    budget: Budget,
) -> Estimate:
    """Bound the calls and tokens of a compile from above; calls that are repeated after a failure are not included."""
    task, splits, teacher = context.task, context.splits, context.teacher
    search, resolve = context.search, context.resolve
    rows = context.new or splits.train
    explained = sum(len(task.labels_of(gold)) for gold in task.golds(rows))  # each label by itself
    recorded = len(match_records(rows, task, context.recorded)[0])
    # As many rules as a teacher's clusters or the recorded labels may give: half of the pool in a set on average.
    pool = explained // 4 + len(context.policy.rules)
    train, val, test = (_mean_tokens(task, examples) for examples in (splits.train, splits.val, splits.test))
    demos = min(search.demos * (train + LABEL_TOKENS), MOST_TOKENS + LABEL_TOKENS * search.demos)
    own, rules = len(context.instructions) // CHARACTERS_PER_TOKEN, RULE_TOKENS * pool + demos
    asks = 0 if teacher is None else 1  # without a teacher its stages are listed without calls
    asked = 3 * (len(splits.train) + len(splits.val)) if frames else 0
    stages = [_student("frame", asked, 2 * own + max(train, val))] if frames else []
    stages += [_teacher("explain", asks * (explained - recorded), own + train)]
    if induce.audit == "teacher" and asks:
        stages.append(_teacher("audit", explained, own + train))
    clusters = explained // 2 + len(task.labels)
    brief = own + min(BRIEF_TOKENS, clusters * (RULE_TOKENS + 2 * train))  # each cluster with a note and two inputs
    notes = 2 * RULE_TOKENS  # a note and why
    drafts = 2 * induce.drafts * -(-clusters // AT_ONCE)
    whole = _teacher("induce", asks * drafts, brief + min(explained, 6 * AT_ONCE) * notes, 4 * AT_ONCE * RULE_TOKENS)
    single = _teacher("induce", asks * clusters, brief + 16 * notes)
    stages.append(StageEstimate("teacher", "induce", *(sum(pair) for pair in zip(whole[2:], single[2:], strict=True))))
    pinned = len(splits.val) * bool(context.policy.pinned)  # these alone
    written = (asks or context.source is not None) and not context.new  # by a teacher, in this compile or in its source
    searched = search.most_calls(len(splits.val), whole=WITH_TEACHER if written else WHOLE_LISTS) + pinned
    stages.append(_student("search", searched, own + rules + val))
    if resolve is not None:
        calls = asks * resolve.most_student_calls(train=len(splits.train), val=len(splits.val))
        stages.append(_student("resolve", calls, own + rules + max(train, val)))
        shown = MOST_CHARACTERS // CHARACTERS_PER_TOKEN  # beside the list, the bench and earlier changes
        stages.append(_teacher("resolve", asks * resolve.most_teacher_calls(), brief + 3 * rules + shown))
    if calibrate:
        stages.append(_student("calibrate", 2 * len(splits.train), own + rules + train))
    stages.append(_student("test", 2 * len(splits.test), own + rules + test))
    lms = {"student": context.student_lm, "teacher": teacher and teacher.lm}
    models = {role: getattr(lm, "model", "") for role, lm in lms.items()}
    return Estimate(
        stages=stages,
        money=_money(stages, budget, models),
        budget=budget,
        warnings=_warnings(len(splits.val), expected_rules(task, rows), search, budget),
    )


def _warnings(n: int, rules: int, search: SearchConfig, budget: Budget) -> list[str]:
    """Return what is hopeless about a budget, and how small a difference on ``n`` examples is chance."""
    calls, screened, found = search.most_calls(n), search.screen_calls, []
    if budget.student_calls is not None:
        calls = min(calls, budget.student_calls)
        screened = min(screened, calls - 3 * n)  # what is asked in full before
    if calls < 2 * n:
        found.append(
            f"Hopeless: {calls:,} student calls do not compare a single rule set with the unchanged student on {n:,} "
            f"validation examples. Allow at least {2 * n:,}, and {SearchConfig().most_calls(n):,} for a full search."
        )
    elif search.screen_calls and screened < LEAST_PER_RULE * rules:
        found.append(
            f"Too few calls to tell rules apart: {max(screened, 0):,} that screen about {rules} rules. Allow at least "
            f"{LEAST_PER_RULE * rules:,} (screen_calls), or give auto='light'."
        )
    if n < LEAST:
        found.append(
            f"Only {n} validation examples: rule sets that differ by less than about {2 * math.sqrt(DISAGREE / n):.2f} "
            "cannot be told apart, whatever the calls. Give more of them."
        )
    return found


def _teacher(stage: str, calls: int, prompt: int, answer: int = ANSWER_TOKENS) -> StageEstimate:
    return StageEstimate("teacher", stage, calls, calls * (TEACHER_PROMPT_TOKENS + prompt), calls * answer)


def _student(stage: str, calls: int, prompt: int) -> StageEstimate:
    return StageEstimate("student", stage, calls, calls * prompt, calls * LABEL_TOKENS)


def _mean_tokens(task: Task, examples: Sequence[dspy.Example]) -> int:
    if not examples:
        return 0
    return sum(len(task.text(example)) for example in examples) // len(examples) // CHARACTERS_PER_TOKEN


def _money(stages: Sequence[StageEstimate], budget: Budget, models: dict[str, str]) -> float | None:
    paid = [(models[stage.role], stage) for stage in stages if stage.calls]
    if any(model not in budget.prices for model, _ in paid):
        return None
    return sum(budget.price(model, tokens_in=stage.tokens_in, tokens_out=stage.tokens_out) for model, stage in paid)
