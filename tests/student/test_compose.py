"""Rules go into one predictor of a copy; the student, its Signature class and everything else stay."""

import threading

import dspy
import pytest
from tasks import INSTRUCTIONS, Mail, mail_task, mails, rule, rule_set, student, student_lm

from pld_dspy.errors import DataError
from pld_dspy.rules import RULES_OPEN
from pld_dspy.student.compose import with_rules
from pld_dspy.task.task import Task

RULES = rule_set(rule("a", "winner", "spam"))


class Pipeline(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tidy = dspy.Predict("text -> clean")
        self.sort = dspy.ChainOfThought(Mail)
        self.frozen = dspy.ChainOfThought(Mail)
        self.frozen._compiled = True


def instructions(program: dspy.Module) -> list[str]:
    return [module.signature.instructions for _, module in program.named_sub_modules(dspy.Predict)]


def test_student_and_signature_class_stay_as_they_are():
    program = student()
    instructed = with_rules(program, mail_task(), RULES)
    assert instructed.signature.instructions == RULES.instruct(INSTRUCTIONS)
    assert program.signature is Mail
    assert Mail.instructions == INSTRUCTIONS


def test_one_predictor_of_several_is_instructed():
    program = Pipeline()
    task = Task.of(program, mails(3))
    instructed = with_rules(program, task, RULES)
    assert [RULES_OPEN in text for text in instructions(instructed)] == [
        name.endswith("sort.predict") for name, _ in program.named_sub_modules(dspy.Predict)
    ]
    assert not any(RULES_OPEN in text for text in instructions(program))


def test_none_copies_and_an_empty_set_removes_an_earlier_block():
    once = with_rules(student(), mail_task(), RULES)
    assert with_rules(once, mail_task(), None).signature.instructions == once.signature.instructions
    assert with_rules(once, mail_task(), rule_set()).signature.instructions == INSTRUCTIONS


def test_demos_and_config_come_along_as_copies():
    program = student()
    program.demos, program.config = [dspy.Example(text="t", label="spam")], {"temperature": 0.3}
    copied = with_rules(program, mail_task(), RULES)
    copied.demos.clear()
    copied.config.clear()
    assert (len(program.demos), program.config) == (1, {"temperature": 0.3})


def locked(lm: dspy.LM) -> dspy.Module:
    """A program with an attribute that no deepcopy takes."""
    program = Pipeline()
    program.sort.predict.lm, program.frozen.predict.lm, program.lock = lm, lm, threading.Lock()
    return program


def locked_within(lm: dspy.LM) -> dspy.Module:
    """The same, beside and within what stands in a list."""
    program = dspy.Module()
    program.steps, program.helper = [locked(lm), threading.Lock()], lm
    return program


MADE = {"plain": student, "with a lock": locked, "with locks within": locked_within}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_bound_models_are_shared_and_their_history_is_not_copied(made):
    lm = student_lm()
    program = made(lm)
    copied = with_rules(program, Task.of(program, mails(3)), RULES)
    bound = [module.lm for _, module in copied.named_sub_modules(dspy.Predict) if module.lm is not None]
    assert bound
    assert all(found is lm for found in bound)


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_no_part_of_the_student_is_changed(made):
    program = made(student_lm())
    before = [(id(one), one.signature) for _, one in program.named_sub_modules(dspy.Predict)]
    copied = with_rules(program, Task.of(program, mails(3)), RULES)
    assert any(RULES_OPEN in text for text in instructions(copied))
    assert [(id(one), one.signature) for _, one in program.named_sub_modules(dspy.Predict)] == before


def test_models_that_a_program_holds_beside_its_predictors_are_shared_too():
    program = locked_within(student_lm())
    assert with_rules(program, Task.of(program, mails(3)), RULES).helper is program.helper


class Single(dspy.Predict):
    def __deepcopy__(self, memo):
        return self


class Refusing(dspy.Predict):
    def __deepcopy__(self, memo):
        raise TypeError("there is one of me")


@pytest.mark.parametrize(("kind", "said"), [(Single, "a copy shares 'self'"), (Refusing, "there is one of me")])
def test_a_predictor_that_refuses_to_be_copied_is_never_instructed_in_place(kind, said):
    program = kind(Mail)
    with pytest.raises(DataError, match=f"cannot be copied: .*{said}"):
        with_rules(program, mail_task(), RULES)
    assert program.signature is Mail


def test_an_unknown_predictor_is_named():
    with pytest.raises(DataError, match=r"no predictor 'self'; it has tidy, sort.predict"):
        with_rules(Pipeline(), mail_task(), RULES)
