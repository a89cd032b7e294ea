"""The examples of PLD inside larger programs: rules go where they belong, and other parts stay what they are."""

import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import dspy
import pytest
from engine import calls, fn_lm, output_fields, rule_following_lm, rules_in, teacher_lm
from tasks import TEST, TRAIN, VAL, Mail, keyword, mail, pld, student_lm

from pld_dspy.rules import RULES_OPEN
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.task.splits import Splits
from programs.inside import better_together, bootstrap, nested, reanchor, router, saved, target
from programs.inside import case as cases
from programs.inside.case import Case

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def student() -> Iterator[dspy.LM]:
    """The configured student: answers ``work`` where no rule fits."""
    lm = student_lm()
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        yield lm


@pytest.fixture
def case(tmp_path: Path) -> Case:
    folder = tmp_path / "run"
    return Case(decision=Mail, splits=Splits(TRAIN, VAL, TEST), folder=folder, pld=partial(pld, folder))


def ruled(program: dspy.Module) -> list[str]:
    """Names of the predictors that carry rules."""
    return [name for name, one in program.named_predictors() if RULES_OPEN in one.signature.instructions]


def labels(program: dspy.Module) -> list[str]:
    return [program(text=example.text).label for example in TEST]


GOLDS = [example.label for example in TEST]


def test_of_two_predictors_for_one_label_the_target_is_instructed(case):
    program = target.compiled(case)
    assert ruled(program) == ["decide"]
    assert program.guess.signature is Mail
    assert labels(program) == GOLDS


def test_the_first_guess_reaches_the_second_look(case, student):
    program = target.Reviewed(Mail)
    program(text="Mail 1 about the garden")
    assert "guess: work" in calls(student)[-1].user


def test_a_classifier_two_modules_deep_is_found(case):
    program = nested.compiled(case)
    assert isinstance(program, nested.Office)
    assert ruled(program) == ["desk.sort"]
    assert labels(program) == GOLDS


def test_demonstrations_come_on_top_of_rules(case, student):
    program = bootstrap.rules_first(case)
    assert ruled(program) == ["self"]
    assert len(program.demos) == 4
    assert all(demo.label == {one.text: one.label for one in TRAIN}[demo.text] for demo in program.demos)
    assert labels(program) == GOLDS
    turns = [role for role, _ in calls(student)[-1].messages]
    assert turns == ["user", "assistant"] * 4 + ["user"]
    assert rules_in(calls(student)[-1].system)


def test_rules_come_on_top_of_demonstrations(case):
    program = bootstrap.demonstrations_first(case)
    shown = bootstrap.few_shot(case).compile(dspy.Predict(Mail), trainset=TRAIN)
    assert ruled(program) == ["self"]
    assert [dict(demo) for demo in program.demos] == [dict(demo) for demo in shown.demos]
    assert len(program.demos) == 4
    assert {demo.label for demo in program.demos} == {"work"}, "what the student got right without rules"
    assert labels(program) == GOLDS


def test_a_step_of_better_together(case):
    best = better_together.compiled(case)
    assert not best.flag_compilation_error_occurred
    assert ruled(best) == ["self"]
    assert PLDResult.load(case.folder).test is not None, "PLD's own arguments arrived"
    by_strategy = {one["strategy"]: one for one in best.candidate_programs}
    assert {name: one["score"] for name, one in by_strategy.items()} == {
        "": 33.33,
        "rules": 100.0,
        "rules -> demos": 100.0,
    }
    last = by_strategy["rules -> demos"]["program"]
    assert ruled(last) == ["self"]
    assert len(last.demos) == 4


def leaning(system: str, user: str) -> str:
    """Follow the rules, but take gardens for work; asked for probabilities, find home nearly as likely there."""
    label = next((label for words, label in rules_in(system) if any(word in user for word in words)), "work")
    garden = "garden" in user
    if not output_fields(system):
        return "work" if garden else label
    odds = {"spam": 0.1, "work": 0.5, "home": 0.4} if garden else dict.fromkeys(GOLDS, 0.1) | {label: 0.8}
    evidence = json.dumps({"probabilities": odds, "confidence": 0.8})
    return f"[[ ## label ## ]]\n{evidence}\n\n[[ ## completed ## ]]"


def test_reanchor_keeps_the_rules_and_mends_what_they_could_not(case):
    with dspy.context(lm=fn_lm(leaning, model="custom/leaning")):
        program = reanchor.compiled(case)
        unweighted = program.deepcopy()
        unweighted.fields = {}
        assert labels(program) == GOLDS
        wrong = {keyword(one) for one, label in zip(TEST, labels(unweighted), strict=True) if label != one.label}
    assert wrong == {"garden"}
    assert ruled(program) == ["self"]
    weights = program.fields["label"]["weights"]
    assert weights["home"] > 1.25 * weights["work"]


def test_a_classifier_routes_in_a_bigger_program(case):
    office = router.compiled(case)
    assert ruled(office) == ["router"]
    answers = [office(text=example.text) for example in TEST]
    assert [answer.desk for answer in answers] == GOLDS
    assert {answer.reply for answer in answers} == {"work"}, "no rule reaches the desks"


def test_the_bigger_program_is_saved_with_the_rules(case, tmp_path):
    office = router.compiled(case)
    office.save(tmp_path / "office.json")
    fresh = router.Office(dspy.Predict(Mail), "label", {one: dspy.Predict("text -> reply") for one in set(GOLDS)})
    fresh.load(tmp_path / "office.json")
    assert ruled(fresh) == ["router"]
    assert [fresh(text=example.text).desk for example in TEST] == GOLDS


def test_a_classifier_is_a_tool_of_an_agent(case, student):
    classifier = case.pld().compile(dspy.Predict(Mail), **case.data)
    classifier.set_lm(student)
    tool = router.as_tool(classifier, "label")
    assert (tool.name, set(tool.args)) == ("classify", {"text"})

    def looked(given: dict[str, str]) -> bool:
        return "observation_0" in given["trajectory"]

    agent = dspy.ReAct("text -> answer", tools=[tool])
    agent.set_lm(
        teacher_lm(
            {
                "next_thought": lambda given: "I need its label.",
                "next_tool_name": lambda given: "finish" if looked(given) else "classify",
                "next_tool_args": lambda given: json.dumps({} if looked(given) else {"text": given["text"]}),
                "reasoning": lambda given: "The tool said so.",
                "answer": lambda given: given["trajectory"].split("observation_0: ")[1].split("\n")[0],
            },
            cache=False,
        )
    )
    assert agent(text=mail(7, "home", "laundry").text).answer == "home"


WITHOUT_PLD = """
import json, sys
sys.modules["pld_dspy"] = None  # importing it raises ImportError
from pathlib import Path
from typing import Literal
import dspy
from engine import calls, rule_following_lm
from programs.inside.saved import load

class Mail(dspy.Signature):
    text: str = dspy.InputField()
    label: Literal["spam", "work", "home"] = dspy.OutputField()

lm = rule_following_lm("work", cache=False)
program = load(Path(sys.argv[1]), Mail)
with dspy.context(lm=lm):
    labels = [program(text=text).label for text in json.loads(sys.argv[2])]
assert not [name for name in sys.modules if name.startswith("pld_dspy.")]
print(json.dumps([labels, [call.system for call in calls(lm)]]))
"""


def test_a_saved_program_runs_where_pld_is_not_installed(case):
    texts = [example.text for example in TEST[:6]]
    lm = rule_following_lm("work", cache=False)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        program = saved.compiled(case)
        before = len(calls(lm))
        here = [program(text=text).label for text in texts]
    assert here == GOLDS[:6]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PLD, str(case.folder / "saved.json"), json.dumps(texts)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "tests")))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [here, [call.system for call in calls(lm)[before:]]]


def test_an_example_runs_on_the_demo_task(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cases, "local_lm", lambda: student_lm("travel"))
    monkeypatch.setattr(cases, "SEARCH", SearchConfig(screen_calls=0, trials=0))
    monkeypatch.delitem(sys.modules, nested.__name__)
    runpy.run_module("programs.inside.nested", run_name="__main__")
    said = capsys.readouterr().out
    assert "desk.sort, 0 demonstrations:" in said
    assert "budget='travel'" in said
    assert (tmp_path / "runs" / "inside-nested" / "result.json").exists()
