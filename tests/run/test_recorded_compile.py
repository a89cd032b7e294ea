"""What MLflow holds of a compile: inputs, tables, the prompt and the model, and none of the keys planted in it."""

import json
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

import dspy
import mlflow
import pandas as pd
from engine import fn_lm, rules_in
from serving import ModelServer
from tasks import TEST, compiled, leaning_lm, pld, student
from typer.testing import CliRunner, Result

from pld_dspy.cli.app import app
from pld_dspy.errors import RunError
from pld_dspy.release.registry import log_model, mark_signed, record_finished
from pld_dspy.release.served import CompiledProgram, _adapter, _lm
from pld_dspy.release.signature import read_signature
from pld_dspy.run.folder import RunFolder
from pld_dspy.run.result import PLDResult
from pld_dspy.run.tracking import DESCRIPTION, find_run

CANARY = "canary-5e3d-q8"


@dataclass(frozen=True)
class Recorded:
    """A compile that is recorded in a store."""

    uri: str
    folder: RunFolder
    result: PLDResult

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(tracking_uri=self.uri)

    @property
    def run(self) -> mlflow.entities.Run:
        return find_run(self.client, self.folder.fingerprint)


@pytest.fixture(scope="module")
def recorded(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    path = tmp_path_factory.mktemp("recorded")
    shutil.copy(empty_store, path / "mlflow.db")
    uri, lm = f"sqlite:///{path}/mlflow.db", leaning_lm()
    lm.kwargs["api_key"] = CANARY
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)  # MLflow puts artifacts there
        optimizer = pld(path / "run", calibrate=True, error_rate=0.2, tracking=uri)
        compiled(optimizer, student(lm))
    return Recorded(uri, RunFolder(path / "run"), optimizer.result)


def test_a_calibrated_compile_tells_what_it_answers(recorded: Recorded) -> None:
    found, metrics = recorded.result.calibration, recorded.run.data.metrics
    assert metrics["test_macro_f1_gain_calibrated"] == found.difference_to_baseline.macro_f1
    for name, side in (("baseline", found.baseline), ("compiled", found.compiled)):
        student_name = f"{name}_calibrated"
        assert metrics[f"test_macro_f1_{student_name}"] == side.calibrated.score.macro_f1
        assert metrics[f"test_calibration_error_{name}"] == side.plain.calibration_error
        assert metrics[f"test_calibration_error_{student_name}"] == side.calibrated.calibration_error
        assert metrics[f"out_of_fold_macro_f1_gain_{student_name}"] == side.offsets.gain.macro_f1
        assert metrics.get(f"threshold_{student_name}") == side.abstention.threshold
        for split, kept in (("val", side.abstention.validation), ("test", side.abstention.test)):
            assert metrics[f"{split}_coverage_{student_name}"] == kept.coverage
            assert metrics.get(f"{split}_error_answered_{student_name}") == kept.error_rate
    assert found.compiled.abstention.threshold is not None
    assert found.compiled.abstention.test.error_rate is not None


def test_the_page_of_a_run_describes_it(recorded: Recorded) -> None:
    described, found = recorded.run.data.tags[DESCRIPTION], recorded.result
    calibrated = found.calibration.compiled.calibrated.score.macro_f1
    for part in ("test, calibrated", f"{calibrated:.3f}", *(rule.id for rule in found.rules.rules)):
        assert part in described


def test_models_data_sets_and_tables_stand_with_the_run(recorded: Recorded) -> None:
    run, settings = recorded.run, recorded.folder.settings()
    assert (run.data.params["student_model"], run.data.params["teacher_model"]) == ("custom/leaning", "custom/teacher")
    known = {one.dataset.name: one.dataset for one in run.inputs.dataset_inputs}
    shown = {name: f"{one.digest} ({json.loads(one.profile)['num_rows']} rows)" for name, one in known.items()}
    assert shown == settings["data"]
    assert not [one for one in known.values() if TEST[0].text in repr(vars(one))]
    tables = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert [one["path"] for one in tables] == ["trials.json", "confusion.json"]
    table = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/trials.json")
    assert len(table["data"]) == recorded.result.counts["trials"]
    assert table["columns"] == recorded.folder.trials.read_text().splitlines()[0].split(",")


def test_the_instructions_are_a_prompt_that_a_signature_marks(recorded: Recorded, tmp_path: Path) -> None:
    client, run = recorded.client, recorded.run
    [linked] = json.loads(run.data.tags["mlflow.linkedPrompts"])
    champion = client.get_prompt_version_by_alias(linked["name"], "champion")
    assert champion.template == recorded.result.instructions
    assert champion.tags["rules"] == recorded.result.rules.digest
    assert champion.tags["run_id"] == run.info.run_id
    assert float(champion.tags["validation"]) == pytest.approx(recorded.result.validation.compiled.objective, abs=1e-6)
    copy = RunFolder(shutil.copytree(recorded.folder.path, tmp_path / "run"))

    def sign(*options: str) -> Result:
        return CliRunner().invoke(app, ["sign", str(copy.path), "--by", "Ann", *options])

    assert f"MLflow: version {champion.version} of the prompt" in sign("--tracking", recorded.uri).stdout
    assert client.get_prompt_version_by_alias(linked["name"], "signed").version == champion.version

    rule = recorded.result.rules.rules[0].text
    for path in (copy.rules, copy.program, copy.result):  # in the end as recheck leaves them
        path.write_text(path.read_text(encoding="utf-8").replace(rule, f"{rule} Always."), encoding="utf-8")
        if path == copy.rules:
            with pytest.raises(RunError, match=r"rules.yaml was edited"):
                mark_signed(copy.path, recorded.uri)
    assert "MLflow" not in sign("--tracking", "none").output
    with pytest.raises(RunError, match="There is no tracking store at"):
        mark_signed(copy.path, f"sqlite:///{copy.path}/none.db")
    assert not (copy.path / "none.db").exists()
    numbers = [mark_signed(copy.path, recorded.uri) for _ in range(2)]
    assert numbers == [champion.version + 1] * 2
    signed = client.get_prompt_version_by_alias(linked["name"], "signed")
    assert (signed.version, f"{rule} Always." in signed.template) == (numbers[0], True)
    assert signed.tags["measured_on"] == champion.tags["measured_on"]


def test_a_store_that_fails_costs_no_signature(recorded: Recorded, tmp_path: Path) -> None:
    run = shutil.copytree(recorded.folder.path, tmp_path / "run")
    store = "http://ann:pa55word@127.0.0.1:9"
    found = CliRunner().invoke(app, ["sign", str(run), "--by", "Bob", "--tracking", store])
    assert (found.exit_code, read_signature(run).by) == (0, "Bob")
    assert "Signed, but not marked in MLflow: MLflow refused: " in found.stderr
    assert "pa55word" not in found.output


def test_the_logged_model_answers_and_holds_no_key(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = log_model(recorded.folder.path, recorded.uri)
    model = recorded.client.get_logged_model(uri.removeprefix("models:/"))
    assert model.source_run_id == recorded.run.info.run_id
    assert [one.model_id for one in recorded.run.outputs.model_outputs] == [model.model_id]

    def answer(system: str, user: str) -> str:
        return next((label for words, label in rules_in(system) if words[0] in user), "work")

    with ModelServer(answer) as server, dspy.context():
        monkeypatch.setenv("STUDENT_MODEL", "openai/served")
        monkeypatch.setenv("STUDENT_API_BASE", f"http://127.0.0.1:{server.http.server_port}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "none")
        served = mlflow.pyfunc.load_model(model.artifact_location)
        rows = [{"text": example.text} for example in TEST[:4]]
        answers = served.predict(rows)["label"].tolist()
        system = server.bodies[0]["messages"][0]["content"]
    assert system.startswith(recorded.result.instructions)
    assert answers == [answer(system, row["text"]) for row in rows]
    files = [path for path in recorded.folder.path.parent.rglob("*") if path.is_file()]
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert not [path for path in files if path.suffix == ".pkl"]


def test_the_model_answers_several_labels_at_once(tmp_path: Path) -> None:
    signature = dspy.Signature(
        {"text": (str, dspy.InputField()), "tags": (list[Literal["a", "b"]], dspy.OutputField())}
    )
    program = dspy.Predict(signature.with_instructions("Name all that fit."))
    program.save(tmp_path / "program.json")
    decision = {"inputs": ["text"], "label_field": "tags", "labels": ["a", "b"], "several": True}
    context = SimpleNamespace(
        artifacts={"program": tmp_path / "program.json"},
        model_config={
            **decision,
            "lm": {"model": "openai/x", "type": "chat"},
            "adapter": "LabelAdapter",
            "constrain": "none",
        },
    )
    model = CompiledProgram()
    model.load_context(context)
    model.lm = fn_lm(lambda system, user: "a, b" if "Name all that fit." in system else "a")
    assert model.predict(context, pd.DataFrame([{"text": "x"}])).to_dict("records") == [{"tags": ["a", "b"]}]


def test_a_local_student_is_served_with_its_own_settings_or_reached_at_an_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"model": "openai/small", "type": "chat", "server": "llama.cpp", "temperature": 0.7}
    for name in ("STUDENT_MODEL", "STUDENT_API_BASE", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pld_dspy.local_lm", lambda spec, **given: (spec, given))
    assert _lm(settings) == ("local:small", {"temperature": 0.7})
    monkeypatch.setenv("STUDENT_API_BASE", "http://127.0.0.1:9/v1")
    there = _lm(settings)
    assert there.model == "openai/small"
    given = {"temperature": 0.7, "api_base": "http://127.0.0.1:9/v1", "api_key": "local"}
    assert {name: there.kwargs[name] for name in given} == given
    config = {"adapter": "LabelAdapter", "constrain": "auto", "lm": settings}
    assert _adapter(config).constrain == "grammar"
    assert _adapter({**config, "constrain": "none"}).constrain == "none"


def test_a_program_that_takes_its_own_code_is_refused_and_the_report_is_kept(
    recorded: Recorded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = RunFolder(tmp_path / "other")
    shutil.copytree(recorded.folder.path, folder.path)
    config = folder.config.read_text().replace("predictor: self", "predictor: decide")
    folder.config.write_text(config)
    folder.report.write_text("<html>")
    record_finished(folder.path, recorded.uri)
    assert "No model was logged in MLflow: The program of" in caplog.text
    assert "report.html" in {one.path for one in recorded.client.list_artifacts(recorded.run.info.run_id)}


def test_a_store_that_fails_costs_one_warning(recorded: Recorded, caplog: pytest.LogCaptureFixture) -> None:
    record_finished(recorded.folder.path, "http://127.0.0.1:9")
    assert [one.levelno for one in caplog.records if one.name.startswith("pld_dspy")] == [logging.WARNING]
    with pytest.raises(RunError, match=r"MLflow refused: .*Check the tracking URI"):
        log_model(recorded.folder.path, "http://127.0.0.1:9")
