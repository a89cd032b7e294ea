"""Content keys: whatever can change an answer changes the key, and nothing else does."""

import importlib.util
import sys
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from tasks import LABELS, Mail, instruction, student_lm

from pld_dspy.ledger.keys import adapter_settings, digest, lm_settings, program_state
from pld_dspy.local.lm import LocalLM
from pld_dspy.student.adapter import LabelAdapter


def lm(**settings: Any) -> dspy.LM:
    """An LM of a provider, never called: one with an engine of its own takes no key."""
    return dspy.LM(**{"model": "openai/tiny", **settings})


def key(program: dspy.Module, bound: dspy.LM | None = None) -> str:
    return digest(program_state(program, lm=bound or lm()))


def mailer(**config: Any) -> dspy.Predict:
    return dspy.Predict(Mail, **config)


def with_demos() -> dspy.Predict:
    program = mailer()
    program.demos = [dspy.Example(text="t", label="spam")]
    return program


def bound(**settings: Any) -> dspy.Predict:
    program = mailer()
    program.lm = lm(**settings)
    return program


def relabelled(kind: Any, **field: Any) -> dspy.Predict:
    fields = {"text": (str, dspy.InputField(**field)), "label": (kind, dspy.OutputField())}
    return dspy.Predict(dspy.Signature(fields, Mail.instructions))


CHANGED = {
    "instructions": lambda: dspy.Predict(Mail.with_instructions("Other.")),
    "rules": lambda: dspy.Predict(Mail.append_instructions(instruction("winner", "spam"))),
    "demos": with_demos,
    "config": lambda: mailer(temperature=0.5),
    "label set": lambda: relabelled(Literal["spam", "work"]),
    "label order": lambda: relabelled(Literal["work", "spam", "home"]),
    "field description": lambda: relabelled(Literal[LABELS], desc="the mail"),
    "field name": lambda: dspy.Predict("mail -> label: Literal['spam', 'work', 'home']", Mail.instructions),
    "module": lambda: dspy.ChainOfThought(Mail),
    "temperature": lambda: bound(temperature=0.7),
    "max_tokens": lambda: bound(max_tokens=3),
    "seed": lambda: bound(seed=1),
    "model": lambda: bound(model="openai/other"),
    "model_type": lambda: bound(model_type="text"),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_can_change_an_answer_changes_the_key(name):
    assert key(CHANGED[name]()) != key(mailer())


def called() -> dspy.Predict:
    program = mailer()
    with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
        program(text="winner")
    return program


SAME = {
    "another object": mailer,
    "a copy": lambda: mailer().deepcopy(),
    "calls made": called,
    "api_key": lambda: bound(api_key="sk-canary"),
    "api_base": lambda: bound(api_base="http://127.0.0.1:9"),
    "api_version and headers": lambda: bound(api_version="2", extra_headers={"x": "y"}),
    "retries": lambda: bound(num_retries=7),
    "api_key in the config": lambda: mailer(api_key="sk-canary"),
    "bound, not configured": bound,
}


@pytest.mark.parametrize("name", SAME)
def test_what_cannot_change_an_answer_does_not(name):
    assert key(SAME[name]()) == key(mailer())


def test_a_secret_never_enters_the_state():
    states = [program_state(SAME[name](), lm=lm(api_key="sk-canary")) for name in SAME]
    assert "sk-canary" not in repr(states)
    assert lm_settings(lm(api_key="sk-canary", temperature=0.5)) == lm_settings(lm(temperature=0.5))
    assert lm_settings(None) == {}


SOURCE = """
import dspy

class Base(dspy.Module):
    def __init__(self):
        super().__init__()
        self.step = dspy.Predict("text -> label")
        self.prefix = {prefix!r}

    def prepared(self, text):
        return {prepared}

class Program(Base):
    def forward(self, text):
        return {forward}
"""
PARTS = {"prefix": "", "prepared": "text", "forward": "self.step(text=self.prepared(text))"}


def program_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **changes: str) -> dspy.Module:
    """A user's program in a module of its own, as an editor leaves it."""
    folder = tmp_path / digest(changes)
    folder.mkdir()
    (folder / "mine.py").write_text(SOURCE.format(**{**PARTS, **changes}))
    spec = importlib.util.spec_from_file_location("mine", folder / "mine.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "mine", module)  # where inspect looks up a class's file
    spec.loader.exec_module(module)
    return module.Program()


@pytest.mark.parametrize(
    "changes",
    [
        {"forward": "self.step(text=self.prepared(text).upper())"},
        {"prepared": "text.strip()"},
        {"prefix": "Mail: "},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_an_edited_program_is_another_program(tmp_path, monkeypatch, changes):
    before, after = (key(program_of(tmp_path, monkeypatch, **given)) for given in ({}, changes))
    assert before != after


def test_frozen_parts_count_though_dspy_skips_them():
    keys = []
    for text in ("One.", "Two."):
        program = dspy.Module()
        program.inner = dspy.Module()
        program.inner.step = dspy.Predict(Mail.with_instructions(text))
        program.inner._compiled = True
        keys.append(key(program))
    assert keys[0] != keys[1]


def test_adapters_are_told_apart_by_their_settings():
    adapters = [
        None,
        dspy.JSONAdapter(),
        dspy.ChatAdapter(use_json_adapter_fallback=False),
        LabelAdapter(),
        LabelAdapter(constrain="choice"),
        LabelAdapter(fallback=dspy.JSONAdapter()),
    ]
    assert len({adapter_settings(adapter) for adapter in adapters}) == len(adapters)
    assert adapter_settings(LabelAdapter()) == adapter_settings(LabelAdapter())


def test_a_server_that_constrains_answers_counts():
    served = LocalLM("openai/tiny", context_tokens=512)
    assert lm_settings(served) == {**lm_settings(lm()), "server": "llama.cpp"}
