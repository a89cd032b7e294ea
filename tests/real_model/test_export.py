"""What is exported for llama.cpp answers on the real server as the adapter does."""

from pathlib import Path

import dspy
from tasks import Mail, good_rules, mails, rule_set, student

from pld_dspy.local.lm import LocalLM
from pld_dspy.release.export.bundle import write_bundle
from pld_dspy.release.export.labels import decision_of
from pld_dspy.release.export.template import Golden, RequestRecorder, template_of
from pld_dspy.release.export.verify import server, verify
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.compose import with_rules
from pld_dspy.task.task import Task

LABELS = ("spam", "work", "home")


def test_the_exported_prompt_answers_as_the_adapter(lm: LocalLM, tmp_path: Path) -> None:
    examples, adapter = mails(2), LabelAdapter()
    task = Task.of(student(), examples)
    program = with_rules(dspy.Predict(Mail), task, rule_set(*good_rules()[:2]))
    recorder = RequestRecorder(program, task, lm, adapter)
    template, decision = template_of(recorder, task), decision_of("label", LABELS, several=False)
    with dspy.context(lm=lm, adapter=adapter):
        answers = [program(text=example.text).label for example in examples]
    golden = [
        Golden(
            id=one.id,
            split="test",
            inputs={"text": one.text},
            messages=recorder.request({"text": one.text})[0],
            answer=answer,
        )
        for one, answer in zip(examples, answers, strict=True)
    ]

    manifest = {"model": "m", "notes": (), "run": "r", "signature": None, "versions": {}}
    write_bundle(tmp_path / "bundle", "llama.cpp", template, golden, decision=decision, bare=True, **manifest)
    asked = verify(tmp_path / "bundle", golden, server(lm.kwargs["api_base"]))
    assert [one.answer for one in asked] == answers
