"""JSONL files: what is written is read again, and an error names line and field."""

import pytest
from tasks import micro_rule

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl, write_jsonl
from pld_dspy.rules import MicroRule


def test_records_round_trip(tmp_path):
    path = tmp_path / "rules.jsonl"
    records = [
        micro_rule("m1", "one", "spam", "x"),
        micro_rule("m2", "two", "home", "y", rationale="a\u2028b\x85c\rd\ne"),
    ]
    write_jsonl(path, records)
    assert read_jsonl(path, MicroRule) == records


def test_blank_lines_are_skipped(tmp_path):
    path = tmp_path / "rules.jsonl"
    path.write_text('\n{"example_id": 7, "inputs": {}, "label": 1, "rationale": "", "rule": "r"}\n\n')
    assert read_jsonl(path, MicroRule) == [MicroRule(example_id="7", inputs={}, label="1", rationale="", rule="r")]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"example_id": "a", "inputs": {}, "label": "x", "rationale": "r"}', "line 2: rule: Field required"),
        ('{"example_id": "a", "inputs": {}, "label": "x", "rationale": "r", "rule": ""}', "line 2: rule: "),
        ('{"example_id": "a", "inputs": [], "label": "x", "rationale": "r", "rule": "s"}', "line 2: inputs: "),
        ('{"example_id": "a", "inputs": {}, "label": ["x"], "rationale": "r", "rule": "s"}', "line 2: label: "),
        ("{not json", "line 2: the line: "),
    ],
)
def test_a_bad_record_is_named_by_line_and_field(tmp_path, line, said):
    path = tmp_path / "rules.jsonl"
    path.write_text('{"example_id": "a", "inputs": {}, "label": "x", "rationale": "r", "rule": "s"}\n' + line)
    with pytest.raises(DataError, match="rationale and rule") as error:
        read_jsonl(path, MicroRule)
    assert said in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "latin.jsonl").write_bytes("é".encode("latin-1"))
    for name in ("absent.jsonl", "latin.jsonl"):
        with pytest.raises(DataError, match=name):
            read_jsonl(tmp_path / name, MicroRule)
