"""Programs are called with the examples' own objects, and these are the program's to change."""

import asyncio
import multiprocessing
import sys
from typing import Any, Literal

import dspy
import numpy as np
import pandas as pd
import pytest
from engine import calls
from pydantic import BaseModel
from tasks import INSTRUCTIONS, LABELS, WORDS, Mail, good_rules, mail_evaluator, rule_set, student_lm

from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.compile.inputs import check_inputs
from pld_dspy.errors import DataError
from pld_dspy.explain import match_records
from pld_dspy.ledger.call_program import call_program
from pld_dspy.ledger.content import as_json
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.rules import MicroRule
from pld_dspy.scoring.objective import Objective
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator

TEXTS = [(f"Mail {number} about the {WORDS[label][0]}", label) for number in range(3) for label in LABELS]


class Letter(BaseModel):
    subject: str


class Sorter(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decide = dspy.Predict(Mail)


class BySubject(Sorter):
    def forward(self, mail: Any) -> dspy.Prediction:
        return self.decide(text=mail.subject)


class ByHistory(Sorter):
    def forward(self, mail: dspy.History) -> dspy.Prediction:
        mail.messages.append({"role": "sorter"})
        return self.decide(text=" ".join(one.get("said", "again") for one in mail.messages[:-1]))


class ByUrl(Sorter):
    def forward(self, mail: dspy.Image) -> dspy.Prediction:
        return self.decide(text=mail.url.rpartition("/")[2].replace("_", " "))


class ByArray(Sorter):
    def forward(self, mail: Any) -> dspy.Prediction:
        return self.decide(text=bytes(mail.astype("uint8")).decode())


class Called(Sorter):
    def __call__(self, mail: Letter) -> dspy.Prediction:
        return self.decide(text=mail.subject)


class Waiting(Sorter):
    async def aforward(self, mail: Letter) -> dspy.Prediction:
        await asyncio.sleep(0)
        return await self.decide.acall(text=mail.subject)


KINDS = {
    "pydantic": (BySubject, lambda text: Letter(subject=text)),
    "example": (BySubject, lambda text: dspy.Example(subject=text)),
    "history": (ByHistory, lambda text: dspy.History(messages=[{"said": text}])),
    "image": (ByUrl, lambda text: dspy.Image(url="http://host/" + text.replace(" ", "_"))),
    "array": (ByArray, lambda text: np.frombuffer(text.encode(), dtype="uint8")),
    "own call": (Called, lambda text: Letter(subject=text)),
    "async": (Waiting, lambda text: Letter(subject=text)),
}


def examples(make: Any) -> list[dspy.Example]:
    return [dspy.Example(mail=make(text), label=label).with_inputs("mail") for text, label in TEXTS]


@pytest.mark.parametrize(("kind", "make"), KINDS.values(), ids=KINDS)
def test_the_program_gets_objects_and_a_second_run_finds_its_answers(kind, make, tmp_path):
    lm = student_lm()
    for _ in range(2):
        rows = examples(make)
        context = check_inputs(kind(), trainset=rows[:6], valset=rows[6:])
        evaluator = Evaluator(
            student=context.student, task=context.task, ledger=Ledger(tmp_path / "p"), lm=lm, adapter=LabelAdapter()
        )
        for _ in range(2):  # what the program does to its inputs reaches no other call
            rules = rule_set(*good_rules())
            assert evaluator.labels(rules, rows, stage="search") == [label for _, label in TEXTS]
        assert context.texts(rows) == [text for text, _ in TEXTS]
    assert len(calls(lm)) == len(TEXTS)


def test_a_program_with_aforward_alone_runs_where_an_event_loop_runs_already():
    async def labels() -> list[str | None]:
        rows = examples(lambda text: Letter(subject=text))
        evaluator = mail_evaluator(student_lm("home"))
        context = check_inputs(Waiting(), trainset=rows[:6], valset=rows[6:])
        return Evaluator(
            student=Waiting(), task=context.task, ledger=evaluator.ledger, lm=evaluator.lm, adapter=LabelAdapter()
        ).labels(None, rows[:2], stage="baseline")

    assert asyncio.run(labels()) == ["home", "home"]


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked")
def test_a_program_with_aforward_alone_runs_in_a_forked_process_too():
    def call() -> None:
        with dspy.context(lm=student_lm("home"), adapter=LabelAdapter()):
            assert call_program(Waiting(), {"mail": Letter(subject="a mail")}).label == "home"

    call()  # its event loop runs in a thread, which no fork copies
    child = multiprocessing.get_context("fork").Process(target=call)
    child.start()
    child.join(20)
    child.kill()
    assert child.exitcode == 0


def test_a_calibrated_program_with_aforward_alone_can_be_called_both_ways():
    program = Calibrated(Waiting())
    with dspy.context(lm=student_lm("home"), adapter=LabelAdapter()):
        letter = Letter(subject="a mail")
        assert program(mail=letter).label == asyncio.run(program.acall(mail=letter)).label == "home"


def test_metrics_see_the_objects_in_a_trace():
    def gepa(gold, pred, trace=None, pred_name=None, pred_trace=None):
        return dspy.Prediction(score=1.0, feedback="" if trace is None else trace[0][1]["mail"].subject)

    [row, *_] = examples(lambda text: Letter(subject=text))
    program = BySubject()
    said = Objective(metric=gepa).feedback(row, dspy.Prediction(label="spam"), name="decide", predictor=program.decide)
    assert said == TEXTS[0][0]


def test_records_hold_what_can_be_written_and_match_again():
    rows = examples(lambda text: Letter(subject=text))
    task = check_inputs(BySubject(), trainset=rows[:6], valset=rows[6:]).task
    record = MicroRule(
        example_id="x", inputs=as_json(task.arguments(rows[4])), label=rows[4].label, rationale="", rule="r"
    )
    again = MicroRule.model_validate_json(record.model_dump_json())
    assert list(match_records(rows, task, [again])[0]) == [(4, rows[4].label)]


class Noted(dspy.Signature):
    __doc__ = INSTRUCTIONS

    text: str = dspy.InputField()
    note: str | None = dspy.InputField()
    lang: str = dspy.InputField(default="en")
    label: Literal["spam", "work", "home"] = dspy.OutputField()


class Noting(Sorter):
    def forward(self, text: str, note: "str | None", lang: str = "en", *, seen: Any = None) -> dspy.Prediction:
        assert isinstance(lang, str)
        assert note is None or isinstance(note, str)
        return self.decide(text=f"{text} {note} {lang}")


EMPTY = {"None": None, "NaN": float("nan"), "NA": pd.NA, "NaT": pd.NaT}


@pytest.mark.parametrize("empty", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("program", [dspy.Predict(Noted), Noting()], ids=["fields", "parameters"])
def test_inputs_that_the_program_lets_be_empty_may_be(program, empty):
    fields = [{"note": empty, "lang": "de"}, {"note": "n", "lang": empty}, {"lang": "de"}]
    rows = [
        dspy.Example(text=text, label=label, **fields[number % 3]).with_inputs("text", "note", "lang")
        for number, (text, label) in enumerate(TEXTS)
    ]
    context = check_inputs(program, trainset=rows[:6], valset=rows[6:])
    lm = student_lm("home")
    evaluator = Evaluator(student=program, task=context.task, ledger=Ledger(), lm=lm, adapter=LabelAdapter())
    assert evaluator.labels(None, rows, stage="baseline") == ["home"] * 9
    shown = [call.user for call in calls(lm)]
    assert not any("nan" in text.lower() or "NA" in text for text in shown)
    assert "en" in shown[1]
    assert context.reader.text(rows[1]).endswith("en")


def test_other_inputs_may_not_be_empty_nor_all_of_a_row():
    rows = [dspy.Example(text=text, note=None, label=label).with_inputs("text", "note") for text, label in TEXTS]
    rows[1]["text"] = None
    with pytest.raises(DataError, match=r"training row 1 has no value for the input field 'text'. .*Optional"):
        check_inputs(dspy.Predict(Noted), trainset=rows[:6], valset=rows[6:])
    with pytest.raises(DataError, match=r"training row 1 has no value for the input field 'text'"):
        check_inputs(dspy.Predict("text: Optional[str] -> label"), trainset=[one.without("note") for one in rows])


class Unable(Sorter):
    pass


class Mislabelled(Sorter):
    async def forward(self, text: str) -> dspy.Prediction:
        return await self.decide.acall(text=text)


class Renamed(Sorter):
    def forward(self, body: str) -> dspy.Prediction:
        return self.decide(text=body)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (Unable(), "Unable has neither forward nor aforward"),
        (Mislabelled(), "forward of Mislabelled is a coroutine. Rename it aforward"),
        (Renamed(), "inputs are text, and those of the program Renamed are body"),
        (dspy.Predict("body -> label"), "inputs are text, and those of the program Predict are body"),
        (dspy.ChainOfThought("body -> label"), "inputs are text, and those of the program ChainOfThought are body"),
    ],
)
def test_a_program_that_no_call_could_run_is_named_before_the_first(program, said):
    rows = [dspy.Example(text=text, label=label).with_inputs("text") for text, label in TEXTS]
    with pytest.raises(DataError, match=said):
        check_inputs(program, trainset=rows[:6], valset=rows[6:])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda found: found.label, "returned a str, not a dspy.Prediction"),
        (dict, "returned a dict, not a dspy.Prediction"),
        (lambda found: None, "returned a NoneType"),
        (lambda found: dspy.Prediction(category=found.label), "has the fields category, and the label field 'label'"),
    ],
)
def test_a_program_whose_answers_cannot_be_used_is_named_after_one_call(given, said):
    class Odd(Sorter):
        def forward(self, text: str) -> Any:
            return given(self.decide(text=text))

    lm = student_lm()
    evaluator = mail_evaluator(lm)
    rows = [dspy.Example(text=text, label=label).with_inputs("text") for text, label in TEXTS]
    task = check_inputs(Odd(), trainset=rows[:6], valset=rows[6:]).task
    odd = Evaluator(student=Odd(), task=task, ledger=evaluator.ledger, lm=lm, adapter=LabelAdapter())
    with pytest.raises(DataError, match=f"program Odd {said}"):
        odd.check_program(rows[0])
    assert len(calls(lm)) == 1
