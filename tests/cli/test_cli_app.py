"""pld-dspy as a whole: defaults and help."""

import subprocess
import sys
from pathlib import Path

import dspy
import pytest
import typer
from command_line import COMPILE, ROOT, run

from pld_dspy.cli.app import app
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig


def test_options_default_to_what_the_library_defaults_to() -> None:
    options = {option.name: option for option in typer.main.get_command(app).commands["compile"].params}
    search = SearchConfig()

    assert options["screen_calls"].show_default == str(search.screen_calls)
    assert options["trials"].show_default == str(search.trials)
    induce = InduceConfig()
    for name in ("wordings", "drafts", "suspects", "audit"):
        assert getattr(options[name].default, "value", options[name].default) == getattr(induce, name)


def test_the_embedder_has_an_option_in_compile_and_demo() -> None:
    for command in ("compile", "demo"):
        option = next(one for one in typer.main.get_command(app).commands[command].params if one.name == "embedder")
        assert getattr(option.default, "value", option.default) == PLD().embedder
        refused = run(command, "--embedder", "bert")
        assert refused.exit_code == 2
        assert "'bert' is not one of 'auto', 'encoder', 'tfidf'" in " ".join(refused.output.replace("│", " ").split())


def test_threads_of_student_and_teacher_have_options_of_their_own(
    task: Path, student: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int | None, int]] = []
    monkeypatch.setattr(PLD, "estimate", lambda self, *_, **__: given.append((self.num_threads, self.teacher_threads)))
    monkeypatch.setattr("pld_dspy.cli.run_compile.print_estimate", lambda *_: None)

    assert run(*COMPILE, "--estimate").exit_code == 0
    assert run(*COMPILE, "--threads", "3", "--teacher-threads", "5", "--estimate").exit_code == 0
    assert given == [(None, 8), (3, 5)]


def test_help_is_there_without_loading_dspy() -> None:
    code = (
        "import sys\n"
        "from pld_dspy.cli.app import main\n"
        "sys.argv = ['pld-dspy', 'compile', '--help']\n"
        "try:\n    main()\n"
        "finally:\n    assert not {'dspy', 'mlflow', 'optuna'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "--rationales" in done.stdout
