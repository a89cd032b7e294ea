"""StereoSet in its published form: on rows made here, and on the real file where it is at hand."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pytest

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.rules import MicroRule
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task
from programs import stereoset

SHARED = Path(__file__).parents[3] / "shared"


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
def test_another_form_is_refused_with_its_row(tmp_path: Path, changes: dict[str, Any]) -> None:
    broken = {key: value for key, value in row(1, **changes).items() if value is not None}
    with pytest.raises(DataError, match=r"row 2 has (no sentence|bias_type 'age')"):
        stereoset.load(write(tmp_path / "s.jsonl", [row(0), broken]))


@pytest.mark.parametrize("broken", ['{"sentence_id": \n', "[1]\n"])
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path / "s.jsonl", [row(0)])
    path.write_text(path.read_text() + broken)
    with pytest.raises(DataError, match=r"s\.jsonl line 2: the line: .*one JSON object"):
        stereoset.load(path)


def cluster(number: int, gold_labels: list[Any]) -> dict[str, Any]:
    """A cluster as ``dev.json`` has it; the hub gives its sentences column by column, and numbers for gold labels."""
    sentences = [
        {"id": f"s{number}-{gold}", "sentence": f"People number {number} were {gold}.", "gold_label": gold}
        for gold in gold_labels
    ]
    bias_type = stereoset.LABELS[number % 4]
    return {"id": f"c{number}", "bias_type": bias_type, "context": f"I met {number}.", "sentences": sentences}


def everything(splits: Splits) -> dict[str, str]:
    return {example.id: example.text for _, examples in splits.non_empty() for example in examples}


KINDS = ("intrasentence", "intersentence")
NAMES = ("anti-stereotype", "stereotype", "unrelated")
SENTENCES = {
    **{f"s{number}-stereotype": f"People number {number} were stereotype." for number in range(8)},
    **{f"s{number}-stereotype": f"I met {number}. People number {number} were stereotype." for number in range(8, 16)},
}


def test_the_published_nested_file_is_read_too(tmp_path: Path) -> None:
    data = {kind: [cluster(8 * k + n, list(NAMES)) for n in range(8)] for k, kind in enumerate(KINDS)}
    path = tmp_path / "dev.json"
    path.write_text(json.dumps({"version": "1.1", "data": data}))
    assert everything(stereoset.load(tmp_path)) == SENTENCES
    data["intersentence"][3]["bias_type"] = "age"
    path.write_text(json.dumps({"data": data}))
    with pytest.raises(DataError, match=r"dev\.json: data\.intersentence\.3\.bias_type: .*as published at https://"):
        stereoset.load(path)


def test_the_hub_gives_clusters_by_column_with_numbered_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, kind: str, split: str) -> datasets.Dataset:
        assert (name, split) == (stereoset.HUB, "validation")
        clusters = [cluster(8 * KINDS.index(kind) + number, list(NAMES)) for number in range(8)]
        for one in clusters:
            told = one["sentences"]
            columns = {key: [sentence[key] for sentence in told] for key in ("id", "sentence")}
            one["sentences"] = {**columns, "gold_label": [0, 1, 2]}
        return datasets.Dataset.from_list(clusters)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert everything(stereoset.load()) == SENTENCES


def test_a_hub_that_cannot_be_reached_is_an_error_with_the_way_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, kind: str, split: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"no network\. Get dev\.json at https://"):
        stereoset.load()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"stereoset\.jsonl"):
        stereoset.load(tmp_path)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published data is not beside this checkout")
def test_published_file_gives_the_promised_splits() -> None:
    records = read_jsonl(SHARED / "teacher" / "stereoset_micro_rules.jsonl", MicroRule)
    splits = stereoset.load(SHARED / "data", rationales=records)
    student = stereoset.student()
    task = Task.of(student, [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    assert len(splits.train) == len(records) == 120
    assert min(Counter(task.golds(splits.val)).values()) >= 24
    assert len(splits.test) >= 300
    assert min(Counter(task.golds(splits.test)).values()) >= 40
