"""A compile recorded on a real MLflow server over HTTP, and what a browser shows of it there."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from browser import load, needs_chromium
from tasks import compiled, leaning_lm, pld, student

from pld_dspy.run.folder import RunFolder
from pld_dspy.run.tracking import client_of, find_run


@pytest.fixture
def server(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--artifacts-destination", f"{tmp_path}/files"]
    command = [sys.executable, "-m", "mlflow", "server", *places, "--port", str(port), "--workers", "1"]
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (tmp_path / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
    try:
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 90
        while True:
            try:
                assert requests.get(f"{address}/health", timeout=5).text == "OK"
                break
            except requests.ConnectionError:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail((tmp_path / "server.log").read_text())
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@needs_chromium
def test_the_page_of_a_run_shows_scores_rules_and_data(server: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    optimizer = pld(folder.path, tracking=server)
    compiled(optimizer, student(leaning_lm()))
    client = client_of(server)
    run = find_run(client, folder.fingerprint)
    assert run.info.status == "FINISHED"
    assert "rules.yaml" in {one.path for one in client.list_artifacts(run.info.run_id)}
    page = f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    found = load(page, tmp_path / "browser", "--virtual-time-budget=20000")
    figures = optimizer.result.test
    for shown in (
        f"<td>{figures.baseline.macro_f1:.3f}</td><td>{figures.compiled.macro_f1:.3f}</td>",  # the description
        *(rule.text for rule in optimizer.result.rules.rules),
        "pld-label-",  # the prompt
        folder.settings()["data"]["train"].split()[0],  # the data set
    ):
        assert shown in found.stdout
