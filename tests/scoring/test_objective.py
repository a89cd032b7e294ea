"""What can be maximized: figures by name against scikit-learn, a user's own, and DSPy metrics of every form."""

import math
import random

import dspy
import pytest
from engine import calls, fn_lm, sections
from mlflow.utils.validation import _validate_metric_name
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score
from tasks import (
    TEST,
    TRAIN,
    VAL,
    WORDS,
    Route,
    Team,
    compiled,
    keyword,
    mail_task,
    mail_teacher,
    mails,
    micro_rule,
    micro_rules,
    pld,
    student,
    student_lm,
)

from pld_dspy.errors import DataError, RunError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.run.tracking import Recorder
from pld_dspy.scoring.figures import figure
from pld_dspy.scoring.objective import Objective
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.task import Task

LABELS = ("a", "b", "c", "never")


def right(gold: dspy.Example, pred: dspy.Prediction) -> bool:
    return gold.label == pred.label


def scored(gold: dspy.Example, pred: dspy.Prediction) -> dspy.Prediction:
    return dspy.Prediction(score=right(gold, pred), feedback=f"It is {gold.label}.")


class Strict:
    """A metric that is an object, as users write them to hold settings."""

    def __call__(self, gold, pred, trace=None):
        return right(gold, pred)


@pytest.mark.parametrize("seed", range(20))
def test_named_figures_equal_scikit_learns_with_failed_rows(seed):
    rng = random.Random(seed)
    golds = [rng.choice(LABELS[:3]) for _ in range(rng.randint(1, 60))]
    answers = [gold if rng.random() < 0.5 else rng.choice([*LABELS, None]) for gold in golds]
    given = [answer or "" for answer in answers]
    each = f1_score(golds, given, labels=list(LABELS), average=None, zero_division=0)
    weighted = f1_score(golds, given, labels=list(LABELS), average="weighted", zero_division=0)
    expected = {
        "macro_f1": each.mean(),
        "weighted_f1": weighted,
        "accuracy": accuracy_score(golds, given),
        **{f"f1:{label}": value for label, value in zip(LABELS, each, strict=True)},
    }
    assert {name: figure(name, LABELS)(golds, answers, LABELS) for name in expected} == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_balanced_accuracy_equals_scikit_learns():
    golds, answers = ["a", "a", "a", "b", "b", "c"], ["a", "b", "a", "b", None, "never"]
    found = figure("balanced_accuracy", LABELS)(golds, answers, LABELS)
    assert found == pytest.approx(balanced_accuracy_score(golds, [answer or "" for answer in answers]))
    assert found == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)


def test_the_figures_are_not_all_the_same():
    golds, answers = ["a"] * 8 + ["b"] * 2 + ["c"], ["a"] * 8 + ["a", "b", None]
    names = ("macro_f1", "weighted_f1", "accuracy", "balanced_accuracy", "f1:b", "f1:c")
    assert len({round(figure(name, LABELS)(golds, answers, LABELS), 6) for name in names}) == len(names)


def test_a_label_may_hold_a_colon():
    assert figure("f1:a:b", ("a:b", "c"))(["a:b", "c"], ["a:b", None], ("a:b", "c")) == 1.0


def test_an_unknown_label_is_named_with_those_there_are():
    objective = Objective("f1:ham")  # without a label set it cannot be checked
    with pytest.raises(DataError, match=r"objective='f1:ham' .* not in the label set \(spam, work, home\)"):
        objective.check(("spam", "work", "home"))


@pytest.mark.parametrize("objective", ["f1", "f1:", "micro_f1", "F1:spam", "", None, 1])
def test_an_unknown_objective_is_refused_with_those_there_are(objective):
    with pytest.raises(DataError, match=r"is unknown\. Give one of macro_f1, .*f1:LABEL, or a callable"):
        Objective(objective)


def test_an_objective_and_a_metric_are_one_too_many():
    with pytest.raises(DataError, match="not both"):
        Objective("accuracy", right)


@pytest.mark.parametrize("value", [None, "good", math.nan, math.inf, dspy.Prediction(feedback="no score")])
def test_what_is_no_score_is_refused_by_the_name_of_its_source(value):
    def fuzzy(examples, predictions):
        return value

    answers = [dspy.Prediction(label="spam")]
    for objective in (Objective(fuzzy), Objective(metric=fuzzy)):
        with pytest.raises(DataError, match=r"'fuzzy' gave the score (None|'good'|nan|inf)\. Return a bool"):
            objective.value(mail_task(), mails(1), answers)


def test_a_users_own_objective_sees_examples_and_predictions_in_order():
    seen = []

    def first_right(examples, predictions):
        seen.extend(zip(examples, predictions, strict=True))
        return examples[0].label == predictions[0].label

    examples, answers = mails(2), [dspy.Prediction(label="spam"), dspy.Prediction()]
    assert Objective(first_right).value(mail_task(), examples, answers) == 1.0
    assert seen == list(zip(examples, answers, strict=True))


def test_values_are_recorded_under_names_that_mlflow_takes():
    choices = [Objective("f1:C++"), Objective(right), Objective(lambda examples, answers: 0)]
    names = [one.name for one in (*choices, Objective(metric=scored), Objective(metric=Strict()))]
    assert names == ["f1_C__", "right", "_lambda_", "scored", "Strict"]
    for name in names:
        _validate_metric_name(f"val_{name}")


METRICS = {
    "2": right,
    "2, with feedback": scored,
    "3": lambda gold, pred, trace: float(right(gold, pred)),
    "3, default": lambda gold, pred, trace=None: right(gold, pred),
    "5, GEPA": lambda gold, pred, trace, pred_name, pred_trace: scored(gold, pred),
    "5, defaults": lambda gold, pred, trace=None, pred_name=None, pred_trace=None: right(gold, pred),
    "any": lambda *args: right(*args[:2]),
    "an object": Strict(),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_per_example_metric_counts_as_its_mean_and_a_failed_row_as_zero(name):
    examples = mails(4)
    answers = [dspy.Prediction(label=label) for label in ("spam", "work", "spam")]
    assert Objective(metric=METRICS[name]).value(mail_task(), examples, [*answers, dspy.Prediction()]) == 0.5


class Judge(dspy.Module):
    """A metric that is a module, as ``dspy.evaluate.SemanticF1`` is."""

    def forward(self, example, pred, trace=None):
        return scored(example, pred)


def judged(gold, pred, trace=None):
    return scored(gold, pred)


def lenient(gold, pred, least=1.0):
    return right(gold, pred) >= least


def wrapped(*args):
    """What a decorator makes of a metric of three arguments."""
    return judged(*args)


@pytest.mark.parametrize("metric", [Judge(), lenient, wrapped])
def test_a_metric_is_given_no_more_than_it_needs(metric, caplog):
    answers = [dspy.Prediction(label=label) for label in ("spam", "spam")]
    assert Objective(metric=metric).value(mail_task(), mails(2), answers) == 0.5
    assert told(metric) == ("" if metric is lenient else "It is spam.")
    assert caplog.text == ""


@pytest.mark.parametrize("metric", ["accuracy", 0.5, [right]])
def test_what_is_no_metric_is_refused(metric):
    with pytest.raises(DataError, match=r"is no metric\. Give a function, or name a figure with objective="):
        Objective(metric=metric)


def maximized(sign: int):
    """A metric and an objective that have the same names whatever they do."""
    if sign > 0:

        def measure(gold, pred):
            return right(gold, pred)

        def figures(examples, predictions):
            return 1.0
    else:

        def measure(gold, pred):
            return not right(gold, pred)

        def figures(examples, predictions):
            return -1.0

    return measure, figures


def test_an_edited_measure_does_not_meet_old_trials(tmp_path):
    before, after = maximized(1), maximized(-1)
    assert Objective().code == Objective("f1:spam").code == {}
    assert Objective(metric=before[0]).code == Objective(metric=maximized(1)[0]).code
    assert Objective(before[1]).code == Objective(maximized(1)[1]).code
    assert Objective(metric=before[0]).code != Objective(metric=after[0]).code
    assert Objective(before[1]).code != Objective(after[1]).code
    compiled(pld(tmp_path, metric=before[0]), student(student_lm()))
    lm = student_lm()
    with pytest.raises(RunError, match="holds another compile: code differ"):
        compiled(pld(tmp_path, metric=after[0]), student(lm))
    assert calls(lm) == []


def test_code_that_cannot_be_read_goes_by_its_name():
    assert Objective(max).code == {"objective_code": "max"}


@pytest.mark.parametrize("metric", [lambda gold: 1, lambda: 1, lambda a, b, c, d: 1])
def test_a_metric_of_another_shape_is_refused(metric):
    with pytest.raises(DataError, match=r"takes .*Give one that takes"):
        Objective(metric=metric)


def told(metric) -> str:
    answer = dspy.Prediction(label="work")
    return Objective(metric=metric).feedback(mails(1)[0], answer, name="self", predictor=student())


def test_feedback_is_what_a_metric_says_beside_its_score():
    assert told(scored) == "It is spam."
    assert told(lambda gold, pred, trace: scored(gold, pred)) == "It is spam."
    assert told(right) == ""
    assert told(lambda gold, pred: dspy.Prediction(score=0.0)) == ""
    assert told(lambda gold, pred: dspy.Prediction(score=0.0, feedback=None)) == ""


def test_a_metric_that_speaks_to_predictors_only_is_asked_as_gepa_asks():
    """It is given the predictor's name and one step of trace; without a name it gives the score alone."""

    def gepa(gold, pred, trace=None, pred_name=None, pred_trace=None):
        if pred_name is None:
            return float(right(gold, pred))
        ((predictor, inputs, answer),) = pred_trace
        words = f"{pred_name} ({type(predictor).__name__}) made {answer.label} of {inputs['text']!r}"
        return dspy.Prediction(score=0.0, feedback=words)

    assert Objective(metric=gepa).value(mail_task(), mails(1), [dspy.Prediction(label="spam")]) == 1.0
    assert told(gepa) == f"self (Predict) made work of {mails(1)[0].text!r}"


def test_dspys_bootstrapping_mode_is_not_turned_on():
    """A metric of three arguments that is given a trace answers yes or no, and says nothing."""

    def metric(gold, pred, trace=None):
        return right(gold, pred) if trace is not None else scored(gold, pred)

    assert told(metric) == "It is spam."


def test_a_label_that_the_task_does_not_have_is_refused_before_anything_is_done(tmp_path):
    lm = student_lm()
    with pytest.raises(DataError, match=r"objective='f1:ham'.*\(spam, work, home\)"):
        compiled(pld(tmp_path / "run", objective="f1:ham"), student(lm))
    assert calls(lm) == []
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("objective", ["weighted_f1", "balanced_accuracy", "f1:spam"])
def test_a_compile_maximizes_what_it_is_told_to(tmp_path, objective):
    """The rules tell spam alone; mails from home are rare and taken for work, so that the figures differ."""
    optimizer = pld(tmp_path, teacher=None, objective=objective)
    spam = [one for one in TRAIN if one.label == "spam"]
    rare = [one for one in VAL if one.label != "home" or keyword(one) == "garden"]
    compiled(optimizer, student(student_lm()), rationales=micro_rules(spam), valset=rare)
    found = optimizer.result.validation.compiled
    pairs = [(gold, answer) for gold, row in found.confusion.items() for answer, n in row.items() for _ in range(n)]
    golds, answers = zip(*pairs, strict=True)
    assert found.objective == pytest.approx(figure(objective, tuple(WORDS))(golds, answers, tuple(WORDS)))
    assert found.objective != pytest.approx(found.macro_f1)
    assert found.per_label["spam"].f1 == 1.0


def test_values_are_recorded_under_the_name_of_the_metric(tmp_path):
    class Names(Recorder):
        def __init__(self):
            self.seen = set()

        def metric(self, name, value, step=0):
            self.seen.add(name)

    names = Names()
    compiled(pld(tmp_path, metric=scored, tracking=names), student(student_lm()))
    assert {"val_scored", "trial_scored"} < names.seen
    assert "val_macro_f1" not in names.seen


TICKETS = [dspy.Example(ticket=f"Ticket {n}", team=team).with_inputs("ticket") for n, team in enumerate(Team)]


def routing(objective: Objective) -> Evaluator:
    """A student that sends every ticket to billing."""
    return Evaluator(
        student=dspy.Predict(Route),
        task=Task.of(dspy.Predict(Route), TICKETS),
        ledger=Ledger(),
        objective=objective,
        lm=fn_lm(lambda *_: "billing"),
        adapter=LabelAdapter(),
    )


def test_an_enum_answer_comes_to_the_metric_as_the_gold_labels_are_given():
    found = routing(Objective(metric=lambda gold, pred: gold.team is pred.team)).evaluate(None, TICKETS, stage="check")
    assert found.score.objective == 0.5
    as_text = [one.copy(team=one.team.value).with_inputs("ticket") for one in TICKETS]
    found = routing(Objective(metric=lambda gold, pred: gold.team == pred.team)).evaluate(None, as_text, stage="check")
    assert found.score.objective == 0.5


def test_a_failed_call_stays_an_empty_prediction():
    assert not routing(Objective()).predictions(TICKETS[:1], [Answer(outputs=None)])[0].toDict()


def test_answers_are_commented_on_as_those_of_the_deciding_predictor():
    def gepa(gold, pred, trace=None, pred_name=None, pred_trace=None):
        return dspy.Prediction(score=0.0, feedback=f"{pred_name}: {pred.team.name}, not {gold.team.name}")

    for objective, said in ((Objective(metric=gepa), "self: BILLING, not TECH"), (Objective(), "")):
        evaluator = routing(objective)
        assert evaluator.feedback(TICKETS, evaluator.answers(None, TICKETS, stage="check"))[1] == said


def test_what_the_metric_says_of_an_error_is_shown_to_the_teacher(tmp_path):
    """No record tells of dinner, which is taken for work; the metric says whose desk that is."""

    def gepa(gold, pred, trace=None, pred_name=None, pred_trace=None):
        words = f"{pred.label} takes it from the desk of {gold.label}" if pred_name == "self" else "not for you"
        return dspy.Prediction(score=right(gold, pred), feedback=words)

    teacher = mail_teacher({"changes": lambda given: "[]"})
    signs = {**{word: word for words in WORDS.values() for word in words}, "dinner": "garden"}
    misled = [micro_rule(one.id, one.text, one.label, signs[keyword(one)]) for one in TRAIN]
    optimizer = pld(tmp_path, metric=gepa, teacher=teacher, resolve=ResolveConfig(max_rounds=1))
    compiled(optimizer, student(student_lm()), rationales=misled)
    shown = [sections(call.user)["errors"] for call in calls(teacher) if "errors" in sections(call.user)]
    assert shown
    assert all("feedback: " in errors and "not for you" not in errors for errors in shown)
    assert any("takes it from the desk of home" in errors for errors in shown)


class Tagger(dspy.Module):
    """Tells of each tag by a predictor of its own whether it applies."""

    def __init__(self) -> None:
        super().__init__()
        self.spam = dspy.Predict(dspy.Signature("text -> spam: bool", "Is it spam?"))
        self.work = dspy.Predict(dspy.Signature("text -> work: bool", "Is it work?"))

    def forward(self, text: str) -> dspy.Prediction:
        return dspy.Prediction(spam=self.spam(text=text).spam, work=self.work(text=text).work)


def test_several_labels_at_once_are_one_predictor_each_compiled_in_turn(tmp_path):
    data = {
        name: [dspy.Example(text=one.text, spam=one.label == "spam", work=one.label == "work") for one in rows]
        for name, rows in (("trainset", TRAIN), ("valset", VAL), ("testset", TEST))
    }
    data = {name: [one.with_inputs("text") for one in rows] for name, rows in data.items()}
    tagger = Tagger()
    tagger.set_lm(student_lm("False"))
    for tag in ("spam", "work"):
        tagger = pld(tmp_path / tag, target=tag).compile(tagger, **data)
    with dspy.context(adapter=LabelAdapter()):
        told = [tagger(text=one.text) for one in TEST]
    assert [(one.spam, one.work) for one in told] == [(one.label == "spam", one.label == "work") for one in TEST]
