"""A compile over a real connection with faults: what comes out is what would have come out without them."""

import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import Failure, calls, rules_in
from serving import FAULTS, ModelServer, Refusal
from tasks import (
    LABELS,
    SEARCH,
    TEST,
    TRAIN,
    VAL,
    compiled,
    good_rules,
    mail_evaluator,
    mail_teacher,
    micro_rules,
    pld,
    student,
    student_lm,
)

from pld_dspy.errors import TooManyErrors
from pld_dspy.ledger.answer import Answer
from pld_dspy.pld import PLD
from pld_dspy.rules import RuleSet
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import Evaluator

SCREENED = SearchConfig(screen_calls=24, trials=1, block=12)


def follow_rules(system: str, user: str) -> str:
    return next((label for words, label in rules_in(system) if any(word in user for word in words)), "work")


def listed(system: str, user: str) -> dict[str, float]:
    answer = follow_rules(system, user)
    return {label: 0.6 if label == answer else 0.1 + 0.05 * LABELS.index(label) for label in LABELS}


def compile_over(server: ModelServer, folder: Path, **settings: Any) -> PLD:
    given = {"teacher": None, "search": SEARCH, "num_threads": 8, "patience": 60.0, **settings}
    optimizer = pld(folder, **given)
    lm = server.lm(f"openai/{folder.name}", timeout=1.0)  # under another name, nothing is known of what it refuses
    compiled(optimizer, student(lm), rationales=micro_rules(TRAIN), testset=TEST[:6])
    return optimizer


def outcome(optimizer: PLD) -> Any:
    found = optimizer.result
    return found.rules, found.validation, found.test, found.insight


def asked(server: ModelServer, name: str, **ledger: Any) -> tuple[Evaluator, list[list[Answer]]]:
    """The answers to the validation set without rules, with all rules, and with two."""
    given = {"num_threads": 8, "patience": 60.0, **ledger}
    evaluator = mail_evaluator(server.lm(f"openai/{name}", timeout=1.0), **given)
    object.__setattr__(evaluator, "adapter", LabelAdapter(logprobs=True))
    sets = (None, RuleSet(rules=good_rules()), RuleSet(rules=good_rules()[:2]))
    return evaluator, [evaluator.answers(rules, VAL[:12], stage="search") for rules in sets]


def test_a_third_of_all_calls_may_fail():
    with ModelServer(follow_rules, listed=listed) as sound:
        _, expected = asked(sound, "sound")
    with ModelServer(follow_rules, listed=listed, faults=FAULTS, rate=0.3) as faulty:
        evaluator, found = asked(faulty, "faulty", max_errors=0)
    assert [[answer.outputs for answer in each] for each in found] == [[a.outputs for a in each] for each in expected]
    assert len(set(faulty.failed)) > len(FAULTS) / 2
    assert len(sound.bodies) == 3 * 12
    assert evaluator.ledger.total("student").failures == 0


@pytest.mark.long
def test_a_compile_comes_out_alike_with_and_without_faults(tmp_path):
    with ModelServer(follow_rules, listed=listed) as sound:
        expected = outcome(compile_over(sound, tmp_path / "sound-compile", search=SCREENED))
    with ModelServer(follow_rules, listed=listed, faults=FAULTS, rate=0.3) as faulty:
        found = outcome(compile_over(faulty, tmp_path / "faulty-compile", search=SCREENED))
    assert found == expected
    assert len(faulty.bodies) > 1.2 * len(sound.bodies)


def test_a_server_that_dies_is_waited_for_whatever_the_clock_says(tmp_path, monkeypatch):
    real, shift = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + shift[0])
    with ModelServer(follow_rules) as server:

        def die() -> None:
            while len(server.bodies) < 60:
                time.sleep(0.01)
            server.is_down, shift[0] = True, 3600.0  # the clock is set to an hour later, then to an hour before
            time.sleep(1.0)
            server.is_down, shift[0] = False, -3600.0

        threading.Thread(target=die).start()
        result = compile_over(server, tmp_path / "dies", max_errors=0).result
    assert server.failed
    assert result.validation.compiled.failures == 0
    calls_took = [cost.call_seconds for stages in result.costs.values() for cost in stages.values()]
    assert all(0 <= seconds < 600 for seconds in (*result.seconds.values(), *calls_took))


def test_the_wait_has_an_end(tmp_path):
    with ModelServer(follow_rules) as server:
        server.is_down = True
        started = time.monotonic()
        with pytest.raises(TooManyErrors, match=r"calls failed, more than max_errors=3.*server closed connection"):
            compile_over(server, tmp_path / "dead", patience=0.6, max_errors=3)
    assert 0.5 < time.monotonic() - started < 10


REFUSED = {
    "content filter": "The response was filtered due to the prompt triggering content management policy",
    "context": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
}


def refusing(kind: str, *, most_rules: int = -1) -> Refusal:
    """Refuse mail 105 under prompts of more than so many rules."""

    def refuses(body: dict[str, Any]) -> tuple[int, str] | None:
        rules = body["messages"][0]["content"].count("If the text")
        return (400, REFUSED[kind]) if rules > most_rules and "Mail 105 " in body["messages"][-1]["content"] else None

    return refuses


def test_an_example_that_is_always_refused_is_wrong_and_named_and_stops_nothing(tmp_path):
    with ModelServer(follow_rules, listed=listed, refuses=refusing("content filter")) as server:
        optimizer = compile_over(server, tmp_path / "filtered", max_errors=0)
    found = optimizer.result
    assert [found.validation.baseline.failures, found.validation.compiled.failures] == [1, 1]
    assert found.validation.compiled.accuracy == 1 - 1 / len(VAL)
    [note] = [note for note in found.notes if "Not answered" in note]
    assert "validation m105 (1 in all)" in note
    assert REFUSED["content filter"][:40] in note


@pytest.mark.parametrize(("most_rules", "without"), [(-1, [True, True, True]), (3, [False, True, False])])
@pytest.mark.parametrize("kind", REFUSED)
def test_an_example_that_is_refused_is_asked_again_only_with_a_shorter_prompt(kind, most_rules, without):
    with ModelServer(follow_rules, listed=listed, refuses=refusing(kind, most_rules=most_rules)) as server:
        evaluator, found = asked(server, f"{kind.split()[0]}{most_rules}", max_errors=0, patience=0.0)
    assert [[answer.is_refused for answer in each].count(True) for each in found] == [int(one) for one in without]
    times = sum("Mail 105 " in body["messages"][-1]["content"] for body in server.bodies)
    assert times == (1 if all(without) else 3)
    assert evaluator.ledger.failed("student", [VAL[5].inputs().toDict()]).keys() == ({0} if all(without) else set())


def test_a_server_that_refuses_everything_stops_the_compile(tmp_path):
    with (
        ModelServer(follow_rules, refuses=lambda body: (400, "System role not supported")) as server,
        pytest.raises(TooManyErrors, match=r"calls failed.*System role not supported"),
    ):
        compile_over(server, tmp_path / "all")


def test_examples_that_a_teacher_refuses_go_without_a_micro_rule(tmp_path):
    error = dspy.LMInvalidRequestError("filtered", status=400)
    failures = [Failure(f"Mail {number} ", error) for number in (3, 7, 11)]
    teacher = mail_teacher(failures=failures)
    optimizer = pld(tmp_path, teacher=teacher, max_errors=1)
    compiled(optimizer, student(student_lm()))
    assert optimizer.result.counts["micro_rules"] == len(TRAIN) - 3
    assert any("no usable micro-rule for m3, m7, m11 (3 in all)" in note for note in optimizer.result.notes)
    assert sum(call.answer is None for call in calls(teacher)) == 3
