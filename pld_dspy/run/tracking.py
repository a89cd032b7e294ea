"""Where a compile is recorded: in MLflow, one run per compile, or nowhere.

A tracking store must never stop a compile: its first error is logged as one warning, and the rest is not recorded.
"""

from __future__ import annotations

import json
import logging
import math
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ..errors import DataError, RunError, without_secrets

logger = logging.getLogger(__name__)

COMPILE_TAG = "pld_dspy.compile"
"""Tag of an MLflow run that records a compile; its value is the compile's name."""

FINGERPRINT = "fingerprint"
"""Param of an MLflow run: the fingerprint in the run folder's config.yaml, by which the run is found again."""

LINKED_PROMPTS = "mlflow.linkedPrompts"
"""MLflow's own tag of the prompts that belong to a run."""

DESCRIPTION = "mlflow.note.content"
"""MLflow's own tag of the text that its page of a run shows."""

CHAMPION = "champion"
"""Alias of the version of a prompt with the best objective on validation."""

ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""MLflow's own defaults, 7 retries with backoff of up to 120 s each, would delay a compile by many minutes."""

Value = str | int | float | bool | None


class Recorder:
    """Records what a compile does inside :meth:`run`; this one nothing, and your own override its methods."""

    def run(self, name: str) -> AbstractContextManager[None]:
        """Return the context of the compile ``name``: failed if the block raises, else finished."""
        return nullcontext()

    def params(self, values: Mapping[str, Value]) -> None:
        """Record settings, each once per compile."""

    def metric(self, name: str, value: float | None, step: int = 0) -> None:
        """Record a figure at a step, if it is finite."""

    def artifact(self, path: Path) -> None:
        """Record a file, or a folder with all in it."""

    def data(self, split: str, digest: str, rows: int) -> None:
        """Record which examples a split has, by their digest; their texts are not given."""

    def prompt(self, name: str, text: str, *, value: float, tags: Mapping[str, str]) -> None:
        """Record the instructions found, the next version of the prompt ``name``.

        ``value`` is their objective on validation; it can be compared with that of versions with the same
        ``measured_on`` among their tags.
        """

    def describe(self, html: str) -> None:
        """Record scores, rules and notes as a page that people read."""


class MLflowRecorder(Recorder):
    """Records each compile as one MLflow run, and leaves MLflow's global state as it is.

    If the calling thread has an active run in the same store, such as that of ``mlflow.dspy.autolog``, the compile is
    recorded there and the run stays open; a second compile inside it becomes its child run. Without ``uri``, store and
    experiment are those that MLflow is configured for.
    """

    def __init__(self, uri: str | None = None) -> None:
        self.uri = uri
        self._client: Any = None
        self._run_id: str | None = None
        self._owned = self.works = False

    @contextmanager
    def run(self, name: str) -> Iterator[None]:
        """Record the block as one compile."""
        self.works = True
        with self._guarded():
            self._open(name)
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:  # also after a refused artifact or metric: a run that stays open would look alive for ever
            if self._run_id is not None and self._owned:
                with self._guarded():
                    self._client.set_terminated(self._run_id, status)
            self._close()

    @contextmanager
    def reopened(self, fingerprint: str) -> Iterator[None]:
        """Record the block in the run of the compile with this fingerprint, which has ended, if that can be had."""
        self.works = True
        with self._guarded():
            self._client = client_of(self.uri)
            self._run_id = find_run(self._client, fingerprint).info.run_id
        try:
            yield
        finally:
            self._close()

    def _close(self) -> None:
        self._client, self._run_id, self._owned, self.works = None, None, False, False

    def params(self, values: Mapping[str, Value]) -> None:
        """Record settings."""
        from mlflow.entities import Param

        params = [Param(name, str(value)) for name, value in values.items()]
        self._send(lambda client, run_id: client.log_batch(run_id, params=params))

    def metric(self, name: str, value: float | None, step: int = 0) -> None:
        """Record a figure at a step."""
        if value is not None and math.isfinite(value):
            self._send(lambda client, run_id: client.log_metric(run_id, name, float(value), step=step))

    def artifact(self, path: Path) -> None:
        """Record a file or folder under its own name; a CSV file also as a table, which MLflow compares across runs."""
        self._send(lambda client, run_id: client.log_artifact(run_id, str(path)))
        if path.suffix == ".csv":
            import pandas as pd

            def log_table(client: Any, run_id: str | None) -> None:
                table = pd.read_csv(path, keep_default_na=False, na_values=[""])
                client.log_table(run_id, table, f"{path.stem}.json")

            self._send(log_table)

    def data(self, split: str, digest: str, rows: int) -> None:
        """Record a split as a data set of the run."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        dataset = Dataset(split, digest, "local", json.dumps({"uri": split}), profile=json.dumps({"num_rows": rows}))
        given = DatasetInput(dataset, [InputTag("mlflow.data.context", split)])
        self._send(lambda client, run_id: client.log_inputs(run_id, [given]))

    def prompt(self, name: str, text: str, *, value: float, tags: Mapping[str, str]) -> None:
        """Register the instructions; they become the champion if they are better than the present one."""
        self._send(lambda client, run_id: register_prompt(client, run_id, name, text, value, tags))

    def describe(self, html: str) -> None:
        """Show the page as the description of the run, of which MLflow keeps 8,000 characters.

        A run of the user's keeps its own description.
        """
        if self._owned:
            self._send(lambda client, run_id: client.set_tag(run_id, DESCRIPTION, html))

    def _send(self, call: Callable[[Any, str | None], object]) -> None:
        if self.works:
            with self._guarded():
                call(self._client, self._run_id)

    def _open(self, name: str) -> None:
        """Join the thread's active run, or open a new one."""
        import mlflow

        configured = mlflow.get_tracking_uri()
        uri = self.uri or configured
        self._client = client_of(self.uri)
        tags = {COMPILE_TAG: name}
        active = mlflow.active_run() if uri == configured else None
        if active is None:
            experiment = self._experiment_id()
        elif COMPILE_TAG in self._client.get_run(active.info.run_id).data.tags:
            experiment = active.info.experiment_id
            tags["mlflow.parentRunId"] = active.info.run_id
        else:
            self._run_id = active.info.run_id
            self._client.set_tag(self._run_id, COMPILE_TAG, name)
            return
        self._run_id = self._client.create_run(experiment, run_name=name, tags=tags).info.run_id
        self._owned = True

    def _experiment_id(self) -> str:
        name = "pld_dspy"
        if self.uri is None:
            if chosen := os.environ.get("MLFLOW_EXPERIMENT_ID"):  # mlflow.set_experiment sets it as well
                return chosen
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or name
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Stop recording at the first failure, with one warning."""
        try:
            with impatient():
                yield
        except Exception as error:  # noqa: BLE001 - stores are plug-ins over SQL drivers and cloud clients, with no
            # common base class, and a compile of hours must outlive every one of them.
            logger.log(
                logging.WARNING if self.works else logging.DEBUG,
                "Tracking stopped and the compile goes on without it: %s. "
                "Check the tracking URI and its server, or set tracking=None.",
                without_secrets(f"{type(error).__name__}: {error}").rstrip("."),
            )
            self.works = False


def recorder_for(tracking: str | Recorder | None) -> Recorder:
    """Return the recorder for a setting of ``PLD``; DataError if it is no recorder, "mlflow", URI or None."""
    if tracking is None or isinstance(tracking, Recorder):
        return tracking or Recorder()
    if not isinstance(tracking, str):
        raise DataError(f"tracking={tracking!r} is no recorder. Give an instance of a subclass of Recorder.")
    if tracking == "mlflow":
        return MLflowRecorder()
    if not urlsplit(tracking).scheme and tracking != "databricks":
        raise DataError(
            f"tracking={tracking!r} is not a tracking URI. "
            "Give 'mlflow', a URI such as 'sqlite:///mlflow.db' or 'http://127.0.0.1:5000', or None."
        )
    return MLflowRecorder(tracking)


@contextmanager
def impatient() -> Iterator[None]:
    """Let MLflow try little and show nothing, which it reads from the environment, unless the user has set that."""
    added = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


def client_of(uri: str | None) -> Any:
    """Return a client of the store at ``uri``, else of the configured one; OSError if its server does not answer."""
    import mlflow

    _probe(uri or mlflow.get_tracking_uri())
    return mlflow.MlflowClient(tracking_uri=uri)


def find_run(client: Any, fingerprint: str) -> Any:
    """Return the newest MLflow run of the compile with this fingerprint; RunError where there is none."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"params.{FINGERPRINT} = '{fingerprint}'", max_results=1)  # newest first
    if not runs:
        raise RunError(
            "The tracking store has no run of this compile. Name the store that the compile was recorded in "
            "(--tracking URI)."
        )
    return runs[0]


def register_prompt(
    client: Any, run_id: str | None, name: str, text: str, value: float, tags: Mapping[str, str]
) -> int:
    """Register a version of a prompt, with arguments as for :meth:`Recorder.prompt`; return its number."""
    tags = {**tags, "validation": f"{value:.6f}", "run_id": str(run_id)}
    version = client.register_prompt(name, text, tags=tags).version
    linked = json.loads(client.get_run(run_id).data.tags.get(LINKED_PROMPTS, "[]"))
    linked.append({"name": name, "version": str(version)})  # MLflow's own function asks the configured store
    client.set_tag(run_id, LINKED_PROMPTS, json.dumps(linked))
    best = client.load_prompt(f"prompts:/{name}@{CHAMPION}", allow_missing=True, cache_ttl_seconds=0)
    known = {} if best is None else best.tags
    comparable = known.get("measured_on") == tags.get("measured_on")
    if best is None or (comparable and value > float(known["validation"])):
        client.set_prompt_alias(name, CHAMPION, version)
    return int(version)


def _probe(uri: str) -> None:
    """Raise OSError if a tracking server's port does not answer; not tested behind a proxy, which hides the port."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or parts.scheme in getproxies():
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    socket.create_connection((parts.hostname or "", port), timeout=2.0).close()
