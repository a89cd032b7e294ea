"""StereoSet in its published form: on rows made here, and on the real file where it is at hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule, read_micro_rules
from pld_dspy.splits import check_disjoint
from pld_dspy.task import Task
from programs import stereoset

SHARED = Path(__file__).parents[2] / "shared"


def row(number: int, **changes: Any) -> dict[str, Any]:
    return {
        "sentence_id": f"s{number}",
        "cluster_id": f"c{number}",
        "dataset_type": "intrasentence",
        "bias_type": stereoset.LABELS[number % 4],
        "target": "t",
        "context": "People were BLANK.",
        "sentence": f"People number {number} were loud.",
        "gold_label": "stereotype",
        **changes,
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in rows))
    return path


def record(row: dict[str, Any]) -> MicroRule:
    return MicroRule(
        example_id=row["sentence_id"],
        inputs={"text": row["sentence"]},
        label=row["bias_type"],
        rationale="Because.",
        rule="A rule.",
    )


def test_recorded_sentences_are_the_training_set_and_no_cluster_is_in_two_splits(tmp_path: Path) -> None:
    rows = [row(number) for number in range(600)]
    rows += [row(600 + number, cluster_id=f"c{number}") for number in range(8)]
    splits = stereoset.load(write(tmp_path / "stereoset.jsonl", rows), rationales=[record(r) for r in rows[:8]])
    assert [example.id for example in splits.train] == [f"s{number}" for number in range(8)]
    rest = {example.id for example in [*splits.val, *splits.test]}
    assert not rest & {f"s{600 + number}" for number in range(8)}, "their clusters are in the training set"
    assert Counter(example.bias_type for example in splits.val) == dict.fromkeys(stereoset.LABELS, stereoset.VAL)


def test_only_stereotypes_count_and_the_context_goes_before_an_intersentence(tmp_path: Path) -> None:
    rows = [row(number) for number in range(600)]
    rows[0] |= {"dataset_type": "intersentence", "context": "I met some.", "sentence": "They were loud."}
    rows[1] |= {"gold_label": "unrelated"}
    splits = stereoset.load(write(tmp_path / "s.jsonl", rows), rationales=[record(rows[0])])
    assert splits.train[0].text == "I met some. They were loud."
    assert "s1" not in {example.id for example in [*splits.train, *splits.val, *splits.test]}


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    path = write(tmp_path / "s.jsonl", [row(number) for number in range(800)])
    ids = [[example.id for example in stereoset.load(path, seed=seed).test] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_without_records_there_is_a_training_set_all_the_same(tmp_path: Path) -> None:
    splits = stereoset.load(write(tmp_path / "s.jsonl", [row(number) for number in range(800)]))
    assert Counter(example.bias_type for example in splits.train) == dict.fromkeys(stereoset.LABELS, stereoset.TRAIN)


@pytest.mark.parametrize("changes", [{"bias_type": "age"}, {"sentence": None}])
def test_another_form_is_refused_with_its_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    broken = {key: value for key, value in row(1, **changes).items() if value is not None}
    with pytest.raises(DataError, match=r"line 2 has (no sentence|bias_type 'age')"):
        stereoset.load(write(tmp_path / "s.jsonl", [row(0), broken]))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stereoset\.jsonl"):
        stereoset.load(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published data is not beside this checkout")
def test_published_file_gives_the_promised_splits() -> None:
    records = read_micro_rules(SHARED / "teacher" / "stereoset_micro_rules.jsonl")
    splits = stereoset.load(SHARED / "data", rationales=records)
    student = stereoset.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    assert len(splits.train) == len(records) == 120
    assert min(Counter(task.golds(splits.val)).values()) >= 24
    assert len(splits.test) >= 300
    assert min(Counter(task.golds(splits.test)).values()) >= 40
