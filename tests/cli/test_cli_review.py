"""pld-dspy review: the page of a real run, its flips included, until Ctrl+C."""

import signal
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest
from command_line import refused, run
from engine import calls

from pld_dspy.cli.review import _flips
from pld_dspy.rules import read_yaml, write_yaml
from pld_dspy.run.result import PLDResult


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that a script started in the background ignores Ctrl+C, and would serve for ever."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_the_page_is_served_until_the_command_is_interrupted(
    done: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages: list[str] = []
    main = threading.get_ident()

    def browse(address: str) -> None:
        def look() -> None:
            try:
                with urllib.request.urlopen(address, timeout=20) as answer:
                    pages.append(answer.read().decode())
            finally:
                signal.pthread_kill(main, signal.SIGINT)  # Ctrl+C

        threading.Thread(target=look).start()

    monkeypatch.setattr(webbrowser, "open", browse)
    before = {path.name: path.read_bytes() for path in (done / "run").iterdir() if path.suffix != ".lock"}
    result = run("review", "run")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("http://127.0.0.1:")
    assert calls(student) == []
    assert "4 turned right, 0 turned wrong" in " ".join(pages[0].split())
    assert before == {path.name: path.read_bytes() for path in (done / "run").iterdir() if path.suffix != ".lock"}


def test_flips_are_given_to_the_nearest_rule_for_either_answer(done: Path) -> None:
    rules = PLDResult.load(done / "run").rules
    found, why = _flips(done / "run", rules)
    assert why == ""
    assert found is not None
    assert {flip.after for flips in found.values() for flip in flips} == {"sport"}
    for rule_id, flips in found.items():
        assert {rule.labels for rule in rules.rules if rule.id == rule_id} <= {("sport",), ("food",)}
        assert all(flip.before == "food" and flip.verdict == "now right" for flip in flips)
    assert sum(map(len, found.values())) == 4


@pytest.mark.parametrize("lacks", ["answers", "command", "data"])
def test_where_answers_are_not_at_hand_the_page_says_why(done: Path, lacks: str) -> None:
    folder = done / "run"
    if lacks == "answers":
        (folder / "predictions.jsonl").unlink()
    elif lacks == "data":
        (done / "train.csv").unlink()
    else:
        config = read_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        del config["command"]
        (folder / "config.yaml").write_text(write_yaml(config), encoding="utf-8")
    found, why = _flips(folder, PLDResult.load(folder).rules)
    assert found is None
    assert {"answers": "predictions.jsonl lacks", "command": "compiled from Python", "data": "train.csv"}[lacks] in why


def test_what_is_no_finished_run_is_refused(task: Path) -> None:
    assert "not a run folder" in refused(run("review", ".", "--no-browser"))
