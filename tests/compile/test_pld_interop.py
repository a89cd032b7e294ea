"""PLD among DSPy's other optimizers, its evaluation and its callbacks, and the recorder it reports to."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.teleprompt import BetterTogether, Teleprompter
from engine import calls
from tasks import INSTRUCTIONS, TEST, TRAIN, VAL, Mail, compiled, mail_teacher, pld, student, student_lm

from pld_dspy.errors import TooManyErrors
from pld_dspy.pld import PLD
from pld_dspy.rules import RULES_OPEN
from pld_dspy.run.tracking import Recorder
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.teacher.signatures import ExplainExample


def right(gold: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> bool:
    return gold.label == pred.label


def test_pld_is_a_teleprompter_of_its_own_whose_parameters_are_all_named():
    assert PLD.__bases__ == (Teleprompter,)
    parameters = inspect.signature(PLD.compile).parameters
    assert {"student", "trainset", "teacher", "valset", "testset", "rationales", "resume"} < set(parameters)
    assert not any(one.kind is one.VAR_KEYWORD for one in parameters.values())


def test_a_step_of_better_together(tmp_path):
    """It hands its teachers on as a list, shuffles the training set, and scores the program that comes back."""
    lm, teacher = student_lm(), mail_teacher()
    taught = dspy.Predict(Mail)
    taught.lm = teacher
    meta = BetterTogether(metric=right, p=pld(tmp_path / "run", teacher=None))
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        result = meta.compile(student(lm), trainset=TRAIN, valset=VAL, teacher=taught, strategy="p")
    assert not result.flag_compilation_error_occurred
    assert [(one["strategy"], one["score"]) for one in result.candidate_programs] == [("p", 100.0), ("", 33.33)]
    assert RULES_OPEN in result.signature.instructions
    assert len(calls(teacher)) >= len(TRAIN)


def test_dspys_own_evaluation_agrees(tmp_path):
    optimizer, lm = pld(tmp_path), student_lm()
    program = compiled(optimizer, student(lm))
    evaluate = dspy.Evaluate(devset=TEST, metric=right, num_threads=4, display_progress=False)
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        assert evaluate(program).score == 100 * optimizer.result.test.compiled.accuracy


@pytest.mark.parametrize("form", ["lm", "list", "program", "compile"])
def test_teachers_come_in_any_form(tmp_path, form):
    lm = mail_teacher()
    bound = dspy.Predict(ExplainExample)
    bound.set_lm(lm)
    teacher = {"lm": lm, "list": [bound], "program": bound, "compile": None}[form]
    optimizer = pld(tmp_path, teacher=teacher)
    compiled(optimizer, student(student_lm()), teacher=lm if form == "compile" else None)
    assert optimizer.result.costs["teacher"]["explain"].calls == len(TRAIN)
    assert len(calls(lm)) == sum(cost.calls for cost in optimizer.result.costs["teacher"].values())


def test_chain_of_thought_students_are_instructed_and_read_by_their_label(tmp_path):
    optimizer, lm = pld(tmp_path, adapter=dspy.ChatAdapter()), student_lm()
    program = dspy.ChainOfThought(Mail)
    program.set_lm(lm)
    result = compiled(optimizer, program)
    assert optimizer.result.predictor == "predict"
    assert result.predict.signature.instructions.startswith(INSTRUCTIONS)
    assert optimizer.result.test.compiled.macro_f1 == 1.0


class Notes(Recorder):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        self.told.append(("run", name))
        try:
            yield
        except Exception as error:
            self.told.append(("failed", type(error)))
            raise
        self.told.append(("finished",))

    def params(self, values: dict[str, Any]) -> None:
        self.told.append(("params", values))

    def metric(self, name: str, value: float | None, step: int = 0) -> None:
        self.told.append(("metric", name, step, value))

    def artifact(self, path: Path) -> None:
        self.told.append(("artifact" if path.is_file() else "missing", path.name))

    def metrics(self, name: str) -> list[tuple[int, float]]:
        return [one[2:] for one in self.told if one[:2] == ("metric", name)]


def test_the_recorder_is_told_of_every_trial_and_of_the_outcome(tmp_path):
    notes = Notes()
    optimizer = pld(tmp_path / "mine", tracking=notes, search=SearchConfig(screen_calls=24, trials=1, block=12))
    compiled(optimizer, student(student_lm()))
    result = optimizer.result
    assert notes.told[0] == ("run", "mine")
    assert notes.told[1][1]["search_trials"] == 1
    assert notes.told[-1] == ("finished",)
    assert [step for step, _ in notes.metrics("val_estimate")] == list(range(result.counts["trials"]))
    trials = dict(notes.metrics("trial_macro_f1"))
    assert trials[0] == result.validation.baseline.macro_f1
    assert max(trials.values()) == result.validation.compiled.macro_f1
    best = [value for _, value in notes.metrics("val_macro_f1")]
    assert best == sorted(best)
    assert notes.metrics("test_macro_f1_compiled") == [(0, result.test.compiled.macro_f1)]
    for row in result.baselines.rows:
        assert notes.metrics(f"test_macro_f1_{row.name.replace(' ', '_')}") == [(0, row.score.macro_f1)]
    assert notes.metrics("test_macro_f1_classifier")
    assert notes.metrics("count_micro_rules") == [(0, len(TRAIN))]
    seconds = {one[1] for one in notes.told if one[0] == "metric" and one[1].startswith("seconds_")}
    stages = ("baseline", "explain", "audit", "induce", "search", "test", "baselines")
    assert seconds == {f"seconds_{stage}" for stage in stages}
    assert notes.metrics("search_own_code_seconds") == [(0, result.seconds["search_own_code"])]
    assert {one[1] for one in notes.told if one[0] == "artifact"} >= {"rules.yaml", "result.json", "program.json"}
    assert not [one for one in notes.told if one[0] == "missing"]


def test_a_resumed_search_reports_the_best_of_all_its_trials(tmp_path):
    """The first run dies after its best trial; the second must not start from nothing."""

    class Dying(Notes):
        def metric(self, name: str, value: float | None, step: int = 0) -> None:
            if name == "val_estimate" and step == 2:
                raise KeyboardInterrupt
            super().metric(name, value, step)

    with pytest.raises(KeyboardInterrupt):
        compiled(pld(tmp_path, tracking=Dying()), student(student_lm()))
    notes = Notes()
    compiled(pld(tmp_path, tracking=notes), student(student_lm()))
    assert [value for _, value in notes.metrics("val_macro_f1")] == [1.0, 1.0]


def test_the_last_value_of_the_objective_is_that_of_the_chosen_rules(tmp_path):
    """A table of runs shows last values: not those of the last trial, nor of a trial that was not chosen."""
    notes = Notes()
    search = SearchConfig(screen_calls=0, trials=4, alpha=0)
    optimizer = pld(tmp_path, tracking=notes, search=search, objective="accuracy")
    compiled(optimizer, student(student_lm()))
    chosen = optimizer.result.validation.compiled.objective
    values = notes.metrics("val_accuracy")
    assert [step for step, _ in values] == list(range(optimizer.result.counts["trials"] + 1))
    assert values[-1] == max(values) == (len(values) - 1, chosen)
    assert min(value for _, value in notes.metrics("trial_accuracy")[2:]) < chosen


def test_a_compile_that_fails_is_recorded_as_failed(tmp_path):
    notes = Notes()
    broken = dspy.LM("custom/broken", engine=student_lm(lambda text: str(1 / 0)).engine, cache=False)
    with pytest.raises(TooManyErrors, match="division by zero"):
        compiled(pld(tmp_path, tracking=notes, max_errors=2), student(broken))
    assert notes.told[-1] == ("failed", TooManyErrors)
