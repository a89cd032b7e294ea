"""Frames: what LabelAdapter shows around an example, that programs keep it, and when a compile chooses one."""

import json

import dspy
import pytest
from engine import calls, fn_lm
from tasks import TEST, TRAIN, VAL, WORDS, Mail, Route, compiled, mail_task, pld, student

from pld_dspy.run.folder import RunFolder
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.frames import frames_for, with_frame

REQUEST = "Answer with exactly one label: spam | work | home"


def last_turn(program: dspy.Module, **inputs: str) -> str:
    [(_, predictor)] = program.named_predictors()
    return LabelAdapter().format(predictor.signature, [], inputs)[-1]["content"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("bare", "Hello"), ("question", f"Hello\n\n{REQUEST}"), ("named", f"The text: Hello\n\n{REQUEST}")],
)
def test_a_frame_is_shown_and_saved_as_plain_state(name, shown):
    own = student()
    framed = with_frame(own, mail_task(), frames_for(own, mail_task())[name])
    assert last_turn(framed, text="Hello") == shown
    assert last_turn(own, text="Hello") == "Hello"
    loaded = dspy.Predict(Mail)
    loaded.load_state(json.loads(json.dumps(framed.dump_state())))
    assert last_turn(loaded, text="Hello") == shown


def test_demonstrations_stand_in_the_same_frame():
    own = student()
    framed = with_frame(own, mail_task(), frames_for(own, mail_task())["named"])
    turns = LabelAdapter().format(framed.signature, [{"text": "One", "label": "home"}], {"text": "Two"})
    assert [turn["content"] for turn in turns[1:]] == [
        f"The text: One\n\n{REQUEST}",
        "home",
        f"The text: Two\n\n{REQUEST}",
    ]


def test_prefixes_of_ones_own_are_shown_and_stay():
    signature = Mail.with_updated_fields("label", prefix="Which folder?")
    program = dspy.Predict(signature)
    assert last_turn(program, text="Hello") == "Hello\n\nWhich folder?"
    assert frames_for(program, mail_task()) == {"bare": {}}
    assert last_turn(dspy.Predict(Route), ticket="x") == "x"


def forgetful(needs: str) -> dspy.LM:
    """A student that answers by keyword where the last turn says ``needs``, else "work"."""

    def answer(system: str, user: str) -> str:
        known = next(label for label, words in WORDS.items() if any(word in user for word in words))
        return known if needs in user else "work"

    return fn_lm(answer, model=f"custom/forgetful-{needs}", cache=False)


def test_a_frame_that_pays_is_the_baselines_too_and_comes_back_with_the_program(tmp_path):
    lm = forgetful("exactly one label")
    optimizer = pld(tmp_path, frames=True)
    program = compiled(optimizer, student(lm))
    result = optimizer.result
    assert result.validation.baseline.macro_f1 == 1.0
    assert any(note.startswith("Frame 'question'") for note in result.notes)
    with dspy.context(adapter=LabelAdapter()):
        assert [program(text=one.text).label for one in TEST] == [one.label for one in TEST]
    loaded = dspy.Predict(Mail)
    loaded.load_state(json.loads(RunFolder(tmp_path).program.read_text()))
    assert REQUEST in last_turn(loaded, text="Hello")
    assert last_turn(student(), text="Hello") == "Hello"
    before = len(calls(lm))
    compiled(pld(tmp_path, frames=True), student(lm))
    assert len(calls(lm)) == before


def test_a_frame_that_does_not_pay_is_not_taken(tmp_path):
    lm = forgetful("Mail")  # every example says so
    optimizer = pld(tmp_path, frames=True)
    compiled(optimizer, student(lm))
    assert not any(note.startswith("Frame") for note in optimizer.result.notes)
    assert optimizer.result.costs["student"]["frame"].calls == 3 * (len(TRAIN) + len(VAL)) - len(VAL)


def test_other_adapters_show_no_frames(tmp_path):
    optimizer = pld(tmp_path, frames=True, adapter=dspy.ChatAdapter())
    lm = fn_lm(
        lambda system, user: "[[ ## label ## ]]\nwork\n\n[[ ## completed ## ]]", model="custom/chat", cache=False
    )
    compiled(optimizer, student(lm))
    assert "No frame was chosen: only a LabelAdapter shows frames." in optimizer.result.notes


def test_a_program_with_prefixes_of_its_own_is_not_asked_for_nothing(tmp_path):
    program = dspy.Predict(Mail.with_updated_fields("label", prefix="Which folder?"))
    program.lm = forgetful("Mail")
    optimizer = pld(tmp_path, frames=True)
    compiled(optimizer, program)
    assert "frame" not in optimizer.result.costs["student"]
    assert any("prefixes of its own" in note for note in optimizer.result.notes)
