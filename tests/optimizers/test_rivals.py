"""DSPy's own optimizers in the line-up: they get what PLD gets, find what is there to find, and keep to the budget."""

import pickle
import random
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import dspy
import numpy as np
import pytest
from engine import calls, fn_lm
from sklearn.metrics import f1_score
from tasks import (
    INSTRUCTIONS,
    LABELS,
    WORDS,
    Mail,
    instruction,
    letters,
    mails,
    micro_rules,
    proposing_lm,
    student,
    student_lm,
)

from optimizers import Setting, compile_with
from optimizers.metric import F1Score, feedback_metric, metric_of
from optimizers.prompts import MoreRight
from pld_dspy.student.adapter import LabelAdapter

TRAIN, VAL, TEST = mails(24), mails(12, start=100), mails(30, start=200)
GOOD = "\n".join(instruction(word, label) for label, words in WORDS.items() for word in words)
PROPOSING = ("copro", "mipro", "mipro_instructions", "gepa", "infer_rules")


def setting(*, budget: int = 240, seed: int = 0, **given: Any) -> Setting:
    return Setting(**{"student": student(), **given}, trainset=TRAIN, valset=VAL, budget=budget, seed=seed)


def right(program: dspy.Module) -> float:
    return sum(program(**example.inputs()).label == example.label for example in TEST) / len(TEST)


@pytest.mark.parametrize("name", PROPOSING)
def test_a_good_proposal_is_found_within_the_budget(name: str, tmp_path) -> None:
    lm, teacher, program = student_lm(), proposing_lm(cycle(["Answer home.", GOOD])), student()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        compiled = compile_with(name, setting(student=program, teacher=teacher, folder=tmp_path))
        asked = len(calls(lm))
        assert right(compiled) == 1.0
    assert calls(teacher)
    assert asked <= 1.2 * 240
    assert program.signature is Mail
    assert Mail.instructions.strip() == INSTRUCTIONS.strip()


@pytest.mark.parametrize("name", ["bootstrap_random_search", "infer_rules", "simba"])
def test_a_teacher_answers_for_the_demonstrations(name: str) -> None:
    """The student knows no mail, so that what is demonstrated are the teacher's right answers."""
    teacher = student_lm(lambda user: next(label for label, words in WORDS.items() if any(w in user for w in words)))
    with dspy.context(lm=fn_lm(lambda *_: "none", cache=False), adapter=LabelAdapter()):
        compile_with(name, setting(teacher=teacher))
    assert any(call.answer in LABELS for call in calls(teacher))


def test_gepa_takes_a_proposal_with_more_right_answers() -> None:
    golds, score = ("home", "home", "spam"), metric_of(setting())
    before, after = (
        [score(dspy.Example(label=gold), dspy.Prediction(label=one)) for gold, one in zip(golds, said, strict=True)]
        for said in (("work", "work", "spam"), ("home", "home", "home"))
    )
    assert sum(after) < sum(before), "macro-F1 of three examples says otherwise"
    proposal = SimpleNamespace(subsample_scores_before=before, subsample_scores_after=after)
    assert MoreRight().should_accept(proposal, None)
    proposal.subsample_scores_before = after
    assert not MoreRight().should_accept(proposal, None)


def test_infer_rules_returns_the_last_candidate_as_shipped_and_the_best_when_repaired() -> None:
    found = {}
    for name in ("infer_rules", "infer_rules_as_shipped"):
        teacher = proposing_lm(iter([GOOD, *["Answer home."] * 99]))
        with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
            found[name] = right(compile_with(name, setting(budget=60, teacher=teacher)))
        assert Mail.instructions.strip() == INSTRUCTIONS.strip()
    assert found["infer_rules"] > found["infer_rules_as_shipped"]


def test_demonstrations_are_the_nearest_of_all_labelled_examples() -> None:
    lm, text = student_lm(), "Mail 7 about the garden"
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        compile_with("nearest_few_shot", setting())(text=text)
    texts = [example.text for example in (*TRAIN, *VAL)]
    own, *vectors = letters([f"text: {one}" for one in (text, *texts)])
    closeness = dict(zip(texts, np.array(vectors) @ own, strict=True))
    shown = {said for role, said in calls(lm)[-1].messages[:-1] if role == "user"}
    assert len(shown) == 4
    assert min(closeness[one] for one in shown) >= max(closeness[one] for one in set(texts) - shown) - 1e-6


def test_of_several_draws_the_best_is_taken() -> None:
    def answer(system: str, user: str) -> str:
        right = next((label for label, words in WORDS.items() if any(word in user for word in words)), "work")
        return right if wanted in system else "work"

    wanted, size = "never shown", 8
    with dspy.context(lm=fn_lm(answer, sees_demos=True, cache=False), adapter=LabelAdapter()):
        draws = [compile_with("labelled_few_shot", setting(budget=1, seed=seed)).demos for seed in range(size)]
        first, *others = [{demo["text"] for demo in demos} for demos in draws]
        wanted = min(set.union(*others) - first)  # what a draw must show to make this student good
        best = compile_with("labelled_few_shot", setting(budget=size * len(VAL)))
    assert wanted in {demo["text"] for demo in best.demos}


def test_sums_of_scores_are_macro_f1() -> None:
    chance, score = random.Random(0), metric_of(setting())
    examples = [chance.choice(TEST) for _ in range(40)]
    said = [chance.choice([*LABELS, "none of them"]) for _ in examples]
    scores = [score(example, dspy.Prediction(label=label)) for example, label in zip(examples, said, strict=True)]
    assert [float(one) for one in scores] == [
        float(example.label == label) for example, label in zip(examples, said, strict=True)
    ]
    golds = [example.label for example in examples]
    expected = f1_score(golds, said, labels=LABELS, average="macro")
    assert sum(scores) / len(scores) == pytest.approx(expected)
    assert sum([*scores, 0.0]) / len(scores) == pytest.approx(expected), "a failed call adds nothing"
    copy = pickle.loads(pickle.dumps(sum(scores)))
    assert isinstance(copy, F1Score)
    assert copy.n == 40


def test_other_objectives_count_right_answers() -> None:
    score = metric_of(setting(objective="accuracy"))
    assert type(score(TEST[0], dspy.Prediction(label=TEST[0].label))) is float


def test_feedback_names_the_gold_label_and_the_recorded_reason() -> None:
    reason, *_ = recorded = micro_rules(TRAIN)
    metric = feedback_metric(setting(rationales=recorded))
    wrong = next(label for label in LABELS if label != TRAIN[0].label)
    found = metric(TRAIN[0], dspy.Prediction(label=wrong), None, None, None)
    assert (found.score, found.feedback) == (0.0, f"Wrong: the answer is {TRAIN[0].label!r}. It says so. {reason.rule}")
    assert metric(VAL[0], dspy.Prediction(label=VAL[0].label)).feedback == "Right."
