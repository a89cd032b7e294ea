"""Deterministic language models for tests: plain functions of the prompt, behind DSPy's real LM path.

Cache, adapter, history, usage and error handling are DSPy's own; only the model is a function
``(system text, last user text) -> answer``. Nothing is sent anywhere.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy
from dspy import lm15

Answerer = Callable[[str, str], str]
Lister = Callable[[str, str], Sequence[lm15.TokenLogprob]]

HEADER = re.compile(r"^\[\[ ## (\w+) ## \]\]\s*$", re.MULTILINE)
RULE = re.compile(r"If the text mentions (?P<words>.+?), answer (?P<label>[^.]+)", re.IGNORECASE)
_OUTPUTS = re.compile(r"Your output fields are:\n(.*?)\nAll interactions will be structured", re.DOTALL)
_FIELD = re.compile(r"^\d+\. `(\w+)`", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True)
class Call:
    """One request that reached the engine, and its answer (None where it raised)."""

    system: str
    messages: tuple[tuple[str, str], ...]
    settings: dict[str, Any]
    answer: str | None

    @property
    def user(self) -> str:
        """The last user turn."""
        return next(text for role, text in reversed(self.messages) if role == "user")


@dataclass
class Failure:
    """Raise ``error`` for requests whose last user turn contains ``text``: the first ``times``, or all where None.

    ``error`` is an lm15 error, as a provider's client raises it, or any other exception.
    """

    text: str
    error: Exception
    times: int | None = None
    _met: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def due(self, user: str) -> bool:
        # next() on a count is atomic, so that threads need no lock, which would not survive a deepcopy.
        return self.text in user and (self.times is None or next(self._met) < self.times)


def auth_error(text: str = "") -> Failure:
    """A provider that refuses the key, for requests with ``text``: must stop a compile at once."""
    return Failure(text, lm15.AuthError("invalid key", provider="custom", status=401))


def timeout_error(text: str = "", *, times: int | None = None) -> Failure:
    """A request that times out: worth another try."""
    return Failure(text, lm15.TimeoutError("timed out", provider="custom"), times)


_SCRIPTS = itertools.count(1)
_ENGINES: dict[int, FnEngine] = {}


class FnEngine:
    """A DSPy engine that answers with ``fn(system text, last user text)``.

    Copies are the same engine, like two clients of one server, so that ``calls`` sees the calls of every copy of a
    program. Usage counts words as tokens. Settings that lm15 does not know (``grammar``) are refused by DSPy
    before they get here.

    Args:
        fn: a deterministic function of the prompt.
        failures: raised in place of an answer.
        supports_response_schema: whether JSON schemas are declared; they are logged and not enforced.
        logprobs: the log-probabilities of an answer's tokens, given where a request asks for them; none where None.
        sees_demos: ``fn`` gets the demonstrations too, as lines ``TEXT => LABEL`` below the system text.
    """

    def __init__(
        self,
        fn: Answerer,
        *,
        failures: Sequence[Failure] = (),
        supports_response_schema: bool = False,
        logprobs: Lister | None = None,
        sees_demos: bool = False,
    ) -> None:
        self.fn = fn
        self.sees_demos = sees_demos
        self.logprobs = logprobs
        self.failures = tuple(failures)
        self.calls: list[Call] = []
        self.supports_response_schema = supports_response_schema
        self.supported_params = {"response_format"} if supports_response_schema else set()
        _ENGINES[id(self)] = self

    def __deepcopy__(self, memo: dict[int, Any]) -> FnEngine:
        return self

    def complete(self, request: lm15.Request) -> lm15.Response:
        """Answer one request; log it."""
        system = _system_text(request)
        messages = tuple((message.role, message.text or "") for message in request.messages)
        config = request.config
        settings = {
            "max_tokens": config.max_tokens,
            "response_format": config.response_format,
            "logprobs": config.logprobs,
        }
        call = Call(system, messages, settings, None)
        failure = next((failure for failure in self.failures if failure.due(call.user)), None)
        if failure is not None:
            self.calls.append(call)
            raise failure.error
        shown = zip(messages[:-1:2], messages[1:-1:2], strict=False) if self.sees_demos else ()
        seen = "\n".join([system, *(f"{text} => {label}" for (_, text), (_, label) in shown)])
        answer = self.fn(seen, call.user)
        self.calls.append(Call(system, messages, settings, answer))
        read = sum(len(text.split()) for text in (system, *(text for _, text in messages)))
        written = len(answer.split())
        return lm15.Response(
            id=None,
            model=request.model,
            message=lm15.Message.assistant(answer),
            finish_reason="stop",
            usage=lm15.Usage(input_tokens=read, output_tokens=written, total_tokens=read + written),
            logprobs=tuple(self.logprobs(seen, call.user)) if self.logprobs and config.logprobs else None,
        )

    def close(self) -> None:
        """Nothing is held open."""

    def dump_state(self) -> dict[str, Any]:
        """Let programs bound to this LM be saved; within one process they load with the same engine."""
        return {"id": id(self)}

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> FnEngine:
        return _ENGINES[state["id"]]


class AsyncFnEngine:
    """The async door of an :class:`FnEngine`: same function, same log."""

    def __init__(self, engine: FnEngine) -> None:
        self.engine = engine

    def __deepcopy__(self, memo: dict[int, Any]) -> AsyncFnEngine:
        return self

    async def complete(self, request: lm15.Request) -> lm15.Response:
        return self.engine.complete(request)

    async def aclose(self) -> None:
        """Nothing is held open."""

    def dump_state(self) -> dict[str, Any]:
        return self.engine.dump_state()

    @classmethod
    def load_state(cls, state: Mapping[str, Any]) -> AsyncFnEngine:
        return cls(FnEngine.load_state(state))


def fn_lm(
    fn: Answerer,
    *,
    model: str = "custom/fn",
    failures: Sequence[Failure] = (),
    supports_response_schema: bool = False,
    logprobs: Lister | None = None,
    sees_demos: bool = False,
    **settings: Any,
) -> dspy.LM:
    """A DSPy LM that answers with ``fn(system text, last user text)``, sync and async, without retries.

    DSPy caches by model name and prompt: give two functions in one test different ``model`` names.
    """
    engine = FnEngine(
        fn,
        failures=failures,
        supports_response_schema=supports_response_schema,
        logprobs=logprobs,
        sees_demos=sees_demos,
    )
    settings = {"num_retries": 0, **settings}
    return dspy.LM(model, engine=engine, async_engine=AsyncFnEngine(engine), **settings)


def scripted_lm(answers: Sequence[str], **settings: Any) -> dspy.LM:
    """A DSPy LM that gives ``answers`` in turn, whatever it is asked; for one thread. No two share a cache."""
    script = iter(answers)
    return fn_lm(lambda system, user: next(script), **{"model": f"custom/script-{next(_SCRIPTS)}", **settings})


def calls(lm: dspy.LM) -> list[Call]:
    """The requests that reached the engine of ``lm`` (not the ones that DSPy's cache answered), in order."""
    made: list[Call] = lm.engine.calls
    return made


def rule_following_lm(
    default: str | Callable[[str], str], *, model: str = "custom/student", **settings: Any
) -> dspy.LM:
    """A student that obeys the rules in its system prompt: the first that fits the text decides.

    A rule is a line with ``If the text mentions WORD, answer LABEL.`` in it; alternatives are joined by ``or``
    or commas. Words are found whole and in any case. It works under LabelAdapter and under ChatAdapter, where the
    last output field is the label and any before it get a stock phrase.

    Args:
        default: the answer where no rule fits: a label, or a weak cue of the student's own as a function of the
            example's text.
        model: name of the LM.
        settings: as for :func:`fn_lm`.
    """

    def answer(system: str, user: str) -> str:
        text = _example_text(system, user)
        label = next((label for words, label in rules_in(system) if any(_mentions(text, word) for word in words)), None)
        if label is None:
            label = default if isinstance(default, str) else default(text)
        outputs = output_fields(system)
        return _chat_answer({**dict.fromkeys(outputs[:-1], "As told."), outputs[-1]: label}) if outputs else label

    return fn_lm(answer, model=model, **settings)


def teacher_lm(
    answers: Mapping[str, Callable[[dict[str, str]], str]] | None = None,
    *,
    keywords: Sequence[str] = (),
    model: str = "custom/teacher",
    **settings: Any,
) -> dspy.LM:
    """A teacher that fills in every output field that a ChatAdapter prompt asks for, by the field's name.

    It knows ``rationale`` and ``rule`` of an ``example`` with its gold ``label``, ``wordings`` (one per kind) of
    ``notes`` for a ``label``, and ``rules``, one per kind of examples. Its rules are of the kind that
    :func:`rule_following_lm` obeys.

    Args:
        answers: further output fields, or other answers: field -> function of the prompt's input fields
            (name -> text).
        keywords: the signs it takes rules from, the first one that an example mentions; its longest word if none.
        model: name of the LM.
        settings: as for :func:`fn_lm`.
    """

    def sign(given: Mapping[str, str]) -> str:
        text = given["example"]
        return next((word for word in keywords if _mentions(text, word)), None) or longest_word(text)

    by_field: dict[str, Callable[[dict[str, str]], str]] = {
        "rationale": lambda given: f"The text says {sign(given)!r}, a sign of {given['label']}.",
        "rule": lambda given: f"If the text mentions {sign(given)}, answer {given['label']}.",
        "wordings": _wordings,
        "rules": _draft,
        **(answers or {}),
    }

    def answer(system: str, user: str) -> str:
        given = sections(user)
        return _chat_answer({name: by_field[name](given) for name in output_fields(system)})

    return fn_lm(answer, model=model, **settings)


def rules_in(system: str) -> list[tuple[list[str], str]]:
    """The (words, label) of every rule line of a prompt, in order."""
    found = (RULE.search(line) for line in system.splitlines())
    return [
        ([word.strip(" \"'") for word in re.split(r",\s*|\s+or\s+", rule["words"])], rule["label"].strip(" \"'"))
        for rule in found
        if rule
    ]


def output_fields(system: str) -> list[str]:
    """The output fields that a ChatAdapter system prompt asks for; empty for other prompts."""
    listed = _OUTPUTS.search(system)
    return _FIELD.findall(listed.group(1)) if listed else []


def sections(text: str) -> dict[str, str]:
    """The ``[[ ## field ## ]]`` sections of a ChatAdapter user turn, without DSPy's closing reminder."""
    text = text.split("\n\nRespond with the corresponding output fields")[0]
    _, *parts = HEADER.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def longest_word(text: str) -> str:
    """The longest word of four letters or more, the first of several."""
    return max(_WORD.findall(text.casefold()), key=len, default="nothing")


def _wordings(given: Mapping[str, str]) -> str:
    """One wording per kind, all obeyed alike, of one rule over the signs of all notes."""
    signs = [word for words, _ in rules_in("\n".join(json.loads(given["notes"]))) for word in words]
    rule = f"If the text mentions {' or '.join(dict.fromkeys(signs)) or 'nothing'}, answer {given['label']}."
    ends = ("", " Read the whole text.", " Nothing else matters.", " Take care.", " This is the sign to look for.")
    return json.dumps([rule + end for end in ends[: len(json.loads(given["kinds"]))]])


def _draft(given: Mapping[str, str]) -> str:
    """One rule per kind of examples over the signs of its notes, in four wordings that are obeyed alike."""
    rules = []
    for number, kind in (kind.split(". ", 1) for kind in json.loads(given["kinds"]) if "later request" not in kind):
        signs = [word for words, _ in rules_in(kind.replace(";", "\n")) for word in words]
        label = kind.split(",")[0]
        text = f"If the text mentions {' or '.join(dict.fromkeys(signs)) or 'nothing'}, answer {label}."
        rules.append({"kinds": [number], "imperative": text, "cues": f"{text} Take care.", "contrast": f"{text} Look."})
    return json.dumps(rules)


def _chat_answer(outputs: Mapping[str, str]) -> str:
    filled = [f"[[ ## {name} ## ]]\n{value}" for name, value in outputs.items()]
    return "\n\n".join([*filled, "[[ ## completed ## ]]"])


def _example_text(system: str, user: str) -> str:
    return "\n".join(sections(user).values()) if output_fields(system) else user


def _mentions(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def _system_text(request: lm15.Request) -> str:
    if request.system is None or isinstance(request.system, str):
        return request.system or ""
    return "".join(part.text for part in request.system)
