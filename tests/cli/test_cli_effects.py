"""pld-dspy effects, and shorter lists by pld-dspy rules --tokens."""

import json
from pathlib import Path

import dspy
from command_line import refused, run
from engine import calls

from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.search.search_result import Insight, OrderSpread, Rung


class TestEffects:
    def test_rules_are_valued_by_answers_that_are_kept_in_the_run(self, done: Path, student: dspy.LM) -> None:
        printed = run("effects", "run").stdout
        found = json.loads(RunFolder("run").effects.read_text(encoding="utf-8"))

        assert found["calls"] == 8
        assert calls(student) == [], "of a single rule, the compile has asked both lists"
        assert "sport-1" in printed
        assert "negative: the list is better without the rule" in printed
        assert found["unit"] == "share of right answers"
        assert found["effects"][0]["effect"] > 0
        assert "<svg" in RunFolder("run").effects_plot.read_text(encoding="utf-8")
        assert json.loads(run("effects", "run", "--json").stdout) == found

    def test_what_stands_around_the_example_stays(self, done: Path, student: dspy.LM) -> None:
        program = RunFolder("run").program
        state = json.loads(program.read_text(encoding="utf-8"))
        state["signature"]["fields"][-1]["prefix"] = "Which topic is it?"
        program.write_text(json.dumps(state), encoding="utf-8")

        run("effects", "run", "--calls", "8")

        assert calls(student)
        assert all("Which topic is it?" in call.user for call in calls(student))

    def test_other_data_than_the_compiles_are_refused(self, done: Path) -> None:
        table = done / "val.csv"
        table.write_text(table.read_text(encoding="utf-8").replace("soup", "stew"), encoding="utf-8")

        assert "no longer the one that was compiled with" in refused(run("effects", "run"))


class TestShorterLists:
    def test_a_list_that_was_never_asked_says_so(self, done: Path) -> None:
        result = PLDResult.load(Path("run"))
        [rule] = result.rules.rules
        rungs = [
            Rung(tokens=tokens, rules=result.rules.with_rules([rule.with_wording(number)]), expected=0.5, asked=asked)
            for number, (tokens, asked) in enumerate([(20, False), (40, True)])
        ]
        order = OrderSpread(own=0.5, mean=0.5, sd=0.0)
        insight = Insight(order=order, ladder=rungs, gain_of_1000_calls=0.0)
        result.model_copy(update={"insight": insight}).save(Path("run"))

        short, whole = (run("rules", "run", "--tokens", tokens).stdout for tokens in ("30", "99"))

        assert "20 prompt tokens, expected 0.500 on validation; by the search's model: never asked" in short
        assert rule.wordings[0] in short
        assert "the student was asked all examples" in whole
        assert rule.wordings[1] in whole
        assert "knows no list" in run("rules", "run", "--tokens", "5").stdout
        assert "--tokens" in refused(run("rules", "run", "--tokens", "5", "--format", "prompt"))
