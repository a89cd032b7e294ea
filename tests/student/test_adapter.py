"""LabelAdapter: messages, answers, the one retry, constraints, fallback."""

import asyncio
import copy
import json
import logging
import math
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import dspy
import pytest
from dspy import lm15
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import AdapterParseError
from engine import auth_error, calls, fn_lm, rule_following_lm, scripted_lm
from tasks import Route, Team

from pld_dspy.errors import DataError
from pld_dspy.ledger.keys import adapter_settings
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.lm import LocalLM
from pld_dspy.student import refusals
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.constraints import label_grammar
from pld_dspy.student.decision import Decision


class Spam(dspy.Signature):
    """Say what the mail is.

    <rules>
    1. If the text mentions refund, answer spam.
      2. Indented, with "quotes" & a trailing blank line.
    </rules>
    """

    text: str = dspy.InputField(desc="never shown")
    label: Literal["spam", "ham", "ham_salad"] = dspy.OutputField(desc="never shown")


class Nli(dspy.Signature):
    """Judge the hypothesis."""

    premise: str = dspy.InputField()
    hypothesis: str = dspy.InputField()
    entailed: bool = dspy.OutputField()


class Shelve(dspy.Signature):
    """Shelve it."""

    text: str = dspy.InputField()
    shelf: Literal[1, 2] = dspy.OutputField()


SPAM_SYSTEM = """Say what the mail is.

<rules>
1. If the text mentions refund, answer spam.
  2. Indented, with "quotes" & a trailing blank line.
</rules>

Answer with exactly one label: spam | ham | ham_salad"""


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def ask(lm: dspy.LM, *, adapter: LabelAdapter | None = None, text: str = "Hi.", **settings: Any) -> dspy.Prediction:
    with dspy.context(lm=lm, adapter=adapter or LabelAdapter()):
        return dspy.Predict(Spam, **settings)(text=text)


class TestMessages:
    def test_one_input_is_the_bare_text_below_instructions_and_label_line(self):
        assert LabelAdapter().format(Spam, [], {"text": "Hello\n there"}) == [
            message("system", SPAM_SYSTEM),
            message("user", "Hello\n there"),
        ]

    def test_several_inputs_are_named_lines_in_field_order(self):
        assert LabelAdapter().format(Nli, [], {"hypothesis": "It rains.", "premise": "Wet."}) == [
            message("system", "Judge the hypothesis.\n\nAnswer with exactly one label: True | False"),
            message("user", "premise: Wet.\nhypothesis: It rains."),
        ]

    def test_an_enum_is_labelled_by_its_values(self):
        [system, user] = LabelAdapter().format(Route, [], {"ticket": "No sound."})
        assert system["content"] == "Route the ticket.\n\nAnswer with exactly one label: billing | technical support"
        assert user["content"] == "No sound."

    def test_demos_are_turns_with_bare_labels_in_order(self):
        demos = [
            dspy.Example(ticket="Refund?", team=Team.BILLING).with_inputs("ticket"),
            {"ticket": "No sound.", "team": "technical support"},
        ]
        assert LabelAdapter().format(Route, demos, {"ticket": "Hm."})[1:] == [
            message("user", "Refund?"),
            message("assistant", "billing"),
            message("user", "No sound."),
            message("assistant", "technical support"),
            message("user", "Hm."),
        ]

    def test_a_demo_may_lack_an_input_but_neither_all_inputs_nor_a_known_label(self):
        demos = [
            {"premise": "Wet.", "entailed": True},
            {"premise": "Dry.", "hypothesis": "It rains."},
            {"premise": "Dry.", "hypothesis": "It rains.", "entailed": None},
            {"premise": "Dry.", "hypothesis": "It rains.", "entailed": "maybe"},
            {"entailed": False},
        ]
        assert LabelAdapter().format(Nli, demos, {"premise": "p", "hypothesis": "h"})[1:-1] == [
            message("user", "premise: Wet."),
            message("assistant", "True"),
        ]

    def test_the_system_message_is_the_same_for_every_input(self):
        systems = {LabelAdapter().format(Spam, [], {"text": t})[0]["content"] for t in ("a", "b {x} [[ ## y ## ]]", "")}
        assert systems == {SPAM_SYSTEM}

    def test_an_empty_text_still_makes_a_user_turn(self):
        assert LabelAdapter().format(Spam, [], {"text": ""})[-1] == message("user", "text: ")

    def test_saved_and_loaded_predictor_gives_identical_messages(self, tmp_path):
        predict = dspy.Predict(Route)
        predict.signature = predict.signature.with_instructions("Route.\n\n1. A rule.\n   - \u00fcber 'x'")
        predict.demos = [dspy.Example(ticket="Refund?", team=Team.BILLING)]
        predict.save(tmp_path / "program.json")
        loaded = dspy.Predict(Route)
        loaded.load(tmp_path / "program.json")
        before, after = (LabelAdapter().format(p.signature, p.demos, {"ticket": "Hm."}) for p in (predict, loaded))
        assert before == after
        assert after[2] == message("assistant", "billing")


class TestAnswers:
    @pytest.mark.parametrize(
        ("signature", "completion", "value"),
        [
            (Spam, "spam", "spam"),
            (Spam, " Ham salad.", "ham_salad"),
            (Spam, '{"label": "ham_salad"}', "ham_salad"),
            (Spam, '"ham"', "ham"),
            (Route, "Technical support", Team.TECH),
            (Route, '{"team": "billing"}', Team.BILLING),
            (Nli, "true", True),
            (Nli, "False.", False),
            (Nli, "yes", True),
            (Nli, '{"entailed": "no"}', False),
            (Spam, '```json\n{"reason": "no ham", "label": "spam"}\n```', "spam"),
            (Spam, "label: spam\nExplanation: it is not ham", "spam"),
            (Spam, "<think>ham?</think>{'label': 'spam', 'why': 'no ham'}", "spam"),
            (Shelve, "2", 2),
            (Shelve, '{"shelf": "1"}', 1),
            (Shelve, '{"shelf": 1}', 1),
        ],
    )
    def test_an_answer_is_a_value_of_the_fields_type(self, signature, completion, value):
        [answer] = LabelAdapter().parse(signature, completion).values()
        assert answer == value
        assert type(answer) is type(value)

    def test_a_label_takes_one_call(self):
        lm = scripted_lm(["**Spam**"])
        assert ask(lm).label == "spam"
        assert len(calls(lm)) == 1

    def test_an_unknown_answer_is_corrected_once(self):
        lm = scripted_lm(["No idea", "ham"])
        assert ask(lm).label == "ham"
        first, second = calls(lm)
        assert second.system == first.system == SPAM_SYSTEM
        assert second.messages == (
            *first.messages,
            ("assistant", "No idea"),
            ("user", "That is not one of the labels. Answer with exactly one label: spam | ham | ham_salad"),
        )

    def test_an_empty_answer_is_corrected_without_an_empty_turn(self):
        lm = scripted_lm(["", "", "ham"], cache=False)
        assert ask(lm).label == "ham"
        first, again, corrected = calls(lm)
        assert again.messages == first.messages, "an empty answer is rather a fault on the way"
        assert corrected.messages[1] == ("assistant", "(no answer)")

    def test_two_unknown_answers_are_an_error_after_two_calls(self):
        lm = scripted_lm(["No idea", "spam or ham", "spam"])
        with pytest.raises(AdapterParseError, match="'spam or ham' for the field 'label' is not one of spam"):
            ask(lm)
        assert len(calls(lm)) == 2

    def test_usage_and_history_have_both_calls_of_a_retry(self):
        lm = scripted_lm(["No idea", "ham"])
        with dspy.context(track_usage=True):
            usage = ask(lm).get_lm_usage()[lm.model]
        first, second = calls(lm)
        words = [len(f"{call.system} {' '.join(t for _, t in call.messages)}".split()) for call in (first, second)]
        assert usage["prompt_tokens"] == sum(words)
        assert usage["completion_tokens"] == 3
        assert len(lm.history) == 2

    def test_other_errors_are_not_retried(self):
        lm = fn_lm(lambda system, user: "ham", failures=[auth_error()])
        with pytest.raises(dspy.LMAuthError):
            ask(lm)
        assert len(calls(lm)) == 1

    def test_async_answers_and_corrects_alike(self):
        lm = scripted_lm(["No idea", "ham"])

        async def main() -> dspy.Prediction:
            with dspy.context(lm=lm, adapter=LabelAdapter()):
                return await dspy.Predict(Spam).acall(text="Hi.")

        assert asyncio.run(main()).label == "ham"
        assert len(calls(lm)) == 2

    def test_the_cache_answers_the_second_time(self):
        lm = rule_following_lm("ham")
        assert [ask(lm, text="A refund!").label, ask(lm, text="A refund!").label] == ["spam", "spam"]
        assert len(calls(lm)) == 1

    def test_callbacks_see_each_format_and_parse_once(self):
        class Seen(BaseCallback):
            def __init__(self) -> None:
                self.events: list[str] = []

            def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
                self.events.append(f"{type(instance).__name__}.format")

            def on_adapter_parse_end(self, call_id: str, outputs: Any, exception: Any = None) -> None:
                self.events.append(f"parse {outputs}")

        seen = Seen()
        ask(scripted_lm(["No idea", "ham"]), adapter=LabelAdapter(callbacks=[seen]))
        assert seen.events == ["LabelAdapter.format", "parse None", "LabelAdapter.format", "parse {'label': 'ham'}"]

    def test_the_prompt_takes_a_fraction_of_the_words_of_chat_adapters(self):
        chat, label = (
            len(" ".join(m["content"] for m in adapter.format(Spam, [], {"text": "Hi."})).split())
            for adapter in (dspy.ChatAdapter(), LabelAdapter())
        )
        assert label < chat / 2


class TestFallback:
    def test_a_chain_of_thought_goes_to_chat_adapter(self):
        lm = rule_following_lm("ham")
        with dspy.context(lm=lm, adapter=LabelAdapter()):
            prediction = dspy.ChainOfThought(Spam)(text="A refund!")
        assert (prediction.reasoning, prediction.label) == ("As told.", "spam")
        assert "[[ ## reasoning ## ]]" in calls(lm)[0].system

    @pytest.mark.parametrize("signature", ["text -> answer", "text, history: dspy.History -> ok: bool", "t -> n: int"])
    def test_other_signatures_are_laid_out_by_the_fallback(self, signature):
        signature = dspy.Signature(signature)
        inputs = {"text": "x", "t": "x", "history": dspy.History(messages=[])}
        inputs = {name: inputs[name] for name in signature.input_fields}
        adapter = LabelAdapter(fallback=dspy.JSONAdapter())
        assert adapter.format(signature, [], inputs) == dspy.JSONAdapter().format(signature, [], inputs)

    def test_parse_of_other_signatures_is_the_fallbacks(self):
        signature = dspy.Signature("text -> n: int")
        assert LabelAdapter(fallback=dspy.JSONAdapter()).parse(signature, '{"n": 3}') == {"n": 3}

    def test_async_fallback(self):
        lm = rule_following_lm("ham")

        async def main() -> dspy.Prediction:
            with dspy.context(lm=lm, adapter=LabelAdapter()):
                return await dspy.ChainOfThought(Spam).acall(text="A refund!")

        assert asyncio.run(main()).label == "spam"


class TestConfig:
    def test_copies_and_pickles_are_equal_and_others_are_not(self):
        adapter = LabelAdapter(constrain="choice", fallback=dspy.ChatAdapter(use_json_adapter_fallback=False))
        for other in (copy.deepcopy(adapter), pickle.loads(pickle.dumps(adapter))):
            assert other == adapter
            assert hash(other) == hash(adapter)
        assert adapter != LabelAdapter(constrain="choice")
        assert adapter != LabelAdapter(fallback=dspy.ChatAdapter(use_json_adapter_fallback=False))

    def test_the_repr_is_the_configuration(self):
        assert repr(LabelAdapter()).startswith("LabelAdapter(constrain='auto', fallback=ChatAdapter(")
        assert "0x" not in repr(LabelAdapter())

    def test_an_unknown_constraint_is_refused(self):
        with pytest.raises(DataError, match=r"constrain='grammer' is unknown\. Give one of auto, grammar"):
            LabelAdapter(constrain="grammer")  # type: ignore[arg-type]


class TestRequestSettings:
    """What reaches the model besides the messages."""

    def test_max_tokens_is_small_but_fits_the_longest_label(self):
        lm = scripted_lm(["ham"])
        ask(lm)
        assert len('{"label": "ham_salad"}') < calls(lm)[0].settings["max_tokens"] < 64

    def test_the_users_max_tokens_stays(self):
        by_lm, by_call = scripted_lm(["ham"], max_tokens=500), scripted_lm(["ham"])
        ask(by_lm)
        ask(by_call, max_tokens=7)
        assert [calls(lm)[0].settings["max_tokens"] for lm in (by_lm, by_call)] == [500, 7]

    def test_a_declared_response_schema_is_used(self):
        lm = scripted_lm(['{"label": "ham_salad"}'], supports_response_schema=True)
        assert ask(lm).label == "ham_salad"
        [call] = calls(lm)
        assert call.system == SPAM_SYSTEM
        schema = json.dumps(call.settings["response_format"])
        assert '"enum": ["spam", "ham", "ham_salad"]' in schema
        assert '"additionalProperties": false' in schema

    def test_nothing_is_constrained_where_nothing_is_declared_or_none_is_wanted(self):
        undeclared, unwanted = scripted_lm(["ham"]), scripted_lm(["ham"], supports_response_schema=True)
        ask(undeclared)
        ask(unwanted, adapter=LabelAdapter(constrain="none"))
        assert [calls(lm)[0].settings["response_format"] for lm in (undeclared, unwanted)] == [None, None]

    def test_the_users_response_format_stays(self):
        lm = scripted_lm(['{"label": "ham"}'], supports_response_schema=True)
        ask(lm, response_format={"type": "json_object"})
        assert "enum" not in json.dumps(calls(lm)[0].settings["response_format"])

    @pytest.mark.parametrize("mark", [True, False])
    def test_a_grammar_reaches_the_server_of_a_local_lm(self, server, mark):
        server.answer = "ham_salad"
        lm = server.lm(LocalLM, context_tokens=512) if mark else server.lm()
        assert ask(lm).label == "ham_salad"
        [body] = server.bodies
        assert body.get("grammar") == ('root ::= "spam" | "ham" | "ham_salad"' if mark else None)
        assert body["messages"] == [message("system", SPAM_SYSTEM), message("user", "Hi.")]

    def test_a_grammar_joins_the_users_extra_body(self, server):
        ask(server.lm(extra_body={"cache_prompt": True}), adapter=LabelAdapter(constrain="grammar"))
        [body] = server.bodies
        assert body["cache_prompt"] is True
        assert body["grammar"].startswith("root ::= ")

    def test_the_users_grammar_stays(self, server):
        ask(server.lm(extra_body={"grammar": "mine"}), adapter=LabelAdapter(constrain="grammar"))
        assert server.bodies[0]["grammar"] == "mine"

    def test_a_choice_reaches_a_vllm_server(self, server):
        ask(server.lm(), adapter=LabelAdapter(constrain="choice"))
        labels = ["spam", "ham", "ham_salad"]
        assert server.bodies[0]["structured_outputs"] == {"choice": labels}
        assert server.bodies[0]["guided_choice"] == labels

    def test_a_schema_reaches_the_server_natively(self, server):
        server.answer = '{"label": "spam"}'
        assert ask(server.lm(), adapter=LabelAdapter(constrain="json_schema")).label == "spam"
        schema = server.bodies[0]["response_format"]["json_schema"]["schema"]
        assert schema["properties"] == {"label": {"type": "string", "enum": ["spam", "ham", "ham_salad"]}}
        assert schema["required"] == ["label"]


LISTED = {"spam": 0.6, "ham": 0.2, "Hello": 0.1}
"""What the tests' servers list: a third of what ``ham`` has is ``ham_salad``'s."""


def listing_lm(answers: list[str], **settings: Any) -> dspy.LM:
    """Gives ``answers`` in turn, and the list above as if each were ``spam``."""
    turns = iter(answers)

    def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
        top = tuple(lm15.TopLogprob(token, math.log(p)) for token, p in LISTED.items())
        return [lm15.TokenLogprob("spam", math.log(LISTED["spam"]), top=top)]

    return fn_lm(lambda system, user: next(turns), logprobs=tokens, cache=False, **settings)


class TestLogprobs:
    """What a prediction says of the labels' probabilities."""

    WANTED = {"spam": 9 / 12, "ham": 2 / 12, "ham_salad": 1 / 12}  # noqa: RUF012

    @pytest.fixture(autouse=True)
    def fresh_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for memory in ("_without", "_refused", "_granted"):
            monkeypatch.setattr(refusals, memory, set())

    def probabilities(self, prediction: dspy.Prediction) -> dict[str, float]:
        return {label: math.exp(value) for label, value in prediction.label_logprobs.items()}

    def test_a_prediction_carries_them_beside_the_label_and_not_the_tokens(self):
        lm = listing_lm(["spam"])
        prediction = ask(lm, adapter=LabelAdapter(logprobs=True))
        assert prediction.toDict().keys() == {"label", "label_logprobs"}
        assert self.probabilities(prediction) == pytest.approx(self.WANTED)
        assert calls(lm)[0].settings["logprobs"] == 20

    def test_without_being_asked_for_nothing_is_sent_or_added(self):
        lm = listing_lm(["spam"])
        assert ask(lm).toDict() == {"label": "spam"}
        assert calls(lm)[0].settings["logprobs"] is None

    def test_a_caller_who_asks_himself_keeps_his_tokens_and_his_number(self):
        lm = listing_lm(["spam"])
        prediction = ask(lm, adapter=LabelAdapter(logprobs=True), logprobs=True, top_logprobs=3)
        assert prediction.toDict().keys() == {"label", "logprobs", "label_logprobs"}
        assert calls(lm)[0].settings["logprobs"] == 3

    def test_the_prompt_with_demos_is_the_same(self):
        prompts = []
        for logprobs in (True, False):
            lm = listing_lm(["spam"])
            with dspy.context(lm=lm, adapter=LabelAdapter(logprobs=logprobs)):
                predict = dspy.Predict(Spam)
                predict.demos = [dspy.Example(text="Prize!", label="spam")]
                predict(text="Hi.")
            prompts.append((calls(lm)[0].system, calls(lm)[0].messages))
        assert prompts[0] == prompts[1]

    def test_after_a_correction_they_are_the_corrected_answers(self):
        lm = listing_lm(["No idea", "spam"])
        prediction = ask(lm, adapter=LabelAdapter(logprobs=True))
        assert self.probabilities(prediction) == pytest.approx(self.WANTED)
        assert [call.settings["logprobs"] for call in calls(lm)] == [20, 20]

    def test_async_gives_the_same(self):
        lm = listing_lm(["No idea", "spam"])

        async def main() -> dspy.Prediction:
            with dspy.context(lm=lm, adapter=LabelAdapter(logprobs=True)):
                return await dspy.Predict(Spam).acall(text="Hi.")

        assert self.probabilities(asyncio.run(main())) == pytest.approx(self.WANTED)

    def test_every_completion_has_its_own(self):
        predictions = ask(listing_lm(["spam", "spam"]), adapter=LabelAdapter(logprobs=True), n=2).completions
        assert len(predictions.label_logprobs) == 2

    def test_one_completion_without_them_leaves_them_out_of_all(self):
        prediction = ask(listing_lm(["spam", "ham"]), adapter=LabelAdapter(logprobs=True), n=2)
        assert prediction.completions.label == ["spam", "ham"]
        assert "label_logprobs" not in prediction

    def test_the_fallback_is_asked_for_none(self):
        lm = rule_following_lm("ham")
        with dspy.context(lm=lm, adapter=LabelAdapter(logprobs=True)):
            prediction = dspy.ChainOfThought(Spam)(text="A refund!")
        assert prediction.toDict().keys() == {"reasoning", "label"}
        assert calls(lm)[0].settings["logprobs"] is None

    def test_an_lm_that_gives_none_is_told_of_once(self, caplog):
        lm = rule_following_lm("ham", model="custom/mute")
        adapter = LabelAdapter(logprobs=True)
        with caplog.at_level(logging.WARNING, logger="pld_dspy"):
            answers = [ask(lm, adapter=copy.deepcopy(adapter), text=text).toDict() for text in ("a", "b", "A refund!")]
        assert answers == [{"label": "ham"}, {"label": "ham"}, {"label": "spam"}]
        assert [record.getMessage() for record in caplog.records] == [
            "custom/mute gives no log-probabilities, so its predictions carry no label_logprobs. "
            "Serve the model with llama.cpp or vLLM."
        ]

    @pytest.mark.parametrize("run", ["sync", "async"])
    def test_a_server_that_refuses_is_asked_without_and_then_left_in_peace(self, server, caplog, run):
        server.refused = "logprobs"
        lm, adapter = server.lm(cache=False), LabelAdapter(logprobs=True)

        def answer() -> dspy.Prediction:
            if run == "sync":
                return ask(lm, adapter=adapter)
            with dspy.context(lm=lm, adapter=adapter):
                return asyncio.run(dspy.Predict(Spam).acall(text="Hi."))

        with caplog.at_level(logging.WARNING, logger="pld_dspy"):
            assert [answer().toDict() for _ in range(2)] == [{"label": "ham"}] * 2
        assert ["logprobs" in body for body in server.bodies] == [True, False, False]
        assert len(caplog.records) == 1

    def test_a_request_that_is_refused_for_another_reason_is_an_error(self, server):
        server.refused = "messages"
        with pytest.raises(dspy.LMInvalidRequestError, match="messages"):
            ask(server.lm(), adapter=LabelAdapter(logprobs=True))

    @pytest.mark.parametrize(("mark", "top"), [("local", 100), ("grammar", 100), ("", 20)])
    def test_they_reach_and_leave_a_real_server_with_and_without_a_grammar(self, server, mark, top):
        server.answer, server.listed = "spam", LISTED
        lm = server.lm(LocalLM, context_tokens=512) if mark == "local" else server.lm()
        constrain = "grammar" if mark == "grammar" else "auto"
        prediction = ask(lm, adapter=LabelAdapter(constrain=constrain, logprobs=True))
        assert self.probabilities(prediction) == pytest.approx(self.WANTED)
        [body] = server.bodies
        assert (body["logprobs"], body["top_logprobs"], "grammar" in body) == (True, top, bool(mark))

    def test_the_repr_tells_adapters_apart(self):
        plain, asking = LabelAdapter(), LabelAdapter(logprobs=True)
        assert adapter_settings(asking) != adapter_settings(plain)
        assert plain.asking_logprobs() == asking != plain
        assert not plain.logprobs

    def test_the_ledger_keeps_them(self, tmp_path):
        row = {"role": "student", "stage": "search", "adapter": LabelAdapter(logprobs=True)}
        lm = listing_lm(["spam"])
        [kept] = Ledger(tmp_path / "p.jsonl").ask(dspy.Predict(Spam), [{"text": "Hi."}], lm=lm, **row)
        [found] = Ledger(tmp_path / "p.jsonl").ask(dspy.Predict(Spam), [{"text": "Hi."}], lm=lm, **row)
        assert found == kept
        assert self.probabilities(dspy.Prediction(**found.outputs)) == pytest.approx(self.WANTED)


def test_grammar_literals_are_escaped():
    assert label_grammar(['say "no"', "a\\b", "x\ny", "\u00fcber"]) == (
        'root ::= "say \\"no\\"" | "a\\\\b" | "x\\ny" | "\u00fcber"'
    )


class Server:
    """An OpenAI-compatible server on a loopback port that records request bodies and gives one fixed answer.

    The answer is one token; ``listed`` is the list at it, token -> probability. A body with the field ``refused`` is.
    """

    def __init__(self) -> None:
        self.answer = "ham"
        self.listed: dict[str, float] = {}
        self.refused: str | None = None
        self.bodies: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                refused = outer.refused in body
                error = {"error": {"message": f"{outer.refused} is not supported", "type": "invalid_request_error"}}
                reply = json.dumps(error if refused else outer.completion()).encode()
                self.send_response(400 if refused else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *args: Any) -> None:
                """Keep test output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def completion(self) -> dict[str, Any]:
        choice = {"index": 0, "finish_reason": "stop", "message": message("assistant", self.answer)}
        if self.listed:
            top = [{"token": token, "bytes": None, "logprob": math.log(p)} for token, p in self.listed.items()]
            own = next(entry for entry in top if entry["token"] == self.answer)
            choice["logprobs"] = {"content": [{**own, "top_logprobs": top}]}
        usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        return {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [choice],
            "usage": usage,
        }

    def lm(self, kind: type[dspy.LM] = dspy.LM, **settings: Any) -> dspy.LM:
        base = f"http://127.0.0.1:{self.http.server_port}/v1"
        return kind("openai/recorded", api_base=base, api_key="none", num_retries=0, **settings)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


@pytest.mark.parametrize(("said", "label"), [("1.0", "1"), ('{"label": 0.0}', "0"), ("1.5", None)])
def test_a_whole_number_with_decimals_is_its_label(said, label):
    assert Decision.required(dspy.Signature("text -> label: Literal[1, 0]")).match(said) == label
