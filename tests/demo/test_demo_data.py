from __future__ import annotations

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import dspy
import pytest

from pld_dspy import demo
from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.rules import MicroRule
from pld_dspy.task.checks import check_examples
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import Splits
from pld_dspy.task.task import Task

SIZES = {"train": 96, "val": 60, "test": 84}
WORDS_PER_RECORD = (12, 30)
WORDS_PER_RULE = (12, 35)
SMALLEST_LABEL_SHARE = 0.18
MOST_WORD_OVERLAP = 0.6
MISLABELLED = 3


@pytest.fixture(scope="module")
def splits() -> Splits:
    return demo.load()


@pytest.fixture(scope="module")
def rationales() -> list[MicroRule]:
    return read_jsonl(demo.rationales_file(), MicroRule)


def parts(splits: Splits) -> dict[str, list[dspy.Example]]:
    return {"train": splits.train, "val": splits.val, "test": splits.test}


def everything(splits: Splits) -> list[dspy.Example]:
    return [*splits.train, *splits.val, *splits.test]


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z0-9']+", text.casefold()))


def overlap(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b)


def record(**changes: Any) -> str:
    row = {"id": "claim-1", "split": "train", "text": "a new bell for my bike", "label": "office"}
    return json.dumps({**row, **changes})


def test_split_sizes(splits: Splits) -> None:
    assert {name: len(part) for name, part in parts(splits).items()} == SIZES


def test_every_split_holds_every_label_in_balance(splits: Splits) -> None:
    for name, part in parts(splits).items():
        counts = Counter(example.budget for example in part)
        assert set(counts) == set(demo.LABELS), name
        assert min(counts.values()) >= SMALLEST_LABEL_SHARE * len(part), (name, counts)


def test_ids_are_unique(splits: Splits) -> None:
    ids = [example.id for example in everything(splits)]
    assert len(set(ids)) == len(ids)


def test_records_suit_the_program(splits: Splits) -> None:
    task = Task.of(demo.student(), everything(splits))
    assert (task.label_field, task.inputs, task.labels) == ("budget", ("text",), demo.LABELS)
    for name, part in parts(splits).items():
        check_examples(task, part, split=name)
    check_disjoint(task, splits)


def test_texts_are_distinct_within_a_split_too(splits: Splits) -> None:
    texts = [" ".join(sorted(words(example.text))) for example in everything(splits)]
    assert len(set(texts)) == len(texts)


def test_no_two_texts_are_near_duplicates(splits: Splits) -> None:
    bags = [(example.id, words(example.text)) for example in everything(splits)]
    close = [(a, b) for (a, one), (b, other) in combinations(bags, 2) if overlap(one, other) > MOST_WORD_OVERLAP]
    assert close == []


def test_records_are_short_notes(splits: Splits) -> None:
    low, high = WORDS_PER_RECORD
    outside = [example.id for example in everything(splits) if not low <= len(example.text.split()) <= high]
    assert outside == []


def test_each_training_record_has_one_rationale(splits: Splits, rationales: list[MicroRule]) -> None:
    recorded = [(rule.example_id, rule.inputs, rule.label) for rule in rationales]
    assert recorded == [(example.id, {"text": example.text}, example.budget) for example in splits.train]


def test_rules_are_distinct_and_name_their_label(rationales: list[MicroRule]) -> None:
    low, high = WORDS_PER_RULE
    assert len({" ".join(sorted(words(rule.rule))) for rule in rationales}) == len(rationales)
    assert [rule.example_id for rule in rationales if rule.label not in words(rule.rule)] == []
    assert [rule.example_id for rule in rationales if not low <= len(rule.rule.split()) <= high] == []


def test_the_wrong_labels_are_marked(rationales: list[MicroRule]) -> None:
    assert sum(rule.doubtful for rule in rationales) == MISLABELLED


def test_instructions_do_not_give_the_policy_away() -> None:
    assert get_args(demo.Claim.output_fields["budget"].annotation) == demo.LABELS
    instructions = words(demo.Claim.instructions)
    assert not instructions & {"taxi", "train", "hotel", "alcohol", "software", "bicycle", "gift", "flight", "car"}


def test_load_reads_a_file_of_the_same_form(tmp_path: Path) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text(record() + "\n\n" + record(id="claim-2", split="val", label="food") + "\n", encoding="utf-8")
    splits = demo.load(path)
    assert [example.toDict() for example in splits.train] == [
        {"id": "claim-1", "text": "a new bell for my bike", "budget": "office"}
    ]
    assert [example.budget for example in splits.val] == ["food"]
    assert splits.test == []


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (record(label="refund"), "line 2: label"),
        (record(split="dev"), "line 2: split"),
        ('{"id": "claim-1"}', "line 2: split"),
        ("not json", "line 2: the line"),
    ],
)
def test_load_names_the_line_and_field_at_fault(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "claims.jsonl"
    path.write_text(record(id="claim-0") + "\n" + line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=named):
        demo.load(path)


def test_load_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read .*absent\.jsonl"):
        demo.load(tmp_path / "absent.jsonl")


def test_load_accepts_the_written_rationales(splits: Splits, rationales: list[MicroRule]) -> None:
    assert len(demo.load(rationales=rationales).train) == len(splits.train)


def test_load_refuses_rationales_of_held_out_records(splits: Splits, rationales: list[MicroRule]) -> None:
    leaked = rationales[0].model_copy(update={"example_id": splits.test[0].id})
    with pytest.raises(DataError, match=splits.test[0].id):
        demo.load(rationales=[leaked])
