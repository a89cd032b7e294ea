"""What pld-dspy refuses, with one line that says why."""

from pathlib import Path

import pytest
from command_line import COMPILE, TABLES, refused, rows_of, run, write_csv, write_program, write_task

from pld_dspy.errors import DataError
from pld_dspy.run.folder import RunFolder


class TestRefusals:
    """Each before any model is started, which the fixture sees to."""

    def test_a_missing_file(self, task: Path) -> None:
        (task / "train.csv").unlink()
        assert "Cannot read train.csv" in refused(run(*COMPILE))

    def test_a_missing_column(self, task: Path) -> None:
        message = refused(run(*COMPILE[:-6], "--label", "theme"))
        assert "train.csv has no column 'theme'. It has 'id', 'text', 'topic'." in message

    def test_an_empty_training_set(self, task: Path) -> None:
        write_csv(task / "train.csv", [])
        assert "train.csv has no rows" in refused(run(*COMPILE))

    def test_a_constraint_that_the_adapter_cannot_set(self, task: Path) -> None:
        message = refused(run(*COMPILE, "--adapter", "chat", "--constrain", "json_schema"))
        assert "--constrain json_schema needs --adapter label, not chat" in message

    def test_one_label_only(self, task: Path) -> None:
        write_csv(task / "train.csv", [{**row, "topic": "food"} for row in rows_of("train")])
        assert "Every training example has the label 'food'" in refused(run(*COMPILE))

    def test_a_label_outside_the_programs_set(self, task: Path) -> None:
        write_program(task, "mislabelled", label="id")
        message = refused(run("compile", "--program", "mislabelled", "--data", ".", "--rationales", "rationales.jsonl"))
        assert "the label 'train-0' is not in the label set (food, sport)" in message

    def test_a_row_without_a_label(self, task: Path) -> None:
        rows = rows_of("val")
        write_csv(task / "val.csv", [*rows[:-1], {**rows[-1], "topic": ""}])
        assert "validation row 7 (id 'val-7') has no value for the label field" in refused(run(*COMPILE))

    def test_a_separator_with_nothing_behind_it(self, task: Path) -> None:
        write_csv(task / "train.csv", [{**row, "topic": f"{row['topic']}|"} for row in rows_of("train")])
        message = refused(run(*COMPILE, "--label-separator", "|"))
        assert "training row 0 (id 'train-0'): a label in the field 'topic' is empty" in message

    def test_control_characters_of_the_data_in_a_message(self, task: Path) -> None:
        first, *rest = rows_of("train")
        write_csv(task / "train.csv", [{**first, "topic": "food\x1b[2J"}, *rest])
        assert "label set (food, food\\x1b[2J, sport)" in refused(run(*COMPILE, "--objective", "f1:music"))

    def test_a_program_whose_data_is_no_splits(self, task: Path) -> None:
        (task / "pairs.py").write_text("def student(): ...\ndef load(data, *, rationales, seed): return [], []\n")
        assert "load() of pairs.py returns a tuple, not" in refused(run("compile", "--program", "pairs.py"))

    def test_an_id_used_twice(self, task: Path) -> None:
        rows = rows_of("train")
        write_csv(task / "train.csv", [*rows, {**rows[0], "text": "Another text."}])
        assert "training rows 0 and 8 have the same id 'train-0'" in refused(run(*COMPILE))

    def test_splits_that_overlap(self, task: Path) -> None:
        rows = rows_of("train")
        write_csv(task / "val.csv", [{**row, "id": f"val-{row['id']}"} for row in rows])
        assert "train row 0 and validation row 0 share the same text" in refused(run(*COMPILE))

    def test_an_unknown_program(self, task: Path) -> None:
        assert "Cannot import the program 'nowhere.topics'" in refused(run("compile", "--program", "nowhere.topics"))
        assert "Cannot import the program 'topics.py'" in refused(run("compile", "--program", "topics.py"))

    def test_a_program_that_breaks_or_lacks_a_function(self, task: Path) -> None:
        (task / "broken.py").write_text("1 / 0", encoding="utf-8")
        (task / "bare.py").write_text("def student(): ...", encoding="utf-8")
        assert "ZeroDivisionError" in refused(run("compile", "--program", "broken.py"))
        assert "has no function load()" in refused(run("compile", "--program", "bare.py"))

    def test_a_program_without_its_data(self, task: Path) -> None:
        write_program(task, "topics")
        result = run("compile", "--program", "topics", "--data", "elsewhere", "--rationales", "rationales.jsonl")
        assert "elsewhere does not exist" in refused(result)

    @pytest.mark.parametrize("spec", ["local:gpt-7", "nothing.gguf", "local:nothing.gguf"])
    def test_an_unknown_local_model(self, task: Path, spec: str) -> None:
        assert spec.removeprefix("local:") in refused(run(*COMPILE, "--student", spec))
        assert spec.removeprefix("local:") in refused(run(*COMPILE, "--teacher", spec))

    def test_a_model_name_that_says_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_task(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert "Cannot tell which model 'gpt-7' is" in refused(run(*COMPILE, "--student", "gpt-7"))
        assert "takes no api_base" in refused(run(*COMPILE, "--student-api-base", "http://127.0.0.1:8000/v1"))

    def test_a_model_to_pull_that_is_not_there(self) -> None:
        assert "Unknown local model 'gpt-7'" in refused(run("models", "pull", "gpt-7"))

    def test_a_key_that_is_not_set(self, task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("NO_SUCH_KEY", raising=False)
        result = run(*COMPILE, "--student", "openai/x", "--student-api-key-env", "NO_SUCH_KEY")
        assert "NO_SUCH_KEY is not set" in refused(result)

    def test_an_address_with_a_password(self, task: Path) -> None:
        result = run(*COMPILE, "--student", "openai/x", "--student-api-base", "http://me:sk-secret@host/v1")
        assert "sk-secret" not in refused(result)

    def test_neither_rationales_nor_teacher(self, task: Path) -> None:
        assert "Give --rationales, or a --teacher" in refused(run("compile", *TABLES))

    def test_rules_for_a_label_that_the_task_lacks(self, task: Path) -> None:
        (task / "policy.yaml").write_text("rules: [{text: Ask., labels: [music]}]", encoding="utf-8")
        said = refused(run(*COMPILE, "--rules", "policy.yaml"))
        assert said.startswith("Error: policy.yaml: the rule 'user-rule-1' has the label 'music'")

    def test_rationales_out_of_form(self, task: Path) -> None:
        (task / "rationales.jsonl").write_text('{"example_id": "train-0"}\n', encoding="utf-8")
        assert "rationales.jsonl line 1: inputs" in refused(run(*COMPILE))

    @pytest.mark.parametrize(
        "arguments",
        [
            ("compile",),
            ("compile", "--train", "train.csv", "--input", "text"),
            ("compile", *TABLES, "--program", "pld_dspy.demo"),
            ("compile", *TABLES, "--data", "."),
        ],
    )
    def test_half_of_a_source_or_two(self, task: Path, arguments: tuple[str, ...]) -> None:
        assert "Give either --program" in refused(run(*arguments))

    def test_an_objective_that_does_not_exist(self, task: Path) -> None:
        assert "objective='recall' is unknown" in refused(run(*COMPILE, "--objective", "recall"))

    @pytest.mark.parametrize(
        "arguments",
        [("--adapter", "xml"), ("--threads", "0"), ("--trials", "-1"), ("--seed", "-1"), ("--no-such-option",)],
    )
    def test_wrong_options(self, task: Path, arguments: tuple[str, ...]) -> None:
        result = run(*COMPILE, *arguments)
        assert result.exit_code == 2
        assert "Usage" in result.stderr

    @pytest.mark.parametrize("name", ["evaluate", "rules", "report"])
    def test_a_folder_that_holds_no_finished_run(self, task: Path, name: str) -> None:
        RunFolder("unfinished").open({"settings": {}}, resume=True)
        assert "has not finished" in refused(run(name, "unfinished"))
        assert "not a run folder" in refused(run(name, "nowhere"))

    def test_debug_shows_where_an_error_comes_from(self, task: Path) -> None:
        result = run("compile", "--debug")
        assert isinstance(result.exception, DataError)
