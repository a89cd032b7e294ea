"""What the loaders of published data share."""

from collections import Counter
from pathlib import Path

import dspy
import pytest

from pld_dspy.errors import DataError
from programs.published import deal, distinct, families, find_file

LONG = "The parties agree that this agreement is governed by the law of the first party and by no other law at all."


def labelled(labels: str) -> list[dspy.Example]:
    return [dspy.Example(id=number, label=label).with_inputs() for number, label in enumerate(labels)]


def ids(examples: list[dspy.Example]) -> list[int]:
    return [example.id for example in examples]


def test_a_file_is_itself_and_a_folder_gives_the_first_name_it_has(tmp_path: Path) -> None:
    (tmp_path / "b.csv").touch()
    assert find_file(tmp_path / "b.csv", ["a.csv"]) == tmp_path / "b.csv"
    assert find_file(tmp_path, ["a.csv", "b.csv"]) == tmp_path / "b.csv"
    with pytest.raises(DataError, match=r"has no a\.csv or c\.csv\. Give the folder"):
        find_file(tmp_path, ["a.csv", "c.csv"])


def test_near_copies_are_one_family_and_other_texts_are_not() -> None:
    copy = LONG.replace("first", "second").upper()
    other = "A wholly different text, about the weather in June and what the farmers of the valley made of it."
    first, second, third, fourth = families([LONG, other, copy, LONG])
    assert first == third == fourth != second


def test_the_same_words_in_another_order_are_no_copy() -> None:
    assert len(set(families([LONG, " ".join(sorted(LONG.split()))]))) == 2


def test_copies_of_copies_are_one_family() -> None:
    words = [f"w{number}" for number in range(60)]
    chain = [" ".join(words[start : start + 30]) for start in (0, 8, 16)]
    assert len(set(families([chain[0], chain[2]]))) == 2
    assert len(set(families(chain))) == 1


def test_short_texts_are_compared_whole() -> None:
    assert families(["yes", "no", "Yes!"]) == [0, 1, 0]


def test_distinct_keeps_the_first_of_each_key_and_none_of_those_apart() -> None:
    found = distinct(labelled("abacb"), lambda example: example.label, apart=labelled("c"))
    assert ids(list(found)) == [0, 1]


def test_parts_are_dealt_by_label_in_order_and_the_last_goes_short() -> None:
    parts = deal(labelled("aabaabbaab"), "label", (2, 1, 2))
    assert [ids(part) for part in parts] == [[0, 1, 2, 5], [3, 6], [4, 7, 9]]
    assert Counter(example.label for example in parts[2]) == {"a": 2, "b": 1}


def test_an_empty_part_takes_nothing() -> None:
    assert [ids(part) for part in deal(labelled("ab"), "label", (0, 1))] == [[], [0, 1]]
