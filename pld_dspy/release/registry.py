"""A finished run in MLflow's registries: its program as a model to serve, and the mark of a signature."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ..errors import RunError
from ..ledger.jsonl import new_folder, writing
from ..run.folder import RunFolder
from ..run.result import PLDResult
from ..run.tracking import (
    LINKED_PROMPTS,
    MLflowRecorder,
    Recorder,
    client_of,
    find_run,
    impatient,
    recorder_for,
    register_prompt,
)
from .edits import unchecked

logger = logging.getLogger(__name__)

SIGNED = "signed"
"""Alias of the version of a prompt that somebody signed last."""

_ADAPTER = re.compile(r"(LabelAdapter|ChatAdapter|JSONAdapter)\((?:constrain='(\w+)')?")


def record_finished(folder: Path | str, tracking: str | Recorder | None) -> None:
    """Add report.html, and the program as a model, to the MLflow run of a finished compile.

    A store that fails is a warning, and so is a program that :func:`log_model` does not take.
    """
    recorder, run = recorder_for(tracking), RunFolder(folder)
    if not isinstance(recorder, MLflowRecorder):
        return
    with recorder.reopened(run.fingerprint):
        if run.report.is_file():
            recorder.artifact(run.report)
        if recorder.works:
            try:
                log_model(folder, recorder.uri)
            except RunError as error:
                logger.warning("No model was logged in MLflow: %s", error)


def log_model(folder: Path | str, uri: str | None = None) -> str:
    """Log the compiled program of a finished run as an MLflow model from code; return its URI.

    The model is program.json with a few lines of Python: nothing is pickled, and no key is in it. It answers without
    calibration.

    Args:
        folder: the run folder.
        uri: the store in which the compile was recorded; the configured one where None.

    Raises:
        RunError: the run is not finished or not in the store, the program is not one ``dspy.Predict`` under an adapter
            of DSPy or a ``LabelAdapter``, or the store refuses.
    """
    from mlflow.entities import LoggedModelOutput

    with _refusals(), TemporaryDirectory() as path:
        save_model(folder, Path(path) / "model")
        client = client_of(uri)
        found = find_run(client, RunFolder(folder).fingerprint)
        model = client.create_logged_model(found.info.experiment_id, name="program", source_run_id=found.info.run_id)
        client.log_model_artifacts(model.model_id, str(Path(path) / "model"))
        client.finalize_logged_model(model.model_id, "READY")
        client.log_outputs(found.info.run_id, [LoggedModelOutput(model.model_id, step=0)])
    return f"models:/{model.model_id}"


def save_model(folder: Path | str, path: Path) -> None:
    """Write the model of :func:`log_model` as an MLflow model folder, without a store.

    Args:
        folder: the run folder.
        path: where the model goes, empty or new.

    Raises:
        DataError: ``path`` is not empty.
        RunError: the run is not finished, its program is none that :func:`log_model` takes, or ``path`` cannot be
            written.
    """
    run = RunFolder(folder)
    PLDResult.load(run.path)  # raises where it is not finished
    config = _served(run)
    new_folder(path)
    with impatient(), writing(path):
        _save(path, run, config)


def mark_signed(folder: Path | str, uri: str | None = None) -> int:
    """Give the alias ``signed`` to the version of the prompt with the signed rules; return the version.

    That is the version which the compile registered last; where people have edited the rules since, a new one.

    Raises:
        RunError: rules.yaml has edits that were not rechecked, the run is not in the store or registered no prompt
            there, or the store refuses.
    """
    run = RunFolder(folder)
    if unchecked(run.path):
        raise RunError(f"{run.rules} was edited. Run pld-dspy recheck {run.path} and sign it first.")
    result = PLDResult.load(run.path)
    with _refusals():
        _check_exists(uri)
        client = client_of(uri)
        found = find_run(client, run.fingerprint)
        linked = json.loads(found.data.tags.get(LINKED_PROMPTS, "[]"))
        linked = [one for one in linked if one["name"].startswith("pld-")]  # others are the user's own
        if not linked:
            raise RunError(f"The compile of {folder} registered no prompt in this store. Compile again.")
        name, number = linked[-1]["name"], int(linked[-1]["version"])
        tags = client.get_prompt_version(name, str(number)).tags
        if tags.get("rules") != result.rules.digest:
            tags = {"measured_on": tags["measured_on"], "rules": result.rules.digest}
            value = result.validation.compiled.objective
            number = register_prompt(client, found.info.run_id, name, result.instructions, value, tags)
        client.set_prompt_alias(name, SIGNED, number)
    return number


def _check_exists(uri: str | None) -> None:
    """Raise RunError where the store is a SQLite file that is not there: a client would make an empty one."""
    import mlflow

    uri = uri or mlflow.get_tracking_uri()
    path = uri.removeprefix("sqlite:///")
    if path != uri and not Path(path).is_file():
        raise RunError(f"There is no tracking store at {path}. Name the one that the compile was recorded in.")


def _served(run: RunFolder) -> dict[str, Any]:
    """Return what served.py has to know of the run."""
    settings = run.settings()
    task, adapter = settings["task"], _ADAPTER.match(settings["adapter"])
    if task["predictor"] != "self" or adapter is None:
        raise RunError(
            f"The program of {run.path} is not one dspy.Predict under LabelAdapter, ChatAdapter or JSONAdapter, so "
            "serving it takes its own code. docs/mlflow-optuna.md shows how to log that."
        )
    name, constrain = adapter.groups()
    decision = {key: task[key] for key in ("inputs", "label_field", "labels", "several")}
    return {**decision, "lm": settings["student"]["lm"], "adapter": name, "constrain": constrain}


def _save(path: Path, run: RunFolder, config: dict[str, Any]) -> None:
    import mlflow
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema
    from mlflow.types.schema import Array

    label = Array(DataType.string) if config["several"] else DataType.string
    packages = ["dspy", "mlflow"]
    if config["adapter"] == "LabelAdapter" or "server" in config["lm"]:
        packages.append("pld-dspy")
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(Path(__file__).with_name("served.py")),
        artifacts={"program": str(run.program)},
        model_config=config,
        signature=ModelSignature(
            inputs=Schema([ColSpec(DataType.string, name) for name in config["inputs"]]),
            outputs=Schema([ColSpec(label, config["label_field"])]),
        ),
        input_example=pd.DataFrame([dict.fromkeys(config["inputs"], "...")]),
        pip_requirements=[f"{name}=={version(name)}" for name in packages],
    )


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise what the store says as RunError."""
    from mlflow.exceptions import MlflowException

    try:
        with impatient():
            yield
    except (MlflowException, OSError) as error:
        raise RunError(f"MLflow refused: {error}. Check the tracking URI and its server.") from error
