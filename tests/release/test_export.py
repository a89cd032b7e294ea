"""Exported prompts are byte for byte what the adapter sends, in every format and with any characters."""

import shutil
from pathlib import Path
from typing import Any, Literal

import dspy
import jinja2
import pytest
import yaml
from engine import fn_lm
from hypothesis import given, settings
from hypothesis import strategies as st
from tasks import Mail, mail, mail_task, rule, rule_set, student

from pld_dspy.errors import DataError, RunError
from pld_dspy.release.export.bundle import read_bundle, write_bundle
from pld_dspy.release.export.labels import as_constraints, decision_of, read_answer
from pld_dspy.release.export.promptfoo import escape
from pld_dspy.release.export.template import Golden, RequestRecorder, Template, template_of, value_texts
from pld_dspy.rules import Demonstration
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.compose import with_rules
from pld_dspy.student.frames import frames_for, with_frame
from pld_dspy.task.task import Task

FORMATS = ("text", "openai", "llama.cpp", "vllm", "ollama", "promptfoo")
ODD = 'A """quoted""" {{text}} {% raw %} {# #} {{ "{{" }} ```` line\u2028two\r\n\ttab \\ $HOME %s é 中\n```\n</rules>'
MANIFEST = {"model": "m", "notes": (), "run": "r", "signature": None, "versions": {}}
LABELS = ("spam", "work", "home")


class Pair(dspy.Signature):
    """Do {{the}} two texts {% agree %}?"""

    first: str = dspy.InputField()
    second: list[str] = dspy.InputField()
    verdict: Literal["yes, they do", 'no "way"', "ünklar\\"] = dspy.OutputField()


def lm() -> dspy.LM:
    return fn_lm(lambda system, user: "spam", temperature=0.0, cache=False)


def programs() -> dict[str, tuple[dspy.Module, list[dspy.Example], dspy.Adapter]]:
    """Programs, examples and adapters, one of each kind that is one prompt."""
    task, mails = mail_task(), [mail(1, "spam", "lottery"), dspy.Example(text=ODD, label="work").with_inputs("text")]
    demos = (Demonstration(example_id="d", inputs={"text": "{{text}} one\n```\nend"}, label="home"),)
    rules = rule_set(rule("r1", "{{text}}", "spam"), rule("r2", "```", "work"))
    named = with_frame(student(), task, frames_for(student(), task)["named"])
    pairs = [dspy.Example(first=ODD, second=["{{first}}", "b"], verdict='no "way"').with_inputs("first", "second")]
    return {
        "rules": (with_rules(student(), task, rules), mails, LabelAdapter(constrain="grammar")),
        "frame and demonstrations": (
            with_rules(named, task, rules.model_copy(update={"demos": demos})),
            mails,
            LabelAdapter(),
        ),
        "chat": (with_rules(student(), task, rules), mails, dspy.ChatAdapter(use_json_adapter_fallback=False)),
        "reasoning": (dspy.ChainOfThought(Mail), mails, dspy.ChatAdapter(use_json_adapter_fallback=False)),
        "a frame like a marker": (with_frame(student(), task, {"text": "{{text}} is:"}), mails, LabelAdapter()),
        "two inputs": (dspy.Predict(Pair), pairs, LabelAdapter()),
    }


def export(folder: Path, kind: Any, template: Template, golden: list[Golden], task: Task) -> Template:
    decision = decision_of(task.label_field, task.labels, several=False)
    write_bundle(folder, kind, template, golden, decision=decision, bare=True, **MANIFEST)
    return read_bundle(folder)[1]


@pytest.mark.parametrize("name", programs())
def test_every_format_gives_the_messages_of_the_adapter(name: str, tmp_path: Path) -> None:
    program, examples, adapter = programs()[name]
    task = Task.of(program, examples)
    recorder = RequestRecorder(program, task, lm(), adapter)
    template = template_of(recorder, task)

    for kind in FORMATS:
        found = export(tmp_path / kind, kind, template, [], task)
        for example in examples:
            messages, body = recorder.request(task.arguments(example))
            assert found.filled(value_texts(program, task, example)) == messages, kind
            assert found.settings["temperature"] == body["temperature"] == 0.0


PIECES = (
    "{{",
    "{",
    "}}",
    "{%",
    "{{text}}",
    '{{ "{" }}',
    "`",
    "```",
    "'",
    "\n",
    "\r",
    "\\",
    "# ",
    "é",
    "\x85",
    " ",
    "## user",
)


@settings(max_examples=6, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PIECES), min_size=1).map("".join), min_size=4, max_size=4))
def test_any_text_survives_every_format(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    system, before, behind, value = texts
    messages = [
        {"role": "system", "content": system.replace('"', "'")},
        {"role": "user", "content": f"{before.replace('{{text}}', '')}{{{{text}}}}{behind.replace('{{text}}', '')}"},
    ]
    template, folder = Template(messages=messages, markers={"text": "{{text}}"}), tmp_path_factory.mktemp("bundle")
    for kind in FORMATS:
        found = export(folder / kind, kind, template, [], mail_task())
        assert found.filled({"text": value}) == template.filled({"text": value}), kind
    shutil.rmtree(folder)


def test_promptfoo_renders_the_same_messages(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": ODD}, {"role": "user", "content": "{{{text}}} {{text}}"}]
    template = Template(messages=messages, markers={"text": "{{text}}"})
    row = Golden(id="1", split="test", inputs={"text": ODD}, messages=template.filled({"text": ODD}), answer="{{spam}}")
    export(tmp_path / "b", "promptfoo", template, [row], mail_task())

    # Nunjucks is Jinja's syntax; promptfoo renders each text of a JSON prompt, the variables first.
    engine = jinja2.Environment(keep_trailing_newline=True, newline_sequence="\n")
    config = yaml.safe_load((tmp_path / "b" / "promptfooconfig.yaml").read_text(encoding="utf-8"))
    [test] = yaml.safe_load((tmp_path / "b" / "tests.yaml").read_text(encoding="utf-8"))
    values = {name: engine.from_string(text).render() for name, text in test["vars"].items()}
    shown = yaml.safe_load((tmp_path / "b" / "prompt.json").read_text(encoding="utf-8"))

    assert config["prompts"] == ["file://prompt.json"]
    assert values["text"] == ODD.replace("\r\n", "\n")  # Jinja knows one line end
    rendered = [engine.from_string(one["content"]).render(text="VALUE") for one in shown]
    assert rendered == [ODD.replace("\r\n", "\n"), "{VALUE} VALUE"]
    assert engine.from_string(test["assert"][0]["value"]).render() == "{{spam}}"
    assert escape("a { b } c") == "a { b } c"


def test_programs_that_are_no_template_are_refused() -> None:
    class Lower(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.decide = student()

        def forward(self, text: str) -> dspy.Prediction:
            return self.decide(text=text[:3])

    class Two(Lower):
        def __init__(self) -> None:
            super().__init__()
            self.more = dspy.Predict("text -> summary")

    for program, message in ((Lower(), "do not stand in the last message"), (Two(), "more predictors than 'decide'")):
        task = Task.of(program, [mail(1, "spam", "lottery")])
        with pytest.raises(DataError, match=message):
            template_of(RequestRecorder(program, task, lm(), LabelAdapter()), task)


def test_a_modelfile_that_cannot_hold_the_prompt_is_refused(tmp_path: Path) -> None:
    template = Template(
        messages=[{"role": "system", "content": 'a """ b'}, {"role": "user", "content": "{{text}}"}],
        markers={"text": "{{text}}"},
    )

    with pytest.raises(DataError, match="three quotes"):
        export(tmp_path / "b", "ollama", template, [], mail_task())


def test_no_folder_is_written_over_and_no_other_one_read(tmp_path: Path) -> None:
    template = Template(messages=[{"role": "user", "content": "{{text}}"}], markers={"text": "{{text}}"})
    (tmp_path / "kept").write_text("mine", encoding="utf-8")

    with pytest.raises(DataError, match="is not empty"):
        export(tmp_path, "text", template, [], mail_task())
    with pytest.raises(RunError, match="is no bundle"):
        read_bundle(tmp_path)


def test_constraints_hold_any_label() -> None:
    import re

    labels = ("a.b", 'c"d', "e (f)", "g|h", "é 中")
    found = as_constraints(decision_of("label", labels, several=False))

    assert all(re.fullmatch(found["regex"], label) for label in labels)
    assert not re.fullmatch(found["regex"], "axb")
    assert found["json_schema"]["properties"]["label"]["enum"] == list(labels)
    assert r'"c\"d"' in found["gbnf"]


@pytest.mark.parametrize(
    "text",
    [
        "spam",
        " Spam.",
        '{"label": "spam"}',
        "[[ ## reasoning ## ]]\nnot home\n\n[[ ## label ## ]]\nspam\n\n[[ ## completed ## ]]",
    ],
)
def test_answers_are_read_in_every_form(text: str) -> None:
    assert read_answer(text, decision_of("label", LABELS, several=False)) == "spam"
