"""Rules reach the predictor that answers: what cannot be copied is not, and what would keep them out is named."""

import functools
import threading
from typing import Any

import dspy
import pytest
from engine import calls
from tasks import LABELS, TRAIN, Mail, good_rules, rule_set, student_lm

from pld_dspy.errors import DataError
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.task import Task


class Helper:
    def __init__(self, predictor: Any) -> None:
        self.predictor, self.lock = predictor, threading.Lock()

    def run(self, text: str) -> Any:
        with self.lock:
            return self.predictor(text=text)


class Only(Helper):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Only":
        return self


class Sorter(dspy.Module):
    """Decides by ``way``, made from the program when it is built."""

    def __init__(self, way: Any) -> None:
        super().__init__()
        self.decide = dspy.Predict(Mail)
        self.way = way(self)

    def forward(self, text: str) -> dspy.Prediction:
        return self.way(text)


class Remembering(Sorter):
    """Keeps its answers by text."""

    def __init__(self) -> None:
        super().__init__(lambda own: Helper(own.decide).run)
        self.known: dict[str, Any] = {}

    def forward(self, text: str) -> dspy.Prediction:
        if text not in self.known:
            self.known[text] = super().forward(text)
        return self.known[text]


class Renewing(Sorter):
    def forward(self, text: str) -> dspy.Prediction:
        return dspy.Predict(Mail)(text=text)


class Best(Sorter):
    def forward(self, text: str) -> dspy.Prediction:
        return dspy.BestOfN(self.decide, N=1, reward_fn=lambda given, found: 1.0, threshold=1.0)(text=text)


def evaluator(program: dspy.Module) -> Evaluator:
    task = Task.of(program, TRAIN)
    return Evaluator(student=program, task=task, ledger=Ledger(), lm=student_lm(), adapter=LabelAdapter())


RULES = rule_set(*good_rules())

WORKING = {
    "helper": lambda: Sorter(lambda own: Helper(own.decide).run),
    "within helpers": lambda: Sorter(lambda own: Helper(Helper(own.decide).run).run),
    "partial": lambda: Sorter(lambda own: functools.partial(Helper(own.decide).run)),
    "answers kept": Remembering,
    "copies of its own": lambda: Best(lambda own: None),
}


@pytest.mark.parametrize("make", WORKING.values(), ids=WORKING)
def test_rules_take_effect_whatever_holds_the_predictor(make):
    asked, rows = evaluator(make()), TRAIN[:6]
    assert asked.labels(None, rows, stage="baseline") == ["work"] * 6
    assert asked.labels(RULES, rows, stage="search") == [LABELS[row % 3] for row in range(6)]
    assert asked.student.decide.signature is Mail


SHARED = {
    "closure": lambda: Sorter(lambda own: lambda text: own.decide(text=text)),
    "one of a kind": lambda: Sorter(lambda own: Only(own.decide).run),
    "cache": lambda: Sorter(lambda own: functools.lru_cache(Helper(own.decide).run)),
}


@pytest.mark.parametrize("make", SHARED.values(), ids=SHARED)
def test_a_predictor_that_a_copy_would_share_is_named_before_it_is_asked(make):
    asked = evaluator(make())
    with pytest.raises(DataError, match="copy of the program Sorter still calls the original's predictor 'decide'"):
        asked.check_program(TRAIN[0])
    assert calls(asked.lm) == []


def test_a_predictor_made_anew_for_each_call_is_named():
    asked = evaluator(Renewing(lambda own: None))
    assert asked.labels(None, TRAIN[:2], stage="baseline") == ["work", "work"]
    with pytest.raises(DataError, match="Renewing answers with a predictor that it makes while it runs"):
        asked.labels(RULES, TRAIN[:2], stage="search")
