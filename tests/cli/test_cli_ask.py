"""pld-dspy ask: one input, and what speaks for the answer."""

import json
from pathlib import Path

import dspy
from command_line import refused, run
from engine import calls

from pld_dspy.run.folder import RunFolder


def test_the_answer_is_that_of_the_rules_and_is_kept(done: Path, student: dspy.LM) -> None:
    shown = run("ask", "run", "A goal, at last.")
    assert (shown.exit_code, shown.stdout) == (0, "topic: sport\n"), shown.output
    asked = len(calls(student))
    assert json.loads(run("ask", "run", "A goal, at last.", "--json").stdout)["topic"] == "sport"
    assert len(calls(student)) == asked > 0


def test_a_number_of_texts_that_does_not_fit_is_refused(done: Path) -> None:
    assert "The program's inputs are text. Give as many texts" in refused(run("ask", "run", "One.", "Two."))


def test_edits_that_were_not_rechecked_are_said_to_be_left_out(done: Path) -> None:
    path = RunFolder("run").rules
    path.write_text(path.read_text(encoding="utf-8").replace("match", "racket"), encoding="utf-8")
    shown = run("ask", "run", "A racket.")
    assert shown.stdout == "topic: food\n"
    assert "rules.yaml has edits that were not rechecked (sport-1)" in shown.stderr
