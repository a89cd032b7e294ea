"""Tables as users have them: good ones, odd ones and broken ones."""

import csv
import json
from pathlib import Path
from typing import Literal

import datasets
import dspy
import pytest
from engine import calls, fn_lm

from pld_dspy.errors import DataError
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.task.labels import label_values
from pld_dspy.task.tables import RESERVED, classifier, examples, label_set, read_rows


def write(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def test_csv_cells_are_text_and_empty_ones_are_missing(tmp_path: Path) -> None:
    source = write(tmp_path, "t.csv", '\ufeffid,text,label\n001,"two, with\na break",NA\n002,,None\n')

    assert read_rows(source) == [
        {"id": "001", "text": "two, with\na break", "label": "NA"},
        {"id": "002", "text": None, "label": "None"},
    ]


def test_long_cells_are_read_and_the_limit_is_put_back(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    source = write(tmp_path, "t.csv", f"text,label\n{'a' * (limit + 1)},x\n")

    assert len(read_rows(source)[0]["text"]) == limit + 1
    assert csv.field_size_limit() == limit


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    assert read_rows(write(tmp_path, "t.jsonl", '\ufeff{"text": "a"}\n')) == [{"text": "a"}]


def test_jsonl_values_keep_their_types(tmp_path: Path) -> None:
    source = write(tmp_path, "t.jsonl", '{"text": "a", "options": ["x", "y"]}\n\n{"text": "b", "label": 1}\n')

    assert read_rows(source) == [{"text": "a", "options": ["x", "y"]}, {"text": "b", "label": 1}]


def test_parquet_class_labels_are_named_and_no_cache_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["no", "yes"])})
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    source = str(tmp_path / "t.parquet")
    table.to_parquet(source)

    assert [row["label"] for row in read_rows(source)] == ["yes", "no", None]
    assert not (tmp_path / "cache").exists()


def test_lists_of_class_labels_are_named_too(tmp_path: Path) -> None:
    kind = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.Sequence(kind)})
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [[1, 0], [], None]}, features=features)
    source = str(tmp_path / "t.parquet")
    table.to_parquet(source)

    assert [row["label"] for row in read_rows(source)] == [["yes", "no"], [], None]


def test_whole_numbers_of_a_column_with_a_gap_are_labels(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"t": "a", "n": 1.0}\n{"t": "b", "n": NaN}\n{"t": "c", "n": 0.0}\n')
    found = examples(read_rows(str(tmp_path / "t.jsonl")), ["t"], "n")

    assert [one.n for one in found] == ["1", None, "0"]
    assert label_set(found, "n") == (("0", "1"), False)
    with pytest.raises(DataError, match=r"The column 'n' holds a float \(0.5\), no label"):
        label_set(examples([{"t": "a", "n": 0.5}], ["t"], "n"), "n")


def test_a_hub_name_is_asked_for_its_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, split: str) -> datasets.Dataset:
        asked.append((name, split))
        return datasets.Dataset.from_dict({"text": ["a"]})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    assert read_rows("owner/name", "validation") == [{"text": "a"}]
    assert read_rows("owner/name") == [{"text": "a"}]
    assert asked == [("owner/name", "validation"), ("owner/name", "train")]


def test_a_hub_that_cannot_be_reached_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, split: str) -> datasets.Dataset:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)

    with pytest.raises(DataError, match=r"test split of 'owner/name'.*no route to host"):
        read_rows("owner/name", "test")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "has no rows"),
        ("t.csv", "text,label\n", "has no rows"),
        ("t.jsonl", "\n", "has no rows"),
        ("t.csv", "text,label\na,x\nb,x,y\n", "line 3 has more cells than the header's 2"),
        ("t.csv", "text,label\na\n", "line 2 has fewer cells"),
        ("t.csv", 'text,label\n"a" b,x\n', "line 2 is not CSV"),
        ("t.csv", "text,text\na,b\n", "two columns have the same name"),
        ("t.jsonl", '{"text": "a"}\n{"text": \n', "line 2: the line: Invalid JSON"),
        ("t.jsonl", '["a"]\n', "line 1: the line: Input should be an object"),
        ("t.parquet", "text,label\n", "is not a Parquet file"),
        ("t.xlsx", "text,label\n", "is not a table"),
    ],
)
def test_unreadable_tables_are_refused_by_line(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_rows(write(tmp_path, name, content))


def test_a_missing_file_and_a_wrong_encoding_are_refused(tmp_path: Path) -> None:
    latin = tmp_path / "latin.csv"
    latin.write_bytes("text,label\ncaf\u00e9,x\n".encode("latin-1"))

    with pytest.raises(DataError, match=r"Cannot read .*absent\.csv"):
        read_rows(str(tmp_path / "absent.csv"))
    with pytest.raises(DataError, match=r"Cannot read .*latin\.csv.*UTF-8"):
        read_rows(str(latin))


def test_a_path_in_a_folder_that_exists_is_never_taken_for_a_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)

    with pytest.raises(DataError, match="is not a table"):
        read_rows("data/train")


def test_examples_keep_id_inputs_and_label_only() -> None:
    (example,) = examples([{"id": 7, "text": "a", "label": True, "other": 1}], ["text"], "label")

    assert example.toDict() == {"id": 7, "text": "a", "label": "True"}
    assert example.inputs().toDict() == {"text": "a"}


def test_blanks_around_a_label_are_no_part_of_it_and_a_blank_label_is_none() -> None:
    rows = [{"text": "a", "label": " x "}, {"text": "b", "label": " "}, {"text": "c", "label": ["x ", 1]}]
    found = examples(rows, ["text"], "label")
    assert [one.label for one in found] == ["x", None, ["x", "1"]]

    cells = [{"text": "a", "label": "x | y"}, {"text": "b", "label": "no label "}, {"text": "c", "label": ""}]
    assert [one.label for one in examples(cells, ["text"], "label", separator="|")] == [["x", "y"], [], None]


def test_an_empty_id_is_no_id() -> None:
    (example,) = examples([{"id": None, "text": "a", "label": "x"}], ["text"], "label")

    assert "id" not in example


def test_a_cell_that_one_row_lacks_is_none_and_a_fraction_stays_no_label() -> None:
    found = examples([{"text": "a", "label": "x"}, {"text": "b"}, {"label": 0.5}], ["text"], "label")

    assert [(example.text, example.label) for example in found] == [("a", "x"), ("b", None), (None, 0.5)]
    assert label_set(found, "label") == (("x",), False)


def test_a_missing_column_lists_those_there_are() -> None:
    with pytest.raises(DataError, match=r"t\.csv has no column 'Text'\. It has 'text', 'label'\."):
        examples([{"text": "a"}, {"label": "x"}], ["Text"], "label", source="t.csv")


@pytest.mark.parametrize("name", [*sorted(RESERVED), "_text", ""])
def test_columns_that_dspy_keeps_for_itself_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="Rename the column"):
        examples([{name: "a", "label": "x"}], [name], "label")
    with pytest.raises(DataError, match="Rename the column"):
        classifier([name], "label", ["x", "y"])


def test_a_column_is_not_input_and_label_at_once() -> None:
    with pytest.raises(DataError, match="both an input and the label"):
        examples([{"text": "a"}], ["text"], "text")
    with pytest.raises(DataError, match="There is no input column"):
        examples([{"text": "a"}], [], "text")
    with pytest.raises(DataError, match="'text' is given twice"):
        examples([{"text": "a", "label": "x"}], ["text", "text"], "label")
    with pytest.raises(DataError, match="'id' holds the ids of rows"):
        examples([{"text": "a", "id": "x"}], ["text"], "id")


@pytest.mark.filterwarnings("ignore:Field name .* shadows")
@pytest.mark.parametrize("names", [["text"], ["my text", "premise-2"], ["json", "copy", "base", "keys"]])
def test_the_classifier_answers_from_columns_of_any_other_name(names: list[str]) -> None:
    lm = fn_lm(lambda system, user: "yes", model="custom/data")
    student = classifier(names, "is it", ["no", "yes"], "Say whether it is.")
    (example,) = examples([{**dict.fromkeys(names, "some text"), "is it": "no"}], names, "is it")

    with dspy.context(lm=lm, adapter=LabelAdapter()):
        answer = student(**example.inputs())

    assert answer["is it"] == "yes"
    assert calls(lm)[0].system == "Say whether it is.\n\nAnswer with exactly one label: no | yes"
    assert calls(lm)[0].user.count("some text") == len(names)


def test_the_classifier_has_the_labels_as_its_type_and_a_default_instruction() -> None:
    student = classifier(["text"], "topic", ["b", "a"])
    signature = student.predictors()[0].signature

    assert signature.output_fields["topic"].annotation == Literal["b", "a"]
    assert tuple(label_values(signature.output_fields["topic"].annotation)) == ("b", "a")
    assert signature.instructions == "Decide the topic of the text."


def test_a_classifier_without_labels_is_refused() -> None:
    with pytest.raises(DataError, match="No row has a label in 'topic'"):
        classifier(["text"], "topic", [])


def test_values_that_json_takes_and_labels_cannot_be_are_left_for_the_check_by_row(tmp_path: Path) -> None:
    rows = read_rows(write(tmp_path, "t.jsonl", json.dumps({"text": "a", "label": ["x"]})))

    assert examples(rows, ["text"], "label")[0].label == ["x"]
