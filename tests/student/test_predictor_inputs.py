"""What the deciding predictor reads: found on a copy, without a call, and never at the program's expense."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from engine import calls
from tasks import TEST, TRAIN, VAL, Mail, mail, mail_teacher, mails, pld, student_lm

from pld_dspy.compile.context import CompileContext
from pld_dspy.compile.inputs import check_inputs
from pld_dspy.errors import DataError
from pld_dspy.explain import match_records
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.pld import PLD
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import MicroRule
from pld_dspy.student.predictor_inputs import Reader
from pld_dspy.task.task import Task
from programs import contract_nli

LETTER = dspy.Example(
    id="1", letter="Mail 1 about the winner\nand a long rest", sender="Ann", label="spam"
).with_inputs("letter", "sender")
FIRST_LINE = {"text": "Mail 1 about the winner"}


class Decider(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.ChainOfThought(Mail)

    def forward(self, text: str) -> dspy.Prediction:
        return self.answer(text=text)


class FirstLine(dspy.Module):
    """Cuts a letter down, then has a module decide whose predictor is two modules deep."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Decider()
        self.runs: list[str] = []

    def forward(self, letter: str, sender: str) -> dspy.Prediction:
        self.runs.append(letter)
        return self.decide(self.cut(letter))

    def cut(self, letter: str) -> str:
        return letter.splitlines()[0]

    def decide(self, text: str) -> dspy.Prediction:
        return self.inner(text=text)


class Forgiving(FirstLine):
    def decide(self, text: str) -> dspy.Prediction:
        try:
            return self.inner(text=text)
        except Exception:  # noqa: BLE001 - as programs do
            return self.inner(text="a second, blander try")


class Parallel(FirstLine):
    def decide(self, text: str) -> dspy.Prediction:
        return dspy.Parallel(num_threads=2, disable_progress_bar=True)([(self.inner, {"text": text})] * 2)[0]


class Sequential(FirstLine):
    def decide(self, text: str) -> dspy.Prediction:
        return dspy.Parallel(num_threads=1, disable_progress_bar=True)([(self.inner, {"text": text})])[0]


class Async(FirstLine):
    def decide(self, text: str) -> dspy.Prediction:
        async def ask() -> Any:
            return await asyncio.gather(self.inner.answer.acall(text=text))

        return asyncio.run(ask())[0]


class Demanding(FirstLine):
    """Passes the predictor what DSPy takes out of its inputs, and a field that its signature has not."""

    def decide(self, text: str) -> dspy.Prediction:
        return self.inner.answer.predict(text=text, config={"temperature": 1.0}, demos=[], more="unread")


class Summarizing(FirstLine):
    def __init__(self) -> None:
        super().__init__()
        self.summarize = dspy.Predict("letter -> text")

    def cut(self, letter: str) -> str:
        try:
            return str(self.summarize(letter=letter).text)
        except Exception:  # noqa: BLE001 - as programs do
            return "no summary"


class Threaded(Summarizing):
    def cut(self, letter: str) -> str:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(super().cut, letter).result()


class Asking(FirstLine):
    """Asks an LM itself."""

    def __init__(self, lm: dspy.LM) -> None:
        super().__init__()
        self.helper = lm

    def cut(self, letter: str) -> str:
        return str(self.helper(letter))


class Hiding(FirstLine):
    """Asks an LM that it holds where no one looks."""

    def __init__(self, lm: dspy.LM) -> None:
        super().__init__()
        self.ask = lambda text: lm(text)

    def cut(self, letter: str) -> str:
        return str(self.ask(letter))


class Failing(FirstLine):
    def cut(self, letter: str) -> str:
        raise LookupError("the index is down")


class Silent(FirstLine):
    def decide(self, text: str) -> dspy.Prediction:
        return dspy.Prediction(label="spam")


def reader(program: dspy.Module) -> Reader:
    return Reader(program, Task.of(program, [LETTER], target="label"))


@pytest.mark.parametrize("kind", [FirstLine, Forgiving, Parallel, Sequential, Async, Demanding])
def test_the_predictor_reads_what_the_program_passes_it(kind):
    assert reader(kind()).inputs(LETTER) == FIRST_LINE
    assert reader(kind()).text(LETTER) == FIRST_LINE["text"]


def test_a_bare_predictor_reads_the_example_and_is_not_run():
    class Tripwire(dspy.Predict):
        def forward(self, **inputs: Any) -> dspy.Prediction:
            raise AssertionError("it was run")

    program = Tripwire(Mail)
    example = mail(1, "spam", "winner")
    found = Reader(program, Task.of(program, mails(3)))
    assert found.inputs(example) == {"text": "Mail 1 about the winner"}
    assert found.text(example) == "Mail 1 about the winner"


def test_several_inputs_keep_the_order_in_which_they_are_passed():
    class Pair(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decide = dspy.Predict("a, b -> label")

        def forward(self, letter: str, sender: str) -> dspy.Prediction:
            return self.decide(b=sender, a=letter.splitlines()[0])

    assert reader(Pair()).text(LETTER) == "b: Ann\na: Mail 1 about the winner"


def test_each_example_is_run_once_and_on_a_copy():
    program, again = FirstLine(), dspy.Example(**LETTER.toDict()).with_inputs("letter", "sender")
    found = reader(program)
    assert found.inputs(LETTER) is found.inputs(LETTER)
    assert found.inputs(again) == found.inputs(LETTER)
    assert len(found._program.runs) == 2
    assert program.runs == []
    assert "forward" not in vars(program.inner.answer.predict)


@pytest.mark.parametrize("make", [Summarizing, Threaded])
@pytest.mark.parametrize("bound", [True, False])
def test_an_earlier_predictor_makes_the_programs_own_inputs_stand_in(make, bound):
    lm, program = student_lm("work"), make()
    if bound:
        program.summarize.lm = lm
    with dspy.context(lm=lm):
        assert reader(program).inputs(LETTER) == LETTER.inputs().toDict()
    assert calls(lm) == []
    assert program.summarize.lm is (lm if bound else None)


@pytest.mark.parametrize("make", [Asking, Hiding])
def test_an_lm_that_the_program_asks_itself_is_not_called(make):
    lm = student_lm("work")
    assert reader(make(lm)).inputs(LETTER) == LETTER.inputs().toDict()
    assert calls(lm) == []


def test_frozen_parts_call_no_lm_either():
    lm, program = student_lm("work"), Summarizing()
    frozen = Summarizing()
    frozen.summarize.lm, frozen._compiled = lm, True
    program.cut = frozen.cut  # a frozen module's predictors are in no list of DSPy's
    program.frozen = frozen
    assert reader(program).inputs(LETTER) == LETTER.inputs().toDict()
    assert calls(lm) == []


@pytest.mark.parametrize(
    ("kind", "why"), [(Failing, "LookupError: the index is down"), (Silent, "it never calls the predictor")]
)
def test_a_program_that_does_not_get_that_far_reads_its_own_inputs_and_the_log_says_why(kind, why, caplog):
    with caplog.at_level("INFO", logger="pld_dspy.student.predictor_inputs"):
        assert reader(kind()).inputs(LETTER) == LETTER.inputs().toDict()
    assert f"'inner.answer.predict' is taken to get the program's own inputs: {why}" in caplog.text


def test_a_program_with_parts_that_refuse_to_be_copied_is_run_all_the_same():
    program = FirstLine()
    program.lock = threading.Lock()
    assert reader(program).inputs(LETTER) == FIRST_LINE


class Locked(FirstLine):
    """Holds its part in a list, beside what refuses to be copied: DSPy would copy the list, not what is in it."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = [self.inner, threading.Lock()]
        del self.inner

    def decide(self, text: str) -> dspy.Prediction:
        return self.steps[0](text=text)


class Single(dspy.Predict):
    def __deepcopy__(self, memo: dict[int, Any]) -> "Single":
        return self


@pytest.mark.parametrize(("kind", "found"), [(None, FIRST_LINE), (Single, LETTER.inputs().toDict())])
def test_the_programs_own_predictor_is_left_alone(kind, found):
    program = Locked()
    if kind is not None:
        program.steps[0].answer.predict = kind(Mail)
    before = dict(vars(program.steps[0].answer.predict))
    assert reader(program).inputs(LETTER) == found
    assert vars(program.steps[0].answer.predict) == before


def test_callbacks_and_trace_of_the_caller_see_nothing():
    class Counting(BaseCallback):
        started = 0

        def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.started += 1

    class Tracing(FirstLine):
        def cut(self, letter: str) -> str:
            dspy.settings.trace.append("cut")
            return super().cut(letter)

    counting, trace, lm = Counting(), [], student_lm("work")
    with dspy.context(callbacks=[counting], trace=trace, lm=lm):
        assert reader(Tracing()).inputs(LETTER) == FIRST_LINE
        assert dspy.settings.lm is lm
        assert dspy.settings.caller_modules is None
    assert (counting.started, trace) == (0, [])


def test_an_interrupt_is_passed_on():
    class Interrupted(FirstLine):
        def cut(self, letter: str) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader(Interrupted()).inputs(LETTER)


def test_threads_find_the_same():
    found, examples = reader(FirstLine()), [LETTER] * 8
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(found.inputs, examples)) == [FIRST_LINE] * 8


def test_the_contract_reader_reads_the_excerpt_and_the_hypothesis():
    program = contract_nli.ContractReader(words=6)
    contract = "Notices are given in writing.\nThe Recipient shall disclose nothing."
    example = dspy.Example(contract=contract, hypothesis="It may disclose.", relation="Contradiction")
    example = example.with_inputs("contract", "hypothesis")
    assert Reader(program, Task.of(program, [example])).inputs(example) == {
        "excerpt": "The Recipient shall disclose nothing.",
        "hypothesis": "It may disclose.",
    }


class Clipper(dspy.Module):
    """Decides on a letter's first line."""

    def __init__(self, lm: dspy.LM | None = None) -> None:
        super().__init__()
        self.decide = dspy.Predict(Mail)
        self.decide.lm = lm

    def forward(self, letter: str) -> dspy.Prediction:
        return self.decide(text=letter.splitlines()[0])


def letters(short: list[dspy.Example]) -> list[dspy.Example]:
    """Mails with a postscript that nobody is to see, each with its own."""
    return [
        dspy.Example(id=one.id, letter=f"{one.text}\n{f'postscript-{one.id} ' * 20}", label=one.label).with_inputs(
            "letter"
        )
        for one in short
    ]


def prepared(train: list[dspy.Example], val: list[dspy.Example] | None, **given: Any) -> CompileContext:
    return check_inputs(Clipper(), trainset=train, valset=val, teacher=mail_teacher(), **given)


@pytest.fixture(scope="module")
def optimizer(tmp_path_factory: pytest.TempPathFactory) -> PLD:
    useless = {
        "rule": lambda given: f"If the text mentions nothing, answer {given['label']}.",
        "changes": lambda given: "[]",
    }
    return pld(
        tmp_path_factory.mktemp("run"),
        teacher=mail_teacher(useless),
        resolve=ResolveConfig(max_rounds=1),
        context_tokens=20,  # of 4 characters: a first line, not a letter
    )


def test_a_compile_shows_nobody_what_the_predictor_does_not_read(optimizer):
    lm = student_lm("work")
    train, val, test = letters(TRAIN), letters(VAL), letters(TEST)
    optimizer.compile(Clipper(lm), trainset=train, valset=val, testset=test)
    asked = calls(optimizer.teacher)
    assert {stage for stage in ("rationale", "wordings", "changes") for call in asked if stage in call.system} == {
        "rationale",
        "wordings",
        "changes",
    }
    assert "postscript" not in "".join(call.user for call in [*asked, *calls(lm)])


def test_micro_rules_keep_the_programs_own_inputs_and_match_by_them_again(optimizer):
    train = letters(TRAIN)
    optimizer.compile(Clipper(student_lm("work")), trainset=train, valset=letters(VAL), testset=letters(TEST))
    written = read_jsonl(optimizer.run_dir / "micro_rules.jsonl", MicroRule)
    assert [rule.inputs for rule in written] == [one.inputs().toDict() for one in train]
    strangers = [rule.model_copy(update={"example_id": f"other-{rule.example_id}"}) for rule in written]
    matched, unmatched = match_records(train, Task.of(Clipper(), train), strangers)
    assert (len(matched), unmatched) == (len(train), [])


def test_a_first_line_that_exceeds_the_context_is_refused_with_its_row():
    with pytest.raises(DataError, match=r"training row 0 \(id 'm0'\) is about [56] tokens long"):
        prepared(letters(TRAIN), letters(VAL), context_tokens=4)


def test_splits_overlap_by_what_goes_into_the_program():
    same_first_lines = [dspy.Example(one, id=f"v{one.id}") for one in letters(TRAIN)]
    for one in same_first_lines:
        one.letter += "and more"
    again = [one.with_inputs("letter") for one in same_first_lines]
    assert prepared(letters(TRAIN), again).texts(again) == [one.text for one in TRAIN]
    with pytest.raises(DataError, match="m0"):
        prepared(letters(TRAIN), [dspy.Example(letters(TRAIN)[0], id="v").with_inputs("letter")])


def test_of_a_bare_predictor_all_texts_are_those_of_its_examples():
    given = check_inputs(dspy.Predict(Mail), trainset=TRAIN, valset=VAL, teacher=mail_teacher())
    assert given.reads_by_id == {one.id: one.inputs().toDict() for one in TRAIN}
    assert given.texts_by_id == {one.id: given.task.text(one) for one in TRAIN}
    assert given.texts(VAL) == [given.task.text(one) for one in VAL]
