"""pld-dspy export and verify: a run's prompt as files, and its examples asked again over HTTP."""

import json
import runpy
from pathlib import Path
from typing import Any

import dspy
import pytest
from command_line import refused, rows_of, run
from engine import rules_in
from serving import ModelServer

from pld_dspy.release.trail import read_trail
from pld_dspy.run.folder import RunFolder


def obey(system: str, user: str) -> str:
    """What the student of the fixtures answers."""
    return next((label for words, label in rules_in(system) if any(word in user for word in words)), "food")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def address(server: ModelServer) -> str:
    return f"http://127.0.0.1:{server.http.server_port}/v1"


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-very-secret")


@pytest.mark.parametrize("kind", ["text", "promptfoo"])
def test_what_is_exported_answers_as_it_was_scored(kind: str, done: Path, keyed: None) -> None:
    printed = run("export", "run", "--to", kind, "--out", "bundle")

    assert printed.exit_code == 0, printed.output
    golden = [json.loads(line) for line in Path("bundle/golden.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [one["inputs"]["text"] for one in golden] == [row["text"] for row in (*rows_of("val"), *rows_of("test"))]
    with ModelServer(obey) as server:
        found = run("verify", "bundle", "--api-base", address(server), "--model", "other", "--api-key-env", "SOME_KEY")
    assert (found.exit_code, found.stdout) == (0, "16 of 16 answers are as scored.\n"), found.output
    assert [body["messages"] for body in server.bodies] == [one["messages"] for one in golden]
    assert {body["model"] for body in server.bodies} == {"other"}
    assert not any("secret" in path.read_text(encoding="utf-8") for path in Path("bundle").iterdir())


def test_settings_of_each_server(done: Path) -> None:
    for kind in ("openai", "llama.cpp", "vllm"):
        run("export", "run", "--to", kind, "--out", kind)
    bodies = {kind: read(Path(kind) / "request.json") for kind in ("openai", "llama.cpp", "vllm")}

    assert bodies["openai"].keys() == {"model", "messages", "max_tokens"}
    assert bodies["llama.cpp"]["grammar"] == 'root ::= "food" | "sport"'
    assert bodies["vllm"]["structured_outputs"] == {"choice": ["food", "sport"]}
    assert read(Path("openai/manifest.json"))["signature"] is None


def test_the_client_asks_without_this_library(
    done: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("export", "run", "--to", "openai", "--out", "bundle")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    with ModelServer(lambda system, user: f"{obey(system, user)} {user}") as server:
        monkeypatch.setattr("sys.argv", ["client.py", address(server), "m", "text={{text}} a match = fun"])
        runpy.run_path("bundle/client.py")

    assert capsys.readouterr().out == "sport {{text}} a match = fun\n"
    assert server.bodies[0]["max_tokens"] == read(Path("bundle/request.json"))["max_tokens"]
    assert "pld" not in Path("bundle/client.py").read_text(encoding="utf-8")


def test_answers_that_differ_are_listed(done: Path) -> None:
    run("export", "run", "--to", "openai", "--out", "bundle")
    with ModelServer(lambda system, user: "sport") as server:
        found = run("verify", "bundle", "--api-base", address(server), "--n", "8")

    assert found.exit_code == 1
    assert "validation val-0: scored food, now sport ('sport')\n" in found.stdout
    assert found.stdout.endswith("4 of 8 answers are as scored.\n")


def test_a_file_that_was_changed_after_the_export_is_a_difference(done: Path) -> None:
    run("export", "run", "--to", "openai", "--out", "bundle")
    body = Path("bundle/request.json").read_text(encoding="utf-8")
    Path("bundle/request.json").write_text(body.replace("If the", "Unless the", 1), encoding="utf-8")
    Path("bundle/client.py").unlink()
    with ModelServer(obey) as server:
        found = run("verify", "bundle", "--api-base", address(server), "--n", "1")

    assert found.exit_code == 1
    assert found.stdout.endswith("Changed since the export: client.py, request.json.\n")


def test_a_server_that_refuses_ends_in_one_line(done: Path) -> None:
    run("export", "run", "--to", "openai", "--out", "bundle")
    with ModelServer(obey, refuses=lambda body: (400, "no such model")) as server:
        found = run("verify", "bundle", "--api-base", address(server))

    assert found.exit_code == 1
    assert "no such model" in found.stderr


def test_a_program_for_dspy_loads_with_its_rules(done: Path, student: dspy.LM) -> None:
    assert run("export", "run", "--to", "dspy", "--out", "bundle").exit_code == 0

    program = runpy.run_path("bundle/load.py")["program"]
    with dspy.context(lm=student):
        assert program(text="A match").topic == "sport"
    assert "instructions" in Path("bundle/program.json").read_text(encoding="utf-8")
    assert "pld-dspy evaluate" in refused(run("verify", "bundle", "--api-base", "http://127.0.0.1:9/v1"))


def test_a_model_for_mlflow_answers_and_pickles_nothing(
    done: Path, keyed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    assert "is not signed" in refused(run("export", "run", "--to", "mlflow", "--out", "m", "--require-signature"))
    assert run("sign", "run", "--by", "Ada").exit_code == 0
    printed = run("export", "run", "--to", "mlflow", "--out", "m", "--require-signature")
    assert printed.stdout == "m: " + ", ".join(sorted(path.name for path in Path("m").iterdir())) + "\n"
    assert "is not empty" in refused(run("export", "run", "--to", "mlflow", "--out", "m"))

    monkeypatch.setenv("STUDENT_MODEL", "openai/served")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    with ModelServer(obey) as server, dspy.context():
        monkeypatch.setenv("STUDENT_API_BASE", address(server))
        model = mlflow.pyfunc.load_model("m")
        found = model.predict([{"text": "A match"}, {"text": "A soup"}])
    assert found["topic"].tolist() == ["sport", "food"]
    assert (model.metadata.get_input_schema().input_names(), model.input_example.columns.tolist()) == (["text"],) * 2
    written = (path for path in Path("m").rglob("*.*") if path.suffix != ".pyc")  # which loading it makes
    files = {path.relative_to("m").as_posix(): path.read_text("utf-8") for path in written}
    assert "pld-dspy==" in files["requirements.txt"]
    assert not any("secret" in text for text in files.values())
    manifest = read(Path("m/manifest.json"))
    assert (manifest["format"], manifest["signature"]["by"]) == ("mlflow", "Ada")
    assert {"MLmodel", "artifacts/program.json", "served.py"} < manifest["digests"].keys()
    said = refused(run("verify", "m", "--api-base", "http://127.0.0.1:9/v1"))
    assert said == "Error: m holds a program for mlflow, not a prompt. Score it with pld-dspy evaluate RUN.\n"


def test_what_cannot_be_exported_is_refused(done: Path) -> None:
    assert "is not signed" in refused(run("export", "run", "--to", "text", "--out", "b", "--require-signature"))
    (done / "full").mkdir()
    (done / "full" / "file").touch()
    assert "is not empty" in refused(run("export", "run", "--to", "text", "--out", "full"))
    RunFolder("run").predictions.write_text("", encoding="utf-8")
    assert "holds no answer" in refused(run("export", "run", "--to", "text", "--out", "b"))
    rules = RunFolder("run").rules
    rules.write_text(rules.read_text(encoding="utf-8").replace("match", "mast"), encoding="utf-8")
    assert "pld-dspy recheck" in refused(run("export", "run", "--to", "text", "--out", "b"))


def test_a_signed_run_names_who_stands_for_it(done: Path) -> None:
    assert run("sign", "run", "--by", "Ada").exit_code == 0
    assert run("export", "run", "--to", "text", "--out", "b", "--require-signature").exit_code == 0

    assert read(Path("b/manifest.json"))["signature"]["by"] == "Ada"
    assert [(entry.what, entry.details) for entry in read_trail(Path("run"))][-1] == ("exported", {"to": "text"})
    assert run("sign", "run", "--check").exit_code == 0

    result = RunFolder("run").result
    result.write_text(result.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    exported = run("export", "run", "--to", "text", "--out", "c")
    assert "The file result.json has changed since Ada signed on" in exported.stdout
    assert read(Path("c/manifest.json"))["signature"] is None, "it is void"
    readmes = [Path(folder, "README.md").read_text(encoding="utf-8") for folder in ("b", "c")]
    assert ["- Signed by Ada on 20" in readmes[0], "- Signed by nobody." in readmes[1]] == [True, True]
