"""Run folders and tables from somebody else: nothing in them runs, nothing is sent, nothing fills the memory."""

import json
from pathlib import Path

import dspy
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from command_line import COMPILE, SMALL, TABLES, refused, run
from engine import calls

from pld_dspy.run.folder import RunFolder
from pld_dspy.task import tables

CODE = "from pathlib import Path\nPath('ran').touch()\n"
COMMANDS = (("evaluate", "run", "--json"), ("search", "run"), ("report", "run"), ("rules", "run"))


def changed_config(done: Path, source: object) -> None:
    path = done / "run" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["command"]["source"] = source
    path.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("module", ["run/evil.py", "run.evil", "./other/../run/evil.py"])
def test_a_program_that_comes_in_the_run_folder_is_not_run(done: Path, module: str) -> None:
    (done / "run" / "evil.py").write_text(CODE)
    changed_config(done, {"kind": "program", "module": module})
    for command in COMMANDS[:2]:
        assert "names a program inside the run folder" in refused(run(*command))
    for command in COMMANDS[2:]:
        assert run(*command).exit_code == 0
    assert not (done / "ran").exists()


def test_a_program_that_comes_in_the_current_run_folder_is_not_run(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (done / "run" / "evil.py").write_text(CODE)
    changed_config(done, {"kind": "program", "module": "evil"})
    monkeypatch.chdir(done / "run")
    assert "names a program inside the run folder" in refused(run("evaluate", "."))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "fingerprint: !!python/object/apply:pathlib.Path.touch [ran]",
        "fingerprint: !!python/name:os.system ''",
        "fingerprint: &a [*a]",
        "a: &a [x, x, x]\nb: &b [*a, *a, *a]\nfingerprint: *b",
        "fingerprint: " + "[" * 500,
        "fingerprint: " + "9" * 5000,
        "fingerprint: !!timestamp x",
    ],
)
def test_a_config_that_makes_objects_or_explodes_is_damaged(done: Path, text: str) -> None:
    (done / "run" / "config.yaml").write_text(text)
    for command in (*COMMANDS[:2], (*COMPILE, *SMALL)):
        assert "is damaged: its settings cannot be read" in refused(run(*command))
    assert not list(done.rglob("ran"))


@pytest.mark.parametrize("name", ["result.json", "program.json", "micro_rules.jsonl", "predictions.jsonl"])
def test_json_that_is_nested_without_end_is_damaged(done: Path, name: str) -> None:
    (done / "run" / name).write_text('{"a":' * 100_000 + "\n")
    command = {"program.json": COMMANDS[0], "predictions.jsonl": (*COMPILE, *SMALL)}.get(name, COMMANDS[2])
    result = run(*command)
    if name == "predictions.jsonl":
        assert "has a damaged line; its call will be made again" in result.stderr
        assert result.exit_code == 0
    else:
        assert name in refused(result)


def test_a_program_file_sets_instructions_and_demonstrations_alone(done: Path, student: dspy.LM) -> None:
    path = done / "run" / "program.json"
    state = json.loads(path.read_text())
    lm = {"model": "openai/evil", "api_base": "http://127.0.0.1:9", "_dspy_lm_class": "os.path"}
    before = json.loads(run(*COMMANDS[0]).stdout)
    RunFolder("run").predictions.unlink()  # its answers would do
    for part in (
        {"config": {"api_base": "http://127.0.0.1:9", "model": "openai/evil"}, "forward": "x", "callbacks": [1]},
        {"lm": {**lm, "_dspy_lm_class": "dspy.clients.lm.LM"}},
    ):
        path.write_text(json.dumps({**state, **part}))
        (done / "run" / "evaluations.jsonl").unlink(missing_ok=True)
        made = len(calls(student))
        found = json.loads(run(*COMMANDS[0]).stdout)
        assert found["macro_f1"] == before["macro_f1"]
        assert len(calls(student)) > made
    wrong = {"signature": {**state["signature"], "instructions": None}}
    for part, message in (({"lm": lm}, "Cannot load"), (wrong, "does not follow the rules")):
        path.write_text(json.dumps({**state, **part}))
        assert message in refused(run(*COMMANDS[0]))


def bomb(path: Path) -> None:
    """Some kilobytes that stand for ten gigabytes of text."""
    n = 10_000
    rows = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * n, pyarrow.int32()), pyarrow.array(["x" * 10**6]))
    pyarrow.parquet.write_table(pyarrow.table({"text": rows, "topic": ["food"] * n}), path)


def test_a_table_that_unpacks_to_more_than_memory_holds_is_refused(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "MOST_BYTES", 2**26)
    bomb(task / "train.parquet")
    assert (task / "train.parquet").stat().st_size < 10**5
    message = refused(run("compile", *TABLES, "--train", "train.parquet", "--rationales", "rationales.jsonl"))
    assert "train.parquet takes more than 67,108,864 bytes when unpacked" in message


def test_categories_are_read_as_texts(task: Path) -> None:
    column = pyarrow.array(["food", None, "sport"]).dictionary_encode()
    pyarrow.parquet.write_table(pyarrow.table({"topic": column}), task / "t.parquet")
    assert [row["topic"] for row in tables.read_rows("t.parquet")] == ["food", None, "sport"]
