"""An experiment as a user runs it, with a deterministic student in place of the model."""

from pathlib import Path

import pytest
from engine import calls
from tasks import student_lm
from typer.testing import CliRunner

from experiments import runner
from experiments.__main__ import app
from experiments.config import Experiment
from pld_dspy.errors import DataError


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.yaml"
    path.write_text(
        "name: tiny\nprogram: pld_dspy.demo\noptimizers: [zero_shot, tfidf_logistic]\nseeds: [0, 1]\n"
        f"tracking: sqlite:///{tmp_path}/mlflow.db\nfolder: {tmp_path}/work\n"
    )
    return path


def test_cells_run_once_and_the_table_has_a_row_for_each(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lm = student_lm("food")
    monkeypatch.setattr(runner, "resolve_lm", lambda spec: lm)
    first = CliRunner().invoke(app, ["run", str(config)])
    assert first.exit_code == 0, first.output
    assert len(calls(lm)) == 84, "the unchanged student is the same with both seeds, and asked once"
    rows = [line for line in first.stdout.splitlines() if line.startswith(("| zero_shot", "| tfidf_logistic"))]
    assert len(rows) == 4
    assert "84 test examples" in first.stdout
    again = CliRunner().invoke(app, ["run", str(config)])
    assert again.stdout == first.stdout
    assert len(calls(lm)) == 84


@pytest.mark.parametrize(
    ("line", "setting"), [("budget: 0", "budget"), ("student: 3", "student"), ("colour: red", "colour")]
)
def test_wrong_setting_is_named(config: Path, line: str, setting: str) -> None:
    config.write_text(config.read_text() + line + "\n")
    with pytest.raises(DataError, match=setting):
        Experiment.load(config)


def test_shipped_configurations_load_and_name_known_optimizers() -> None:
    from optimizers import OPTIMIZERS

    for path in (Path(__file__).parents[1] / "experiments" / "configs").glob("*.yaml"):
        assert set(Experiment.load(path).optimizers) <= set(OPTIMIZERS), path
