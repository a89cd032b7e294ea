"""LabelAdapter where a server refuses a wish, or an answer is a thought or was cut; over a real connection."""

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError
from serving import ModelServer
from tasks import Mail

from pld_dspy.ledger.answer import Answer, call_once
from pld_dspy.student.adapter import LabelAdapter

MUSING = "it could be spam, since many mails are. But wait: what does it mention, before a label is decided on? " * 2
NAMES = itertools.count()


class Asked:
    """A server that answers ``text``, and what came of two calls of it by an LM that nothing is known of."""

    def __init__(
        self,
        text: str,
        *,
        adapter: dspy.Adapter | None = None,
        refuses: Callable[[dict[str, Any]], tuple[int, str] | None] = lambda body: None,
        **settings: Any,
    ) -> None:
        with ModelServer(lambda system, user: text, refuses=refuses) as server:
            lm = server.lm(f"openai/attempt-{next(NAMES)}", **settings)
            self.answers: list[Answer] = []
            self.bodies: list[list[dict[str, Any]]] = []
            for _ in range(2):
                with dspy.context(lm=lm, adapter=adapter or LabelAdapter()):
                    self.answers.append(call_once(dspy.Predict(Mail), {"text": "Mail 1"}))
                self.bodies.append(server.bodies[:])
                server.bodies.clear()
        assert self.answers[0].outputs == self.answers[1].outputs

    @property
    def label(self) -> str | None:
        return (self.answers[0].outputs or {}).get("label")

    @property
    def limits(self) -> list[list[int | None]]:
        """The token limit of each request, by call."""
        return [[body.get("max_tokens") or body.get("max_completion_tokens") for body in call] for call in self.bodies]


@pytest.mark.parametrize(
    ("thought", "tries"),
    [(f"<think>\n{MUSING}</think>\n\n", 2), (f"[THINK]{MUSING}[/THINK]", 2), (f"{MUSING}</think>", 3)],
)
def test_a_model_that_thinks_gets_room_at_once_and_for_good(thought, tries, caplog):
    with caplog.at_level(logging.WARNING, logger="pld_dspy"):
        asked = Asked(f"{thought}work")
    assert asked.label == "work"
    assert [len(call) for call in asked.limits] == [tries, 1]
    assert asked.limits[0][-1] is asked.limits[1][0] is None
    [said] = [record.getMessage() for record in caplog.records if record.name.startswith("pld_dspy")]
    assert "thinks before it answers" in said


@pytest.mark.parametrize("text", [f"<think>{MUSING}</think>work", f"Okay, {MUSING}</think>work", f"spam{MUSING}"])
@pytest.mark.parametrize("adapter", [LabelAdapter(), dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_an_answer_that_the_users_limit_cuts_is_a_failure_with_its_remedy(text, adapter):
    asked = Asked(text, adapter=adapter, max_tokens=12)
    assert asked.label is None
    assert "was cut at its limit of tokens" in asked.answers[0].error
    assert "larger max_tokens" in asked.answers[0].error


def test_what_json_adapter_finds_in_a_thought_is_no_answer():
    asked = Asked('<think>Perhaps {"label": "spam"}, but' + MUSING, adapter=dspy.JSONAdapter(), max_tokens=20)
    assert asked.label is None
    assert "thought" in asked.answers[0].error


@pytest.mark.parametrize("text", ["work", "work\n\n" + MUSING, '{"label": "work"}' + " " * 400, "work. " + MUSING])
def test_a_label_that_stands_before_the_cut_is_the_answer(text):
    asked = Asked(text)
    assert asked.label == "work"
    assert [len(call) for call in asked.bodies] == [1, 1]


def test_a_sentence_that_is_cut_before_its_label_is_corrected_then_heard_out():
    asked = Asked(f"The mail is about something, and {MUSING} So it is spam.")
    assert asked.label == "spam"
    assert [limit is None for limit in asked.limits[0]] == [False, False, True]


def test_one_token_is_enough_for_a_label():
    assert Asked("work", max_tokens=1).label == "work"


WISHES = {
    "logprobs": (LabelAdapter(logprobs=True), "logprobs"),
    "response_format": (LabelAdapter(constrain="json_schema"), "response_format"),
    "token limit": (LabelAdapter(), "max_completion_tokens"),
}


@pytest.mark.parametrize("status", [400, 422, 500, 501])
@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_that_is_refused_is_left_out_for_good_and_said_once(wish, status, caplog):
    adapter, field = WISHES[wish]

    def refuses(body: dict[str, Any]) -> tuple[int, str] | None:
        return (status, "extra fields are not permitted") if field in body else None

    with caplog.at_level(logging.WARNING, logger="pld_dspy"):
        asked = Asked("work", adapter=adapter, refuses=refuses)
    assert asked.label == "work"
    [second] = asked.bodies[1]
    assert field not in second
    assert len(caplog.records) >= 1
    assert len({record.getMessage() for record in caplog.records}) == len(caplog.records)


def test_of_two_wishes_only_those_that_are_refused_are_left_out():
    def refuses(body: dict[str, Any]) -> tuple[int, str] | None:
        return (400, "not supported") if {"logprobs", "response_format"} & body.keys() else None

    asked = Asked("work", adapter=LabelAdapter(logprobs=True, constrain="json_schema"), refuses=refuses)
    assert asked.limits[1][0] is not None
    assert not {"logprobs", "response_format"} & asked.bodies[1][0].keys()


def test_a_fault_that_passes_costs_no_wish():
    faults = iter([(500, "boom")])
    asked = Asked("work", adapter=LabelAdapter(logprobs=True), refuses=lambda body: next(faults, None))
    assert asked.label == "work"
    assert "logprobs" in asked.bodies[0][-1]
    assert "logprobs" in asked.bodies[1][0]


def test_what_a_server_has_granted_is_no_reason_for_a_later_refusal():
    """Else each text that a filter holds back would cost a call per wish."""
    texts = iter([None, (400, "filtered")])
    with ModelServer(lambda system, user: "work", refuses=lambda body: next(texts)) as server:
        lm = server.lm(f"openai/attempt-{next(NAMES)}")
        with dspy.context(lm=lm, adapter=LabelAdapter(logprobs=True)):
            found = [call_once(dspy.Predict(Mail), {"text": text}) for text in ("good", "bad")]
    assert [answer.is_refused for answer in found] == [False, True]
    assert len(server.bodies) == 2


def test_async_does_the_same():
    with ModelServer(
        lambda system, user: f"<think>{MUSING}</think>work",
        refuses=lambda body: (400, "response_format") if "response_format" in body else None,
    ) as server:
        lm = server.lm(f"openai/attempt-{next(NAMES)}")

        async def main() -> dspy.Prediction:
            with dspy.context(lm=lm, adapter=LabelAdapter(constrain="json_schema")):
                return await dspy.Predict(Mail).acall(text="Mail 1")

        assert asyncio.run(main()).label == "work"


def test_a_thought_beside_an_empty_answer_gets_room_too():
    """As servers with a reasoning parser send it."""

    def completion(body: dict[str, Any], fault: str) -> dict[str, Any]:
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        message = {"role": "assistant", "content": None if limit else "work", "reasoning_content": MUSING}
        choice = {"index": 0, "finish_reason": "length" if limit else "stop", "message": message}
        return {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": {}}

    with ModelServer(lambda system, user: "") as server:
        server.completion = completion  # type: ignore[method-assign]
        with dspy.context(lm=server.lm(f"openai/attempt-{next(NAMES)}"), adapter=LabelAdapter()):
            assert [dspy.Predict(Mail)(text="a").label for _ in range(2)] == ["work", "work"]
        assert len(server.bodies) == 3
        with (
            dspy.context(lm=server.lm(f"openai/attempt-{next(NAMES)}", max_tokens=30), adapter=LabelAdapter()),
            pytest.raises(AdapterParseError, match=r"was cut at its limit of tokens.*reasoning off"),
        ):
            dspy.Predict(Mail)(text="a")
