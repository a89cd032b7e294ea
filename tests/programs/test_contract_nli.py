"""ContractNLI in its published form, and the program that retrieves before it decides."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from engine import calls, fn_lm
from tasks import rule, rule_set

from pld_dspy.errors import DataError
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.rules import MicroRule
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.compose import with_rules
from pld_dspy.task.checks import check_examples
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.task import Task
from programs import contract_nli
from programs.published import families

SHARED = Path(__file__).parents[3] / "shared"
real_data = pytest.mark.skipif(not SHARED.is_dir(), reason="the published data is not beside this checkout")
HYPOTHESES = {f"nda-{number}": f"Hypothesis {number} holds." for number in range(6)}
CONTRACT = [
    "This agreement is made between the parties on the first day of May.",
    "The Recipient shall not disclose the existence of this agreement to anybody.",
    "Notices are given in writing.",
    "All copies are destroyed when the agreement ends.",
]


def document(number: int, *, spans: Sequence[str] = (), choices: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A contract in the published form; by default its texts are its own and it has two examples of each label."""
    spans = spans or [f"Clause {clause} of contract {number} binds party {number}." for clause in range(4)]
    text = "\n  ".join(spans)
    starts = [text.index(span) for span in spans]
    given = choices or {key: contract_nli.LABELS[row % 3] for row, key in enumerate(HYPOTHESES)}
    return {
        "id": number,
        "file_name": f"{number}.pdf",
        "text": text,
        "spans": [[start, start + len(span)] for start, span in zip(starts, spans, strict=True)],
        "annotation_sets": [
            {"annotations": {key: {"choice": choice, "spans": []} for key, choice in given.items()}},
        ],
    }


def write(folder: Path, *, dev: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> Path:
    labels = {key: {"short_description": key, "hypothesis": text} for key, text in HYPOTHESES.items()}
    for name, documents in (("contract_nli_dev.json", dev), ("contract_nli_test.json", test)):
        (folder / name).write_text(json.dumps({"documents": list(documents), "labels": labels}), encoding="utf-8")
    return folder


def two_files(folder: Path, *, dev: int = 60, test: int = 60) -> Path:
    documents = [document(number) for number in range(dev + test)]
    return write(folder, dev=documents[:dev], test=documents[dev:])


def record(example_id: str, label: str = "Entailment") -> MicroRule:
    inputs = {"premise": "The evidence.", "hypothesis": "Hypothesis 0 holds."}
    return MicroRule(example_id=example_id, inputs=inputs, label=label, rationale="Because.", rule="A rule.")


def contract_of(example: dspy.Example) -> str:
    return str(example.id.partition("-nda")[0])


def contracts(examples: Sequence[dspy.Example]) -> set[str]:
    return {contract_of(example) for example in examples}


def test_the_nearest_spans_are_kept_in_their_order() -> None:
    reader = contract_nli.ContractReader(words=20)
    found = reader.retrieve(
        "\n".join(CONTRACT), "The agreement's existence may be disclosed, and its copies destroyed."
    )
    assert found == "\n".join([CONTRACT[1], CONTRACT[3]])


def test_what_no_longer_fits_makes_way_for_a_shorter_span() -> None:
    reader = contract_nli.ContractReader(words=17)
    assert reader.retrieve("\n".join(CONTRACT), "It shall not disclose the existence of the agreement.") == "\n".join(
        [CONTRACT[1], CONTRACT[2]]
    )


def test_a_span_longer_than_the_excerpt_counts_with_its_beginning_and_an_empty_contract_gives_none() -> None:
    reader = contract_nli.ContractReader(words=3)
    assert reader.retrieve("\n\nNotices   are given in writing.\n", "Notices are given.") == "Notices are given"
    assert reader.retrieve("", "Notices are given.") == ""


def test_spans_that_say_nothing_take_no_room() -> None:
    reader = contract_nli.ContractReader(words=20)
    assert reader.retrieve("4.\n____________\n(a)\nNotices are given in writing.\n12.3", "Notices.") == CONTRACT[2]
    assert reader.retrieve("4.\n____", "Notices are given.") == ""


def test_a_long_clause_of_which_a_part_is_near_comes_before_a_heading() -> None:
    heading = "4. Notices"
    clause = (
        "Any notices that one of the parties gives under this agreement are given in writing, by registered mail or by "
        "courier, and they take effect on the day after the day of their receipt by the other party."
    )
    reader = contract_nli.ContractReader(words=len(clause.split()))
    assert reader.retrieve(f"{heading}\n{CONTRACT[3]}\n{clause}", "All notices are given in writing.") == clause


def test_pld_instructs_the_deciding_predictor_and_it_reads_the_excerpt_alone() -> None:
    lm = fn_lm(lambda system, user: "Contradiction", cache=False)
    student = contract_nli.ContractReader(words=12)
    example = dspy.Example(contract="\n".join(CONTRACT), hypothesis="The Recipient may disclose the agreement.")
    task = Task.of(student, [dspy.Example(example, relation="Contradiction").with_inputs("contract", "hypothesis")])
    assert (task.predictor, task.label_field, task.labels) == ("decide", "relation", contract_nli.LABELS)
    program = with_rules(student, task, rule_set(rule("r", "disclose", "Contradiction")))
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        prediction = program(contract=example.contract, hypothesis=example.hypothesis)
    (call,) = calls(lm)
    assert prediction.relation == "Contradiction"
    assert "If the text mentions disclose" in call.system
    assert call.user == f"excerpt: {CONTRACT[1]}\nhypothesis: The Recipient may disclose the agreement."


def test_a_contract_is_its_spans_one_a_line(tmp_path: Path) -> None:
    spans = ["First\nclause  of it.", " ", "Second clause."]
    folder = write(tmp_path, dev=[document(7, spans=spans)], test=[document(8)])
    splits = contract_nli.load(folder, rationales=[record("contract_nli-dev-7-nda-0")])
    assert splits.train[0].inputs().toDict() == {
        "contract": "First clause of it.\nSecond clause.",
        "hypothesis": "Hypothesis 0 holds.",
    }
    assert splits.train[0].relation == "Entailment"


def test_recorded_examples_are_the_training_set_and_their_contracts_are_nowhere_else(tmp_path: Path) -> None:
    records = [record(f"contract_nli-dev-{number}-nda-0") for number in range(30)]
    splits = contract_nli.load(two_files(tmp_path), rationales=records)
    assert [example.id for example in splits.train] == [rule.example_id for rule in records]
    found = [contracts(examples) for _, examples in splits.non_empty()]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]
    assert all(name.startswith("contract_nli-test-") for name in found[2])


def test_near_copies_of_a_contract_stay_together(tmp_path: Path) -> None:
    clauses = [f"Clause {clause} says what the parties owe each other in case {clause} arises." for clause in range(9)]
    copies = [document(900 + name, spans=[*clauses, f"Signed by number {name}."]) for name in range(2)]
    others = [document(number) for number in range(40)]
    folder = write(tmp_path, dev=[copies[0], *others[:20]], test=[copies[1], *others[20:]])
    splits = contract_nli.load(folder, rationales=[record("contract_nli-dev-900-nda-0")])
    assert not contracts([*splits.val, *splits.test]) & {"contract_nli-test-901", "contract_nli-dev-900"}
    for seed in range(5):
        splits = contract_nli.load(folder, seed=seed)
        of_copies = [name for name, part in splits.non_empty() if {"900", "901"} & {n[-3:] for n in contracts(part)}]
        assert len(of_copies) <= 1


def test_each_label_is_drawn_alike_as_far_as_it_goes(tmp_path: Path) -> None:
    rare = dict.fromkeys(HYPOTHESES, "NotMentioned") | {"nda-0": "Contradiction", "nda-1": "Entailment"}
    documents = [document(number, choices=rare) for number in range(84)]
    splits = contract_nli.load(write(tmp_path, dev=documents[:60], test=documents[60:]))
    train, val, test = (Counter(example.relation for example in examples) for _, examples in splits.non_empty())
    assert train == dict.fromkeys(contract_nli.LABELS, contract_nli.TRAIN)
    assert val == {"NotMentioned": 24, "Contradiction": 15 + 8, "Entailment": 15 + 8}
    assert test == {"NotMentioned": 50, "Contradiction": 16, "Entailment": 16}


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    two_files(tmp_path)
    ids = [[example.id for example in contract_nli.load(tmp_path, seed=seed).test] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_the_published_archive_names_its_files_otherwise(tmp_path: Path) -> None:
    two_files(tmp_path)
    for split in ("dev", "test"):
        (tmp_path / f"contract_nli_{split}.json").rename(tmp_path / f"{split}.json")
    assert contract_nli.load(tmp_path).test


def test_no_data_and_missing_files_are_refused_with_where_to_get_them(tmp_path: Path) -> None:
    one = tmp_path / "one.json"
    one.touch()
    for data in (None, one):
        with pytest.raises(DataError, match=r"needs the folder .* Get them at https://stanfordnlp\.github\.io"):
            contract_nli.load(data)
    with pytest.raises(DataError, match=r"has no contract_nli_dev\.json or dev\.json"):
        contract_nli.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": []}, r"documents: List should have at least 1 item"),
        ({"labels": None}, r"labels: Input should be"),
        ({"documents": [document(0), document(1, choices={"nda-0": "Maybe"})]}, r"1\..*\.nda-0\.choice: Input should"),
        (
            {"documents": [document(5, choices={"nda-77": "Entailment"})]},
            r"contract 5 annotates 'nda-77', which is not one",
        ),
        ({"documents": [{**document(0), "spans": [[1]]}]}, r"documents\.0\.spans\.0\.1: Field required"),
    ],
)
def test_another_form_is_refused_with_its_place(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = two_files(tmp_path) / "contract_nli_dev.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(DataError, match=rf"contract_nli_dev\.json: .*{message}.*\. Give the file as published at http"):
        contract_nli.load(tmp_path)


def test_a_file_cut_short_is_refused_with_its_line(tmp_path: Path) -> None:
    path = two_files(tmp_path) / "contract_nli_test.json"
    path.write_text('{"documents": [\n{"id": 3,')
    with pytest.raises(DataError, match=r"contract_nli_test\.json: .*at line 2 .*\. Give the file as published"):
        contract_nli.load(tmp_path)


@real_data
def test_published_files_give_the_promised_splits() -> None:
    records = read_jsonl(SHARED / "teacher" / "contract_nli_micro_rules.jsonl", MicroRule)
    splits = contract_nli.load(SHARED / "data", rationales=records)
    everything = [*splits.train, *splits.val, *splits.test]
    student = contract_nli.student()
    task = Task.of(student, everything)
    check_disjoint(task, splits)
    for name, examples in splits.non_empty():
        check_examples(task, examples, split=name, context_tokens=8192)
    assert {row.id: row.relation for row in splits.train} == {rule.example_id: rule.label for rule in records}
    assert {row.id: row.hypothesis for row in splits.train} == {r.example_id: r.inputs["hypothesis"] for r in records}
    assert Counter(task.golds(splits.val)) == dict.fromkeys(contract_nli.LABELS, 24)
    assert Counter(task.golds(splits.test)) == dict.fromkeys(contract_nli.LABELS, 50)
    text = {contract_of(example): example.contract for example in everything}
    split_of = {contract: name for name, examples in splits.non_empty() for contract in contracts(examples)}
    pairs = set(zip(families(list(text.values())), (split_of[contract] for contract in text), strict=True))
    assert len(pairs) == len({family for family, _ in pairs}), "a family of near-copies is in two splits"


@pytest.mark.long
@real_data
def test_the_excerpt_is_short_and_holds_evidence_as_often_as_the_module_says() -> None:
    records = read_jsonl(SHARED / "teacher" / "contract_nli_micro_rules.jsonl", MicroRule)
    recorded = {int(rule.example_id.split("-")[2]) for rule in records}
    published = json.loads((SHARED / "data" / "contract_nli_dev.json").read_text(encoding="utf-8"))
    student, hits = contract_nli.ContractReader(), []
    for doc in published["documents"]:
        if doc["id"] not in recorded:
            continue
        spans = [" ".join(doc["text"][start:end].split()) for start, end in doc["spans"]]
        for key, annotation in doc["annotation_sets"][0]["annotations"].items():
            if annotation["spans"]:
                excerpt = student.retrieve("\n".join(spans), published["labels"][key]["hypothesis"])
                assert len(excerpt.split()) <= contract_nli.EXCERPT_WORDS
                hits.append(bool({spans[row] for row in annotation["spans"]} & set(excerpt.split("\n"))))
    assert sum(hits) / len(hits) == pytest.approx(0.79, abs=0.005)
