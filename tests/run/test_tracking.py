"""The recorder, against real MLflow stores on SQLite and a port where nobody listens."""

import logging
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import dspy
import numpy as np
import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import mlflow
from mlflow.tracking import fluent

from pld_dspy.errors import DataError
from pld_dspy.run.tracking import COMPILE_TAG, DESCRIPTION, MLflowRecorder, Recorder, recorder_for


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A fresh store; artifacts land beside it, since MLflow puts them under the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    yield f"sqlite:///{tmp_path}/mlflow.db"
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(None)
    fluent._active_experiment_id = None
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID"):  # MLflow's setters leave these behind
        os.environ.pop(name, None)


@pytest.fixture
def dead_uri() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://user:pa55@127.0.0.1:{taken.getsockname()[1]}"


def runs(uri: str) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(tracking_uri=uri)
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def test_one_run_holds_a_compile(uri: str, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("rules: []")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "deep.txt").write_text("x")
    recorder = MLflowRecorder(uri)
    with recorder.run("first"):
        recorder.params({"seed": 0, "eps": np.float32(0.5), "teacher": None, "on": np.bool_(True)})
        recorder.metric("val_macro_f1", np.float64(0.5), step=3)
        recorder.metric("val_macro_f1", 1, step=4)
        recorder.artifact(tmp_path / "rules.yaml")
        recorder.artifact(tmp_path / "folder")

    [run] = runs(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")
    assert client.get_experiment(run.info.experiment_id).name == "pld_dspy"
    assert run.data.params == {"seed": "0", "eps": "0.5", "teacher": "None", "on": "True"}
    history = client.get_metric_history(run.info.run_id, "val_macro_f1")
    assert [(point.step, point.value) for point in history] == [(3, 0.5), (4, 1.0)]
    assert {found.path for found in client.list_artifacts(run.info.run_id)} == {"rules.yaml", "folder"}
    assert [found.path for found in client.list_artifacts(run.info.run_id, "folder")] == ["folder/deep.txt"]


def test_global_state_is_left_alone(uri: str) -> None:
    before, environment = mlflow.get_tracking_uri(), dict(os.environ)
    recorder = MLflowRecorder(uri)
    with recorder.run("a"):
        assert mlflow.active_run() is None
        recorder.metric("m", 1.0)
        assert dict(os.environ) == environment
    assert mlflow.get_tracking_uri() == before
    assert dict(os.environ) == environment


def test_what_is_no_figure_is_left_out(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder = MLflowRecorder(uri)
    with recorder.run("odd"):
        for value in (float("nan"), float("inf"), None):
            recorder.metric("skipped", value)
        recorder.metric("kept", 1.0)

    [run] = runs(uri)
    assert run.data.metrics == {"kept": 1.0}
    assert not [record for record in caplog.records if record.name == "pld_dspy.run.tracking"]


def test_a_failed_compile_ends_its_run_as_failed(uri: str) -> None:
    with pytest.raises(KeyboardInterrupt), MLflowRecorder(uri).run("broken"):
        raise KeyboardInterrupt
    assert [run.info.status for run in runs(uri)] == ["FAILED"]


def test_the_configured_store_and_experiment_are_used(uri: str) -> None:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("chosen")
    with recorder_for("mlflow").run("a"):
        pass
    [run] = runs(uri)
    assert mlflow.get_experiment(run.info.experiment_id).name == "chosen"


def test_an_active_run_is_joined_and_left_open(uri: str) -> None:
    mlflow.set_tracking_uri(uri)
    recorder = MLflowRecorder()
    with mlflow.start_run(run_name="outer") as outer:
        with recorder.run("first"):
            recorder.params({"seed": 1})
            recorder.describe("<p>of the compile</p>")
        assert mlflow.active_run().info.run_id == outer.info.run_id
        with recorder.run("second"):
            recorder.params({"seed": 2})

    by_name = {run.info.run_name: run for run in runs(uri)}
    assert set(by_name) == {"outer", "second"}
    assert by_name["outer"].info.status == "FINISHED"
    assert by_name["outer"].data.params == {"seed": "1"}
    assert by_name["outer"].data.tags[COMPILE_TAG] == "first"
    assert DESCRIPTION not in by_name["outer"].data.tags, "the run is the user's, and so is its description"
    assert by_name["second"].data.params == {"seed": "2"}
    assert by_name["second"].data.tags["mlflow.parentRunId"] == outer.info.run_id


def test_an_active_run_of_another_store_is_not_joined(uri: str, empty_store: Path, tmp_path: Path) -> None:
    shutil.copy(empty_store, tmp_path / "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/other.db")
    with mlflow.start_run() as outer, MLflowRecorder(uri).run("own"):
        pass
    assert [run.info.run_name for run in runs(uri)] == ["own"]
    assert COMPILE_TAG not in mlflow.get_run(outer.info.run_id).data.tags


@pytest.mark.parametrize("log_compiles", [True, False])
def test_under_autolog_a_compile_is_still_one_run(uri: str, log_compiles: bool) -> None:
    class Recorded(dspy.teleprompt.Teleprompter):
        def get_params(self):
            return {}

        def compile(self, student, *, trainset, teacher=None, valset=None):
            recorder = recorder_for("mlflow")
            with recorder.run("compile"):
                recorder.params({"rules": 3})
                recorder.metric("val_macro_f1", 0.7, step=1)
            return student

    mlflow.set_tracking_uri(uri)
    mlflow.dspy.autolog(log_compiles=log_compiles)
    try:
        Recorded().compile(dspy.Predict("text -> label"), trainset=[dspy.Example(text="a", label="b")])
    finally:
        mlflow.dspy.autolog(disable=True)

    [run] = runs(uri)
    assert run.data.params["rules"] == "3"
    assert run.data.metrics["val_macro_f1"] == 0.7
    assert run.info.status == "FINISHED"
    saved = {found.path for found in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert ("best_model.json" in saved) == log_compiles  # autolog's own artifact is in the very same run


def test_a_dead_server_costs_seconds_and_one_warning(dead_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder, start, done = MLflowRecorder(dead_uri), time.monotonic(), False
    with recorder.run("lonely"):
        recorder.params({"seed": 0})
        recorder.metric("m", 1.0)
        recorder.artifact(Path("nowhere"))
        done = True
    assert done
    assert time.monotonic() - start < 5
    [warning] = [record for record in caplog.records if record.name == "pld_dspy.run.tracking"]
    assert warning.levelno == logging.WARNING
    assert "goes on without it" in warning.message


def test_a_server_that_dies_halfway_costs_seconds(uri: str, dead_uri: str, caplog: pytest.LogCaptureFixture) -> None:
    recorder, start = MLflowRecorder(uri), time.monotonic()
    with recorder.run("orphan"):
        recorder._client = mlflow.MlflowClient(tracking_uri=dead_uri)
        recorder.metric("m", 1.0)
        recorder.metric("m", 2.0)
    assert time.monotonic() - start < 12
    warnings = [r for r in caplog.records if r.name == "pld_dspy.run.tracking" and r.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "pa55" not in warnings[0].message
    assert "***@127.0.0.1" in warnings[0].message


def test_a_refused_artifact_stops_the_record_but_closes_the_run(
    uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = MLflowRecorder(uri)
    with recorder.run("a"):
        recorder.artifact(tmp_path / "missing.txt")
        recorder.metric("late", 1.0)
    [run] = runs(uri)
    assert (run.info.status, run.data.metrics) == ("FINISHED", {})
    assert "missing.txt" in caplog.text
    with recorder.run("b"):
        recorder.metric("again", 1.0)
    assert {run.info.run_name: run.data.metrics for run in runs(uri)}["b"] == {"again": 1.0}


def test_a_better_prompt_is_the_champion_if_it_was_measured_on_the_same(uri: str) -> None:
    recorder, client = MLflowRecorder(uri), mlflow.MlflowClient(tracking_uri=uri)
    champions = []
    with recorder.run("a"):
        for value, measured_on in ((0.5, "a"), (0.6, "b"), (0.5, "a"), (0.6, "a")):
            tags = {"measured_on": measured_on, "rules": "r"}
            recorder.prompt("pld-team", "Decide {{this}} {% if.", value=value, tags=tags)
            champions.append(client.get_prompt_version_by_alias("pld-team", "champion").version)
    assert champions == [1, 1, 1, 4]
    [run], first = runs(uri), client.get_prompt_version("pld-team", "1")
    assert first.template == "Decide {{this}} {% if."
    assert first.tags == {"measured_on": "a", "rules": "r", "validation": "0.500000", "run_id": run.info.run_id}


def test_outside_a_run_nothing_is_recorded(uri: str) -> None:
    recorder = MLflowRecorder(uri)
    recorder.params({"seed": 0})
    recorder.metric("m", 1.0)
    assert runs(uri) == []


def test_recorder_for() -> None:
    silent = recorder_for(None)
    assert type(silent) is Recorder
    with silent.run("a"):
        silent.params({"a": 1})
    assert recorder_for(silent) is silent
    given = recorder_for("http://127.0.0.1:5000")
    assert isinstance(given, MLflowRecorder)
    assert given.uri == "http://127.0.0.1:5000"
    with pytest.raises(DataError, match="'wandb' is not a tracking URI"):
        recorder_for("wandb")
    with pytest.raises(DataError, match="is no recorder"):
        recorder_for(Recorder)  # type: ignore[arg-type] # the class, not an instance
