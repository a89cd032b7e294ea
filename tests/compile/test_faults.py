"""A compile over a real connection with faults: what comes out is what would have come out without them."""

import threading
import time
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import Failure, calls, rules_in
from serving import FAULTS, ModelServer
from tasks import LABELS, TEST, TRAIN, VAL, compiled, mail_teacher, micro_rules, pld, student, student_lm

from pld_dspy.errors import TooManyErrors
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig

SCREENED = SearchConfig(screen_calls=24, trials=1, block=12)


def follow_rules(system: str, user: str) -> str:
    return next((label for words, label in rules_in(system) if any(word in user for word in words)), "work")


def listed(system: str, user: str) -> dict[str, float]:
    answer = follow_rules(system, user)
    return {label: 0.6 if label == answer else 0.1 + 0.05 * LABELS.index(label) for label in LABELS}


def compile_over(server: ModelServer, folder: Path, **settings: Any) -> PLD:
    given = {"teacher": None, "search": SCREENED, "num_threads": 8, "patience": 60.0, **settings}
    optimizer = pld(folder, **given)
    lm = server.lm(f"openai/{folder.name}", timeout=1.0)  # under another name, nothing is known of what it refuses
    compiled(optimizer, student(lm), rationales=micro_rules(TRAIN), testset=TEST[:6])
    return optimizer


def outcome(optimizer: PLD) -> Any:
    found = optimizer.result
    return found.rules, found.validation, found.test, found.insight


def test_a_third_of_all_calls_may_fail(tmp_path):
    with ModelServer(follow_rules, listed=listed) as sound:
        expected = outcome(compile_over(sound, tmp_path / "sound"))
    with ModelServer(follow_rules, listed=listed, faults=FAULTS, rate=0.3) as faulty:
        found = outcome(compile_over(faulty, tmp_path / "faulty"))
    assert found == expected
    assert len(set(faulty.failed)) > len(FAULTS) / 2
    assert len(faulty.bodies) > 1.2 * len(sound.bodies)


def test_a_server_that_dies_is_waited_for(tmp_path):
    with ModelServer(follow_rules) as server:

        def die() -> None:
            while len(server.bodies) < 60:
                time.sleep(0.01)
            server.is_down = True
            time.sleep(1.0)
            server.is_down = False

        threading.Thread(target=die).start()
        optimizer = compile_over(server, tmp_path / "dies", max_errors=0)
    assert server.failed
    assert optimizer.result.validation.compiled.failures == 0


def test_the_wait_has_an_end(tmp_path):
    with ModelServer(follow_rules) as server:
        server.is_down = True
        started = time.monotonic()
        with pytest.raises(TooManyErrors, match="calls failed, more than max_errors=3.*server closed connection"):
            compile_over(server, tmp_path / "dead", patience=0.6, max_errors=3)
    assert 0.5 < time.monotonic() - started < 10


REFUSED = {
    "content filter": "The response was filtered due to the prompt triggering content management policy",
    "context": "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_example_that_is_always_refused_is_wrong_and_named_and_stops_nothing(tmp_path, kind):
    def refuses(body: dict[str, Any]) -> tuple[int, str] | None:
        return (400, REFUSED[kind]) if "Mail 105 " in body["messages"][-1]["content"] else None

    with ModelServer(follow_rules, listed=listed, refuses=refuses) as server:
        optimizer = compile_over(server, tmp_path / kind.split()[0], max_errors=0)
    asked = ["Mail 105 " in body["messages"][-1]["content"] for body in server.bodies]
    assert sum(asked) == 1, "under one prompt it was refused, and the others are longer"
    found = optimizer.result
    assert [found.validation.baseline.failures, found.validation.compiled.failures] == [1, 1]
    assert found.validation.compiled.accuracy == 1 - 1 / len(VAL)
    [note] = [note for note in found.notes if "Not answered" in note]
    assert "validation m105 (1 in all)" in note
    assert REFUSED[kind][:40] in note


def test_an_example_that_a_prompt_with_rules_makes_too_long_is_asked_under_shorter_ones(tmp_path):
    def refuses(body: dict[str, Any]) -> tuple[int, str] | None:
        rules = body["messages"][0]["content"].count("If the text")
        return (400, REFUSED["context"]) if rules > 3 and "Mail 105 " in body["messages"][-1]["content"] else None

    with ModelServer(follow_rules, refuses=refuses) as server:
        optimizer = compile_over(server, tmp_path / "long", max_errors=0)
    assert optimizer.result.validation.baseline.failures == 0


def test_a_server_that_refuses_everything_stops_the_compile(tmp_path):
    with (
        ModelServer(follow_rules, refuses=lambda body: (400, "System role not supported")) as server,
        pytest.raises(TooManyErrors, match="calls failed.*System role not supported"),
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
