"""LogiQA in its published form: on questions made here, and on the real file where it is at hand."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.checks import check_examples
from pld_dspy.task.shared import check_disjoint
from pld_dspy.task.splits import normalized
from pld_dspy.task.task import Task
from programs import logiqa
from programs.published import families

SHARED = Path(__file__).parents[3] / "shared"
Block = list[str]


def block(number: int, **changes: str) -> Block:
    """The eight lines of one question."""
    fields = {
        "blank": "",
        "letter": "abcd"[number % 4],
        "context": f"In town {number} there are {number} cats, {number + 1} dogs and {number + 2} birds.",
        "question": "Which follows?",
        "a": "A.Cats rule.",
        "b": "B.Dogs rule.",
        "c": "C.Birds rule.",
        "d": "D.None rules.",
        **changes,
    }
    return list(fields.values())


def write(folder: Path, blocks: Sequence[Block]) -> Path:
    (folder / logiqa.FILES[0]).write_text("\n".join(line for lines in blocks for line in lines), encoding="utf-8")
    return folder


def record(number: int) -> MicroRule:
    return MicroRule(
        example_id=f"logiqa-eval-{number}", inputs={"context": "c"}, label="A", rationale="Because.", rule="A rule."
    )


def test_a_block_of_eight_lines_is_a_question(tmp_path: Path) -> None:
    changes = {"b": "b. Dogs\u2028rule.", "c": "In town C.C birds rule.", "d": "D.D. is not a letter."}
    folder = write(tmp_path, [block(2), block(3, **changes)])
    example = logiqa.load(folder, rationales=[record(1)]).train[0]
    assert example.id == "logiqa-eval-1"
    assert example.inputs().toDict() == {
        "context": "In town 3 there are 3 cats, 4 dogs and 5 birds.",
        "question": "Which follows?",
        "options": "A. Cats rule.\nB. Dogs\u2028rule.\nC. In town C.C birds rule.\nD. D. is not a letter.",
    }
    assert example.answer == "D"


def test_a_context_is_in_one_split_and_there_once(tmp_path: Path) -> None:
    blocks = [block(number) for number in range(500)]
    again = [block(number, question="Which does not follow?") for number in range(500)]
    splits = logiqa.load(write(tmp_path, [*blocks, *again]))
    contexts = [example.context for _, examples in splits.non_empty() for example in examples]
    assert [len(examples) for _, examples in splits.non_empty()] == [logiqa.TRAIN, logiqa.VAL, logiqa.TEST]
    assert len(set(contexts)) == len(contexts)


def test_recorded_questions_are_the_training_set_and_near_copies_of_their_contexts_are_left_out(tmp_path: Path) -> None:
    long = "Ann sits left of Bob, who sits left of Carl, who sits beside Dora, and nobody else is in the {} hall."
    near = [block(0, context=long.format(size)) for size in ("large", "small")]
    blocks = [near[0], *(block(number) for number in range(1, 200)), near[1]]
    splits = logiqa.load(write(tmp_path, blocks), rationales=[record(number) for number in range(5)])
    assert [example.id for example in splits.train] == [f"logiqa-eval-{number}" for number in range(5)]
    assert "logiqa-eval-200" not in {example.id for example in [*splits.val, *splits.test]}
    assert (len(splits.val), len(splits.test)) == (logiqa.VAL, 195 - logiqa.VAL)


def test_splits_follow_the_seed(tmp_path: Path) -> None:
    write(tmp_path, [block(number) for number in range(500)])
    ids = [[example.id for example in logiqa.load(tmp_path, seed=seed).test] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        (block(1, blank="Oh"), "line 9 is not blank"),
        (block(1, letter="e"), "line 10 is 'e' and not the letter of the answer"),
        (block(1, context=" "), "line 11 is blank within a question"),
        (block(1)[:-1], "line 15 ends the file after 7 of a question's lines"),
        (block(1)[1:], "line 9 is not blank"),
    ],
)
def test_another_form_is_refused_with_its_line_and_where_to_get_the_file(
    tmp_path: Path, last: Block, message: str
) -> None:
    with pytest.raises(DataError, match=rf"logiqa_eval\.txt {message}.*\. Give the file as published at https://"):
        logiqa.load(write(tmp_path, [block(0), last]))


def test_an_empty_a_missing_and_an_unreadable_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no logiqa_eval\.txt or Eval\.txt"):
        logiqa.load(tmp_path)
    path = tmp_path / "Eval.txt"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="line 1 ends the file after 1"):
        logiqa.load(tmp_path)
    path.write_bytes(b"\n\xff\n")
    with pytest.raises(DataError, match=r"Cannot read .*Eval\.txt.*as published at https://"):
        logiqa.load(path)


def test_the_hub_gives_options_without_letters_and_the_answer_as_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    row = {"context": "Four cats.", "query": "How many?", "options": ["1", "2", "4", "8"], "correct_option": 2}
    asked: list[Any] = []

    def load_dataset(name: str, **settings: str) -> Any:
        asked.append((name, settings))
        return datasets.Dataset.from_list([row])

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    example = logiqa.load().train[0]
    assert asked == [(logiqa.HUB, {"split": "validation", "revision": logiqa.HUB_REVISION})]
    assert example.options == "A. 1\nB. 2\nC. 4\nD. 8"
    assert (example.id, example.question, example.answer) == ("logiqa-eval-0", "How many?", "C")


def test_a_hub_that_cannot_be_reached_is_an_error_with_the_way_to_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(name: str, **settings: str) -> Any:
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(DataError, match=r"no network\. Get Eval\.txt at https://"):
        logiqa.load()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published data is not beside this checkout")
def test_published_file_gives_the_promised_splits() -> None:
    splits = logiqa.load(SHARED / "data")
    everything = [*splits.train, *splits.val, *splits.test]
    task = Task.of(logiqa.student(), everything)
    check_disjoint(task, splits)
    for name, examples in splits.non_empty():
        check_examples(task, examples, split=name, context_tokens=2048)
    assert [len(examples) for _, examples in splits.non_empty()] == [64, 80, 150]
    assert len({normalized(example.context) for example in everything}) == len(everything)
    assert len(set(families([example.context for example in everything]))) == len(everything)
    assert set(Counter(task.golds(splits.val))) == set(logiqa.LABELS)
    assert all(example.options.count("\n") == 3 for example in everything)
