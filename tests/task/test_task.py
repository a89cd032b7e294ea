"""The labelled decision: found in a program, and data that does not fit it refused by row."""

import logging
import math
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Optional

import dspy
import numpy as np
import pandas as pd
import pytest
from tasks import Mail, mail, mail_task, mails, student

from pld_dspy.compile.inputs import check_inputs
from pld_dspy.errors import DataError
from pld_dspy.task.checks import check_examples, check_training_labels
from pld_dspy.task.task import Task, cut, example_id


class Team(Enum):
    BILLING = "billing"
    TECH = "tech"


def predict(kind: Any, *, field: str = "label") -> dspy.Predict:
    return dspy.Predict(dspy.Signature({"text": (str, dspy.InputField()), field: (kind, dspy.OutputField())}, "Sort."))


def example(label: Any, **fields: Any) -> dspy.Example:
    return dspy.Example(**{"text": f"about {label}", "label": label, **fields}).with_inputs("text")


class Pipeline(dspy.Module):
    """Two predictors nested in a sub-module and a list; one decides."""

    def __init__(self) -> None:
        super().__init__()
        self.tidy = dspy.Predict("text -> clean")
        self.steps = [dspy.ChainOfThought(Mail)]

    def forward(self, text: str) -> dspy.Prediction:
        return self.steps[0](text=self.tidy(text=text).clean)


@pytest.mark.parametrize(
    ("kind", "golds", "labels"),
    [
        (Literal["spam", "ham", "unseen"], ["ham", "spam"], ("spam", "ham", "unseen")),
        (Literal[3, 1], [1, 3], ("3", "1")),
        (Literal[0.5, 2.0], [0.5, 2.0], ("0.5", "2")),
        (Optional[Literal["spam", "ham"]], ["ham", "spam"], ("spam", "ham")),  # noqa: UP045
        (Team, [Team.TECH, "billing"], ("billing", "tech")),
        (bool, [True, False], ("True", "False")),
        (str, ["spam", "ham", "spam"], ("ham", "spam")),
        (str, [Team.TECH, "billing"], ("billing", "tech")),
        (int, [2, 1, 3], ("1", "2", "3")),
        (int, [np.int64(2), 1.0, np.float32(3)], ("1", "2", "3")),
        (str, [Decimal("1.00"), np.array(-1), 0], ("-1", "0", "1")),
        (float, [1.0, 0], ("0", "1")),
        (bool, [np.bool_(True), False], ("True", "False")),
        (Literal[1, 0], [1.0, np.int64(0)], ("1", "0")),
        (Literal["1", "0"], [1.0, np.int64(0)], ("1", "0")),
        (list[Literal["a", "b"]], [np.array(["b"]), {"a"}, pd.Series(["a", "b"])], ("a", "b")),
    ],
)
def test_the_label_set_comes_from_the_type_else_from_the_gold_labels(kind, golds, labels):
    examples = [example(gold) for gold in golds]
    task = Task.of(predict(kind), examples)
    check_examples(task, examples, split="training")
    assert task.labels == labels
    assert [task.read({"label": task.gold(one)}) for one in examples] == task.golds(examples)


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        (None, "No example has a label in 'label'"),
        (pd.NA, "No example has a label in 'label'"),
        (0.37, "'label' holds 0.37, a float, which is no label"),
        (["a"], r"'label' holds \['a'\], a list, which is no label"),
    ],
)
def test_values_that_can_be_no_labels_are_shown(gold, said):
    with pytest.raises(DataError, match=said):
        Task.of(predict(str), [example(gold)])


def test_ids_of_a_column_with_a_gap_are_those_of_the_file():
    rows = [dspy.Example(mails(1)[0], id=number) for number in (1.0, np.int64(2), math.nan)]
    assert [example_id(one, row) for row, one in enumerate(rows)] == ["1", "2", "row-2"]


def test_answers_are_read_as_labels_or_as_none():
    task = mail_task()
    answers = [{"label": "Spam."}, {"label": "spam or work"}, {"label": None}, {"other": "spam"}, {}, None]
    assert [task.read(answer) for answer in answers] == ["spam", None, None, None, None, None]


def test_the_label_set_of_plain_strings_covers_all_splits():
    assert Task.of(predict(str), [example("b"), example("a"), example("c")]).labels == ("a", "b", "c")


def test_inputs_read_as_one_text():
    pair = dspy.Example(premise="P", hypothesis="H", label="spam").with_inputs("premise", "hypothesis")
    assert mail_task().text(mail(1, "spam", "winner")) == "Mail 1 about the winner"
    assert mail_task().text(pair) == "premise: P\nhypothesis: H"


def test_a_nested_decision_is_found_and_the_rest_is_listed():
    task = Task.of(Pipeline(), mails(3))
    assert (task.predictor, task.label_field, task.untouched) == ("steps[0].predict", "label", ("tidy",))
    assert task.inputs == ("text",)


def several() -> dspy.Module:
    program = dspy.Module()
    program.first, program.second = predict(Literal["spam", "ham"]), predict(Literal["spam", "ham"])
    return program


def test_of_several_predictors_target_names_one():
    examples = [example("spam"), example("ham")]
    with pytest.raises(DataError, match=r"first \(label\), second \(label\).*target='PREDICTOR'"):
        Task.of(several(), examples)
    task = Task.of(several(), examples, target="second")
    assert (task.predictor, task.untouched) == ("second", ("first",))


def test_of_several_output_fields_target_names_one():
    program = dspy.Predict("text -> label: Literal['a', 'b'], tone: Literal['good', 'bad']")
    examples = [example("a", tone="good"), example("b", tone="bad")]
    with pytest.raises(DataError, match="tone"):
        Task.of(program, examples)
    assert Task.of(program, examples, target="tone").labels == ("good", "bad")


def test_a_typed_output_wins_over_a_free_one():
    program = dspy.Predict("text -> rationale, label: Literal['a', 'b']")
    assert Task.of(program, [example("a", rationale="why")]).label_field == "label"


class Pair(Enum):
    FIRST = (1, 2)
    SECOND = (3, 4)


@pytest.mark.parametrize("kind", [Pair, Literal[1, "1"], Pair | None, list[Pair]])
def test_values_that_cannot_be_told_apart_as_text_are_refused_by_their_type(kind):
    golds = [[Pair.FIRST], [Pair.SECOND]] if kind == list[Pair] else [Pair.FIRST, Pair.SECOND]
    with pytest.raises(DataError, match=r"output field 'label' is of type .* cannot be told apart as text"):
        Task.of(predict(kind), [example(gold) for gold in golds])


@pytest.mark.parametrize(("kind", "golds"), [(str, ["spam ", "ham"]), (list[str], [["spam"], ["ham "]])])
def test_blanks_around_a_label_are_refused_since_no_answer_has_them(kind, golds):
    with pytest.raises(DataError, match=r"label '(spam|ham) ' of the output field 'label' begins or ends with a blank"):
        Task.of(predict(kind), [example(gold) for gold in golds])


def test_a_part_marked_as_compiled_is_mentioned():
    program = Pipeline()
    program.steps[0]._compiled = True
    with pytest.raises(DataError, match=r"set _compiled = False to use \['self.steps\[0\].predict'\]"):
        Task.of(program, mails(3))


@pytest.mark.parametrize("target", ["nobody", "text"])
def test_an_unknown_target_is_named(target):
    with pytest.raises(DataError, match=f"under target='{target}'"):
        Task.of(student(), mails(3), target=target)


def test_no_output_named_like_a_label_says_what_there_is():
    with pytest.raises(DataError, match=r"predictors give .*'verdict'.*examples are labelled with \['label'\]"):
        Task.of(predict(str, field="verdict"), mails(3))


def test_an_empty_training_set_is_refused():
    with pytest.raises(DataError, match="training set is empty"):
        Task.of(student(), [])
    with pytest.raises(DataError, match="test set is empty"):
        check_examples(mail_task(), [], split="test")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": "garbage"}, r"the label 'garbage' is not in the label set \(spam, work, home\)"),
        ({"label": "Spam"}, "the label 'Spam' is not in the label set"),
        ({"label": None}, "no value for the label field 'label'"),
        ({"label": " "}, "no value for the label field 'label'"),
        ({"label": ["spam"]}, "label field 'label' is a list, not a single label"),
        ({"label": {"spam": 1}}, "label field 'label' is a dict"),
        ({"label": math.nan}, "no value for the label field 'label'"),
        ({"label": pd.NA}, "no value for the label field 'label'"),
        ({"label": pd.NaT}, "no value for the label field 'label'"),
        ({"text": None}, "no value for the input field 'text'"),
        ({"text": math.nan}, "no value for the input field 'text'"),
        ({"text": "long " * 400}, "about 500 tokens long, more than the student's context of 100"),
    ],
)
def test_an_unusable_row_is_named_with_its_id(change, said):
    examples = mails(3)
    examples[1] = dspy.Example(**{**examples[1].toDict(), **change}).with_inputs("text")
    with pytest.raises(DataError, match=rf"training row 1 \(id 'm1'\).*{said}"):
        check_examples(mail_task(), examples, split="training", context_tokens=100)


def test_a_text_is_as_long_as_what_stands_in_the_context():
    examples = [dspy.Example(mails(1)[0], text="long " * 400).with_inputs("text")]
    check_examples(mail_task(), examples, split="training", context_tokens=100, text=lambda one: one.text[:400])
    with pytest.raises(DataError, match="about 101 tokens long"):
        check_examples(mail_task(), examples, split="training", context_tokens=100, text=lambda one: one.text[:404])


@pytest.mark.parametrize("field", ["text", "label"])
@pytest.mark.parametrize("row", [0, 1])
def test_a_row_without_a_field_is_named(row, field):
    examples = mails(6)
    kept = {name: value for name, value in examples[row].items() if name != field}
    examples[row] = dspy.Example(**kept).with_inputs("text")
    with pytest.raises(DataError, match=rf"training row {row} \(id 'm{row}'\) has no value for .*{field}"):
        prepared(examples)


def test_examples_without_marked_inputs_say_what_to_call():
    with pytest.raises(DataError, match="with_inputs"):
        prepared([dspy.Example(text=f"t{n}", label=label) for n, label in enumerate(["spam", "work"] * 9)])


def test_rows_that_are_no_examples_are_refused():
    with pytest.raises(DataError, match=r"Example 1 is a dict.*dspy.Example"):
        prepared([mails(1)[0], {"text": "t", "label": "spam"}])


def test_ids_that_stand_twice_name_both_rows():
    examples = [example("spam", id=1), example("ham", id=2), example("ham", id="1")]
    with pytest.raises(DataError, match="training rows 0 and 2 have the same id '1'"):
        check_examples(Task.of(predict(str), examples), examples, split="training")


def test_ids_may_be_left_out():
    check_examples(mail_task(), [example("spam"), example("work")], split="test")


def test_one_label_is_nothing_to_decide(caplog):
    with pytest.raises(DataError, match="Every training example has the label 'spam'"):
        check_training_labels(mail_task(), [example("spam"), example("spam", id=2)])
    with caplog.at_level(logging.WARNING):
        check_training_labels(mail_task(), [example("spam"), example("work")])
    assert "No training example has the label ['home']" in caplog.text


def prepared(trainset: list[Any]) -> Any:
    return check_inputs(student(), trainset=trainset)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("short  enough\n", "short enough"),
        ("a dozen of words, and some more", "a dozen of ..."),
        ("\N{CJK UNIFIED IDEOGRAPH-5B57}" * 30, "\N{CJK UNIFIED IDEOGRAPH-5B57}" * 12 + " ..."),
        ("a " + "b" * 30, "a " + "b" * 10 + " ..."),
    ],
)
def test_a_text_is_cut_behind_a_word_if_there_are_words(text, shown):
    assert cut(text, 16) == shown
