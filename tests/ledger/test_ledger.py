"""The ledger: nothing asked twice, nothing lost, nothing over a cap, and no failure swallowed."""

import json
import logging
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import auth_error, calls, fn_lm, timeout_error
from tasks import INSTRUCTIONS, LABELS, Mail, mails, student, student_lm

from pld_dspy.errors import BudgetExceeded, DataError, ModelError, TooManyErrors
from pld_dspy.ledger.answer import Answer, call_once
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.student.adapter import LabelAdapter

ROWS = [example.inputs().toDict() for example in mails(24)]


def ask(ledger: Ledger, lm: dspy.LM, rows: list[dict[str, Any]] = ROWS, **settings: Any) -> list[Answer]:
    given = {"role": "student", "stage": "search", "adapter": LabelAdapter(), **settings}
    return ledger.ask(given.pop("program", None) or student(), rows, lm=lm, **given)


def echo_lm(**settings: Any) -> dspy.LM:
    """Answers with a label that follows from the text, a while later for earlier texts."""

    def answer(system: str, user: str) -> str:
        number = int(user.split()[1])
        time.sleep(0.002 * (10 - number % 10))
        return LABELS[number % 7 % 3]

    return fn_lm(answer, **{"cache": False, **settings})


def test_nothing_is_asked_twice():
    ledger, lm = Ledger(), student_lm()
    first = ask(ledger, lm, [*ROWS, *ROWS[:5]])
    again = ask(ledger, lm, ROWS[::-1])
    assert len(calls(lm)) == len(ROWS)
    assert again[::-1] == first[: len(ROWS)]
    assert first[len(ROWS) :] == first[:5]
    spent = ledger.spent["student", "search"]
    assert (spent.calls, spent.reused) == (len(ROWS), len(ROWS) + 5)


def test_another_process_finds_all_answers_and_costs(tmp_path):
    path, lm, other = tmp_path / "p.jsonl", student_lm(), student_lm()
    old = Ledger(path)
    answers = ask(old, lm)
    new = Ledger(path)
    assert ask(new, other) == answers
    assert calls(other) == []
    before, after = old.total("student"), new.total("student")
    assert (after.calls, after.tokens_in, after.tokens_out) == (before.calls, before.tokens_in, before.tokens_out)
    assert before.tokens_in == sum(len(f"{call.system} {call.user}".split()) for call in calls(lm))


def with_demos() -> dspy.Predict:
    program = student()
    program.demos = [dspy.Example(text="t", label="spam")]
    return program


CHANGES = {
    "instructions": {"program": dspy.Predict(Mail.with_instructions("Other."))},
    "demos": {"program": with_demos()},
    "sampling": {"lm": student_lm(temperature=0.5)},
    "model": {"lm": student_lm(model="custom/other")},
    "adapter": {"adapter": dspy.ChatAdapter()},
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_an_answer_is_asked_anew(tmp_path, name):
    ledger, change = Ledger(tmp_path / "p.jsonl"), dict(CHANGES[name])
    ask(ledger, student_lm(), ROWS[:3])
    lm = change.pop("lm", None) or student_lm()
    made = len(calls(lm))
    ask(ledger, lm, ROWS[:3], **change)
    assert len(calls(lm)) - made == 3


def test_an_lm_with_another_key_and_address_is_the_same_model():
    ledger, lm = Ledger(), student_lm()
    ask(ledger, lm)
    elsewhere = dspy.LM(lm.model, api_key="sk-other", api_base="http://127.0.0.1:9")
    assert all(answer.outputs for answer in ask(ledger, elsewhere))


def test_a_last_line_cut_short_costs_one_call(tmp_path, caplog):
    path, lm = tmp_path / "p.jsonl", student_lm()
    answers = ask(Ledger(path), student_lm())
    path.write_bytes(path.read_bytes()[:-9])
    with caplog.at_level(logging.WARNING):
        ledger = Ledger(path)
    assert "p.jsonl: the last line was cut short" in caplog.text
    assert [answer.outputs for answer in ask(ledger, lm)] == [answer.outputs for answer in answers]
    assert len(calls(lm)) == 1
    assert len(path.read_bytes().splitlines()) == len(ROWS)
    assert all(json.loads(line) for line in path.read_bytes().splitlines())


def test_what_another_process_left_half_written_costs_no_answer_of_this_one(tmp_path, caplog):
    path, lm = tmp_path / "p.jsonl", student_lm()
    ledger = Ledger(path)
    ask(ledger, lm, ROWS[:2])
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[0][:30])  # killed while it wrote
    with caplog.at_level(logging.WARNING):
        ask(ledger, lm, ROWS[:4])
    assert "p.jsonl: the last line was cut short" in caplog.text
    again = student_lm()
    ask(Ledger(path), again, ROWS[:4])
    assert calls(again) == []


def test_a_damaged_line_costs_one_call_and_is_reported(tmp_path, caplog):
    path, lm = tmp_path / "p.jsonl", student_lm()
    ask(Ledger(path), student_lm())
    lines = path.read_bytes().splitlines()
    lines[4] = lines[4][:30]  # a process killed while it wrote, beside another that went on
    path.write_bytes(b"\n".join(lines) + b"\n")
    with caplog.at_level(logging.WARNING):
        ask(Ledger(path), lm)
    assert len(calls(lm)) == 1
    assert "p.jsonl has a damaged line" in caplog.text


class Noting(dspy.Module):
    def forward(self, text: str) -> dspy.Prediction:
        return dspy.Prediction(note="a\u2028b\x85c")


def test_line_separators_of_unicode_are_plain_text(tmp_path):
    path = tmp_path / "p.jsonl"
    answers, again = ask(Ledger(path), student_lm(), program=Noting()), Ledger(path)
    assert answers[0].outputs == {"note": "a\u2028b\x85c"}
    assert ask(again, student_lm(), program=Noting()) == answers
    assert again.spent["student", "search"].reused == len(ROWS)


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads take turns as often as they can, so that a race shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("attempt", range(5))
def test_threads_do_not_slip_under_a_cap(attempt):
    lm, rows = student_lm(), [{"text": f"Mail {number}"} for number in range(80)]
    with pytest.raises(BudgetExceeded):
        ask(Ledger(budget=Budget(student_calls=40), num_threads=8), lm, rows)
    assert len(calls(lm)) == 40


@pytest.mark.parametrize("num_threads", [1, 8])
def test_a_cap_on_calls_is_exact_and_keeps_what_was_paid(tmp_path, num_threads):
    path, lm = tmp_path / "p.jsonl", echo_lm()
    capped = Ledger(path, budget=Budget(student_calls=10), num_threads=num_threads)
    with pytest.raises(BudgetExceeded, match=r"cap of 10 student calls.*student_calls in Budget"):
        ask(capped, lm)
    assert len(calls(lm)) == 10
    with pytest.raises(BudgetExceeded):
        ask(Ledger(path, budget=Budget(student_calls=10)), lm, [{"text": "Mail 99"}])
    assert len(ask(Ledger(path, num_threads=num_threads), lm)) == len(ROWS)
    assert len(calls(lm)) == len(ROWS)


def test_caps_hold_each_role_to_its_own_and_spare_the_test_stage():
    ledger, lm = Ledger(budget=Budget(student_calls=3, teacher_calls=2)), student_lm()
    ask(ledger, lm, ROWS[:3])
    ask(ledger, lm, ROWS[3:5], role="teacher")
    for role in ("student", "teacher"):
        with pytest.raises(BudgetExceeded):
            ask(ledger, lm, ROWS[5:], role=role)
    assert len(ask(ledger, lm, ROWS, stage="test")) == len(ROWS)
    assert ledger.total("student").calls == 3
    assert ledger.total("student", stages=["test"]).calls == len(ROWS) - 5


def test_a_stage_leaves_reserved_calls_to_later_ones():
    ledger, lm = Ledger(budget=Budget(student_calls=5, teacher_calls=5), reserved={"search": 2}), student_lm()
    with pytest.raises(BudgetExceeded, match=r"Stopped at 3 of 5 student calls: the last 2 are reserved"):
        ask(ledger, lm, ROWS, stage="search")
    assert len(calls(lm)) == 3
    with pytest.raises(BudgetExceeded, match="cap of 5 student calls is reached \\("):
        ask(ledger, lm, ROWS, stage="resolve")
    assert len(calls(lm)) == 5


def test_a_cap_on_money_stops_before_the_next_call():
    prices = {"custom/student": (1e6, 2e6)}
    free, lm = Ledger(budget=Budget(prices=prices)), student_lm()
    ask(free, student_lm(), ROWS[:1])
    one = free.total("student").money
    ledger = Ledger(budget=Budget(money=2.5 * one, prices=prices))
    with pytest.raises(BudgetExceeded, match="on money is reached"):
        ask(ledger, lm)
    words = len(f"{calls(lm)[0].system} {calls(lm)[0].user}".split())
    assert one == words + 2
    assert len(calls(lm)) == 3


def test_a_budget_survives_a_file_and_refuses_a_negative_cap():
    budget = Budget(student_calls=0, money=2.5, prices={"m": (1.0, 2.0)})
    assert Budget(**json.loads(budget.model_dump_json(exclude_defaults=True))) == budget
    with pytest.raises(DataError, match=r"Budget.teacher_calls is -1; "):
        Budget(teacher_calls=-1)


def test_calls_have_the_price_of_the_model_that_a_predictor_is_bound_to():
    bound = student_lm(model="custom/bound")
    ledger = Ledger(budget=Budget(prices={"custom/bound": (2.0, 2.0)}, money=1e9))
    ask(ledger, student_lm(model="custom/other"), ROWS[:2], program=student(bound))
    assert len(calls(bound)) == 2
    assert ledger.total("student").money > 0


def test_a_malformed_answer_needs_no_history_of_dspy_to_be_counted():
    lm = fn_lm(lambda system, user: "no idea", cache=False)
    with dspy.context(disable_history=True):
        [answer] = ask(Ledger(), lm, ROWS[:1])
    assert answer.error.startswith("malformed answer: ")


@pytest.mark.parametrize("num_threads", [1, 4])
def test_what_is_called_counts_with_a_users_own_usage_tracker_too(num_threads):
    ledger, lm = Ledger(num_threads=num_threads), echo_lm(failures=[timeout_error(ROWS[3]["text"], times=1)])
    with dspy.track_usage() as usage:
        ask(ledger, lm)
    used, spent = usage.get_total_tokens()[lm.model], ledger.total("student")
    assert (used["prompt_tokens"], used["completion_tokens"]) == (spent.tokens_in, spent.tokens_out)
    assert spent.tokens_in > 0


def test_a_malformed_answer_is_kept_and_not_asked_again(tmp_path):
    path, lm = tmp_path / "p.jsonl", fn_lm(lambda system, user: "no idea", cache=False)
    old = Ledger(path)
    [answer] = ask(old, lm, ROWS[:1])
    asked = len(calls(lm))
    assert answer.outputs is None
    assert answer.error.startswith("malformed answer: ")
    assert answer.raw == "no idea"
    assert (answer.calls, old.total("student").failures) == (asked, 1)
    assert ask(Ledger(path), lm, ROWS[:1]) == [answer]
    assert len(calls(lm)) == asked


def test_answers_that_an_earlier_version_kept_are_read(tmp_path):
    path, lm = tmp_path / "p.jsonl", student_lm()
    answers = ask(Ledger(path), student_lm())
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for line in lines:
        del line["raw"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert ask(Ledger(path), lm) == answers
    assert calls(lm) == []


def test_one_call_tells_what_came_of_it_without_a_ledger():
    row = {"text": "Mail 1"}
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        assert call_once(student(), row).outputs == {"label": "work"}
    with dspy.context(lm=fn_lm(lambda system, user: "x" * 999, cache=False), adapter=LabelAdapter()):
        malformed = call_once(student(), row)
    assert (malformed.outputs, malformed.raw, malformed.is_kept) == (None, "x" * 300, True)
    failed = call_once(Broken(), row)
    assert (failed.outputs, failed.raw, failed.is_kept) == (None, None, False)


def test_a_lost_call_is_asked_again_next_time(tmp_path):
    path, lm = tmp_path / "p.jsonl", student_lm(failures=[timeout_error("Mail 2 ", times=1)])
    answers = ask(Ledger(path), lm, ROWS[:4])
    assert [answer.outputs is None for answer in answers] == [False, False, True, False]
    assert answers[2].error.startswith("lost: LMTimeoutError")
    again = ask(Ledger(path), lm, ROWS[:4])
    assert again[2].outputs == {"label": "work"}
    assert len(calls(lm)) == 5


class Broken(dspy.Module):
    def forward(self, text: str) -> dspy.Prediction:
        raise KeyError(text)


def test_a_program_that_raises_is_counted_not_swallowed():
    ledger = Ledger(max_errors=2)
    [answer] = ask(ledger, student_lm(), ROWS[:1], program=Broken())
    assert answer.error == f"failed: KeyError: {ROWS[0]['text']!r}"
    with pytest.raises(TooManyErrors, match=r"3 calls failed, more than max_errors=2.*KeyError.*Correct the cause"):
        ask(ledger, student_lm(), program=Broken())


@pytest.mark.parametrize("num_threads", [1, 8])
def test_refused_credentials_stop_at_once(tmp_path, num_threads):
    lm = student_lm(failures=[auth_error()])
    ledger = Ledger(tmp_path / "p.jsonl", num_threads=num_threads)
    with pytest.raises(ModelError, match=r"invalid key.*Check its name, key and settings"):
        ask(ledger, lm)
    assert len(calls(lm)) == 1
    assert not ledger.path.exists()


def test_too_many_errors_stop_with_the_first_causes():
    lm = student_lm(failures=[timeout_error()])
    with pytest.raises(TooManyErrors, match=r"6 calls failed, more than max_errors=5. First causes: .*timed out"):
        ask(Ledger(max_errors=5), lm)
    assert len(calls(lm)) == 6


def test_a_teachers_malformed_answers_count_as_errors_and_a_students_do_not():
    lm = fn_lm(lambda system, user: "no idea", cache=False)
    assert len(ask(Ledger(max_errors=2), lm, ROWS[:4])) == 4
    with pytest.raises(TooManyErrors, match="malformed"):
        ask(Ledger(max_errors=2), lm, ROWS[:4], role="teacher")


def test_threads_change_neither_answers_nor_their_order():
    one, eight = (ask(Ledger(num_threads=n), echo_lm()) for n in (1, 8))
    assert [answer.outputs for answer in one] == [answer.outputs for answer in eight]
    assert [answer.outputs["label"] for answer in one] == [LABELS[number % 7 % 3] for number in range(len(ROWS))]


def test_one_call_warms_the_server_up_before_the_others_come_at_once():
    lock, under_way, seen = threading.Lock(), [], []

    def answer(system: str, user: str) -> str:
        with lock:
            under_way.append(user)
            seen.append((user, len(under_way)))
        time.sleep(0.02)
        with lock:
            under_way.remove(user)
        return "work"

    ask(Ledger(num_threads=4), fn_lm(answer, cache=False))
    assert seen[0][0].startswith(ROWS[0]["text"])
    assert [count for _, count in seen[:2]] == [1, 1], "the second call begins after the first has ended"
    assert max(count for _, count in seen) > 1


class Metered(dspy.Module):
    """Two calls to a server that had read most of the second prompt before."""

    def forward(self, text: str) -> dspy.Prediction:
        for cached in (None, {"cached_tokens": 70}):
            used = {"prompt_tokens": 100, "completion_tokens": 2, "prompt_tokens_details": cached}
            dspy.settings.usage_tracker.add_usage("m", used)
        return dspy.Prediction(label="work")


def test_cached_prompt_tokens_are_counted_beside_all(tmp_path):
    for ledger in (Ledger(tmp_path / "p.jsonl"), Ledger(tmp_path / "p.jsonl")):
        ask(ledger, student_lm(), ROWS[:3], program=Metered())
        spent = ledger.total("student")
        assert (spent.calls, spent.tokens_in, spent.tokens_cached, spent.tokens_out) == (6, 600, 210, 12)


def test_threads_see_the_callers_context():
    configured, wanted, names = student_lm(), echo_lm(), set()
    dspy.configure(lm=configured, adapter=dspy.ChatAdapter())
    with dspy.context(lm=wanted, adapter=LabelAdapter()):
        Ledger(num_threads=8).ask(
            student(),
            ROWS,
            role="student",
            stage="search",
            on_answer=lambda: names.add(threading.current_thread().name),
        )
    assert (len(calls(configured)), len(calls(wanted))) == (0, len(ROWS))
    assert {call.system.split("\n")[0] for call in calls(wanted)} == {INSTRUCTIONS.split("\n")[0]}
    assert len(names) > 1


def test_progress_ticks_once_an_answer_found_or_made():
    ledger, ticks = Ledger(num_threads=4), []
    for _ in range(2):
        ask(ledger, student_lm(), on_answer=lambda: ticks.append(1))
    assert len(ticks) == 2 * len(ROWS)


def test_retries_within_a_call_count():
    lm = fn_lm(lambda system, user: "no idea", cache=False)
    [answer] = ask(Ledger(), lm, ROWS[:1], adapter=dspy.ChatAdapter())  # which asks again through JSONAdapter
    assert answer.calls == len(calls(lm)) == 2
    assert answer.tokens_out == 4


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    ask(Ledger(path, num_threads=2), student_lm(), rows)


def test_two_processes_on_one_file_lose_nothing(tmp_path):
    path, fork = tmp_path / "p.jsonl", multiprocessing.get_context("fork")
    halves = [fork.Process(target=append, args=(path, rows)) for rows in (ROWS[:15], ROWS[9:])]
    for process in halves:
        process.start()
    for process in halves:
        process.join()
    lm = student_lm()
    assert len(ask(Ledger(path), lm)) == len(ROWS)
    assert [process.exitcode for process in halves] == [0, 0]
    assert calls(lm) == []


def test_of_two_answers_to_one_question_the_first_on_file_stands_for_everybody(tmp_path):
    """The slower process's model says otherwise; what both have, and what a third one reads, is the faster one's."""
    path, row = tmp_path / "p.jsonl", ROWS[:1]
    faster = Ledger(path)
    fast_lm = fn_lm(lambda system, user: "spam", cache=False)

    def overtaken(system: str, user: str) -> str:
        ask(faster, fast_lm, row)
        return "work"

    [slow] = ask(Ledger(path), fn_lm(overtaken, cache=False), row)
    [fast] = ask(faster, fast_lm, row)
    [read] = ask(Ledger(path), fast_lm, row)
    assert len(path.read_text(encoding="utf-8").splitlines()) == 2
    assert [answer.outputs["label"] for answer in (slow, fast, read)] == ["spam"] * 3
