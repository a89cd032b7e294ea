"""BANKING77 in its published form: on messages made here, and on the real file where it is at hand."""

import csv
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.rules import MicroRule
from pld_dspy.task.answers import match_label
from pld_dspy.task.checks import check_examples
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import normalized
from pld_dspy.task.task import Task
from programs import banking77

SHARED = Path(__file__).parents[3] / "shared"
real_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the published data is not beside this checkout")


def messages(n: int, intents: Sequence[str] = banking77.SUBSET) -> list[tuple[str, str]]:
    """``n`` messages of each intent, intents in turn."""
    return [(f"Message {number} on {intent}", intent) for number in range(n) for intent in intents]


def write(folder: Path, rows: Sequence[Sequence[str]], header: Sequence[str] = ("text", "category")) -> Path:
    with (folder / banking77.FILES[0]).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def record(row: int, message: tuple[str, str]) -> MicroRule:
    text, intent = message
    return MicroRule(
        example_id=f"banking77-train-{row}", inputs={"text": text}, label=intent, rationale="Because.", rule="A rule."
    )


def test_recorded_messages_are_the_training_set_and_their_intents_the_labels(tmp_path: Path) -> None:
    rows = messages(38)  # none to spare: three of an intent are recorded
    told = [row for row, (_, intent) in enumerate(rows) if intent in banking77.SUBSET[:3]][:9]
    splits = banking77.load(write(tmp_path, rows), rationales=[record(row, rows[row]) for row in told])
    assert [example.id for example in splits.train] == [f"banking77-train-{row}" for row in told]
    assert [example.text for example in splits.train] == [rows[row][0] for row in told]
    for examples, size in ((splits.val, banking77.VAL), (splits.test, banking77.TEST)):
        assert Counter(example.intent for example in examples) == dict.fromkeys(banking77.SUBSET[:3], size)


def test_intents_without_records_get_training_messages_of_their_own(tmp_path: Path) -> None:
    rows = messages(45)
    told = [row for row, (_, intent) in enumerate(rows) if intent in banking77.SUBSET[:3]][:9]
    records = [record(row, rows[row]) for row in told]
    write(tmp_path, rows)
    splits = banking77.load(tmp_path, rationales=records, labels=banking77.SUBSET)
    trained = Counter(example.intent for example in splits.train)
    assert trained == {intent: 3 if intent in banking77.SUBSET[:3] else banking77.TRAIN for intent in banking77.SUBSET}
    for examples, size in ((splits.val, banking77.VAL), (splits.test, banking77.TEST)):
        assert Counter(example.intent for example in examples) == dict.fromkeys(banking77.SUBSET, size)
    task = Task.of(banking77.student(), [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)


def test_without_records_all_three_splits_are_drawn_from_the_subset(tmp_path: Path) -> None:
    splits = banking77.load(write(tmp_path, messages(50, (*banking77.SUBSET, "age_limit"))))
    sizes = {"train": banking77.TRAIN, "validation": banking77.VAL, "test": banking77.TEST}
    for name, examples in splits.non_empty():
        assert Counter(example.intent for example in examples) == dict.fromkeys(banking77.SUBSET, sizes[name])


def test_other_labels_need_only_be_named(tmp_path: Path) -> None:
    labels = ("age_limit", "reverted_card_payment?")
    splits = banking77.load(write(tmp_path, messages(50, (*banking77.SUBSET, *labels))), labels=labels)
    task = Task.of(banking77.student(labels), splits.train)
    assert task.labels == labels
    for name, examples in splits.non_empty():
        check_examples(task, examples, split=name)


def test_a_text_counts_once_and_never_beside_its_copy_in_training(tmp_path: Path) -> None:
    rows = messages(60)
    copies = [(f"  {text.upper()}!?", intent) for text, intent in rows]
    folder = write(tmp_path, [*rows, *copies])
    splits = banking77.load(folder, rationales=[record(row, rows[row]) for row in range(12)])
    texts = [normalized(example.text) for _, examples in splits.non_empty() for example in examples]
    assert len(set(texts)) == len(texts)
    check_disjoint(Task.of(banking77.student(), splits.train), splits)


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    write(tmp_path, messages(60))
    ids = [[example.id for example in banking77.load(tmp_path, seed=seed).test] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_the_student_keeps_its_instruction_whatever_the_labels() -> None:
    default, full = (banking77.student(*labels).signature for labels in ((), (["a", "b"],)))
    assert default.instructions == full.instructions == banking77.Intent.instructions
    example = dspy.Example(text="Where is it?", intent="card_arrival").with_inputs("text")
    assert Task.of(banking77.student(), [example]).labels == banking77.SUBSET


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("Where is it?", "card_arrival"), ("", "card_arrival")], ("text", "category"), "row 1, .* has no text"),
        ([("Where is it?", "card_arrival")], ("text", "label"), "row 0, .* has no category"),
        ([("Where is it?", "card_arrival"), ("Lost it", "gone", "?")], ("text", "category"), "line 3 has more cells"),
        (
            [("Where is it?", "card_arrival")],
            ("text", "category"),
            "No message has the intent 'card_delivery",
        ),
    ],
)
def test_another_form_is_refused_with_its_place(tmp_path: Path, rows: Any, header: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        banking77.load(write(tmp_path, rows, header))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no banking77_train\.csv or train\.csv"):
        banking77.load(tmp_path)


def test_intents_are_read_from_the_list_of_categories(tmp_path: Path) -> None:
    path = tmp_path / "categories.json"
    path.write_text(json.dumps(["b", "a"]))
    assert banking77.intents(tmp_path) == ("b", "a")
    path.write_text('["b",\n "a"')
    with pytest.raises(DataError, match=r"categories\.json: Invalid JSON.* at line 2 .* published JSON list"):
        banking77.intents(tmp_path)


def test_the_hub_gives_the_same_messages_with_numbered_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    names = sorted(banking77.SUBSET)
    rows = messages(60)
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=names)})
    columns = {"text": [text for text, _ in rows], "label": [names.index(intent) for _, intent in rows]}
    table = datasets.Dataset.from_dict(columns, features=features)
    asked = []

    def load_dataset(name: str, split: str) -> datasets.Dataset:
        asked.append((name, split))
        return table

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    splits = banking77.load()
    assert asked == [(banking77.HUB, "train")]
    example = splits.train[0]
    assert (example.text, example.intent) == rows[int(example.id.rpartition("-")[2])]


@real_data
def test_published_file_gives_the_promised_splits() -> None:
    records = read_jsonl(SHARED / "teacher" / "banking77_micro_rules.jsonl", MicroRule)
    assert {rule.label for rule in records} == set(banking77.SUBSET)
    splits = banking77.load(SHARED / "data", rationales=records)
    task = Task.of(banking77.student(), [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    for name, examples in splits.non_empty():
        check_examples(task, examples, split=name)
    assert {rule.example_id: rule.inputs["text"] for rule in records} == {row.id: row.text for row in splits.train}
    assert Counter(task.golds(splits.val)) == dict.fromkeys(banking77.SUBSET, 10)
    assert Counter(task.golds(splits.test)) == dict.fromkeys(banking77.SUBSET, 25)


@real_data
def test_all_77_published_intents_can_be_asked_for_and_read_back() -> None:
    labels = banking77.intents(SHARED / "data")
    assert len(labels) == 77
    assert set(banking77.SUBSET) < set(labels)
    splits = banking77.load(SHARED / "data", labels=labels)
    task = Task.of(banking77.student(labels), [*splits.train, *splits.val, *splits.test])
    check_disjoint(task, splits)
    assert task.labels == labels
    assert [match_label(f"{label}.", labels) for label in labels] == list(labels)
    assert min(Counter(task.golds(splits.test)).values()) >= 15
    assert {*task.golds(splits.train)} == {*task.golds(splits.val)} == {*task.golds(splits.test)} == {*labels}
