"""Label types as texts, and free answers as labels."""

from enum import Enum
from typing import Annotated, Literal, Optional

import pytest

from pld_dspy.task.answers import label_names, match_label, match_truth
from pld_dspy.task.labels import label_text, label_values

NLI = ("Entailment", "Contradiction", "NotMentioned")
CARDS = ("top_up", "top_up_failed", "card_lost")


class Team(Enum):
    BILLING = "billing"
    TECH = "technical support"


class Level(Enum):
    LOW = 1
    HIGH = 2


@pytest.mark.parametrize(
    ("annotation", "texts"),
    [
        (Literal["spam", "ham"], ("spam", "ham")),
        (Literal[3, 1, 2], ("3", "1", "2")),
        (Literal["spam", None], ("spam",)),
        (Literal[Team.BILLING], ("billing",)),
        (Team, ("billing", "technical support")),
        (Level, ("1", "2")),
        (bool, ("True", "False")),
        (Optional[Literal["spam", "ham"]], ("spam", "ham")),  # noqa: UP045
        (Team | None, ("billing", "technical support")),
        (Annotated[Literal["spam", "ham"] | None, "desc"], ("spam", "ham")),
    ],
)
def test_label_types_give_their_texts_in_order(annotation, texts):
    assert tuple(label_values(annotation)) == texts


@pytest.mark.parametrize(
    "annotation",
    [
        str,
        int,
        list[Literal["a"]],
        str | None,
        Literal["a"] | int,
        Literal[1, "1"],
        Literal[b"x"],
        Enum("Empty", []),
    ],
)
def test_other_types_are_no_label_types(annotation):
    assert label_values(annotation) is None


def test_values_are_those_of_the_type():
    assert label_values(Level) == {"1": Level.LOW, "2": Level.HIGH}
    assert label_values(Literal[1, 2]) == {"1": 1, "2": 2}
    assert label_values(bool) == {"True": True, "False": False}
    assert [label_text(value) for value in (Team.TECH, 7, True, "x")] == ["technical support", "7", "True", "x"]


@pytest.mark.parametrize(
    ("answer", "labels", "label"),
    [
        ("spam", ("spam", "ham"), "spam"),
        (" SPAM.\n", ("spam", "ham"), "spam"),
        ("**'Spam'**", ("spam", "ham"), "spam"),
        ("- spam", ("spam", "ham"), "spam"),
        ("# Spam", ("spam", "ham"), "spam"),
        ("\u201cham\u201d", ("spam", "ham"), "ham"),
        ("yes", ("Yes", "yes"), "yes"),
        # separators and camel case
        ("Not mentioned", NLI, "NotMentioned"),
        ("not-mentioned.", NLI, "NotMentioned"),
        ("Top up failed", CARDS, "top_up_failed"),
        # at the start
        ("Contradiction. It is no entailment.", NLI, "Contradiction"),
        ("ham\n\nText: buy now\nspam", ("spam", "ham"), "ham"),
        ("**ham** because it is no spam", ("spam", "ham"), "ham"),
        # labels that begin alike
        ("top_up", CARDS, "top_up"),
        ("TOP_UP_FAILED", CARDS, "top_up_failed"),
        ("The label is top_up_failed", CARDS, "top_up_failed"),
        ("The label is top up.", CARDS, "top_up"),
        # unique prefix
        ("contra", NLI, "Contradiction"),
        ("card", CARDS, "card_lost"),
        ("top_up_f", CARDS, "top_up_failed"),
        # mentioned once
        ("Label: spam", ("spam", "ham"), "spam"),
        ("[[ ## label ## ]]\nham", ("spam", "ham"), "ham"),
        ("The answer is no.", ("yes", "no"), "no"),
        ("I would say not entailment", ("entailment", "not_entailment"), "not_entailment"),
        # stated
        ("label: work\nExplanation: it is neither home nor spam", ("spam", "work", "home"), "work"),
        ("**Label:** work - not spam", ("spam", "work"), "work"),
        ("The answer is: work. Not spam.", ("spam", "work"), "work"),
        ("It might be spam.\n\nFinal answer: work\n(not spam)", ("spam", "work"), "work"),
        ('{"category": "work", "reason": "not spam"}', ("spam", "work"), "work"),
        # after a thought
        ("<think>spam? No, home.</think>\n\nwork", ("spam", "work", "home"), "work"),
        ("spam? Rather home. </think>work", ("spam", "work", "home"), "work"),
        ("[reasoning]", ("reasoning", "coding"), "reasoning"),
        # numbers and signs
        ("-1", ("-1", "0", "1"), "-1"),
        ("-1.", ("-1", "0", "1"), "-1"),
        ("Score: 2", ("1", "2", "3"), "2"),
        ("A+.", ("A", "A+", "A-"), "A+"),
    ],
)
def test_an_answer_is_read_as_its_label(answer, labels, label):
    assert match_label(answer, labels) == label


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ("", ("spam", "ham")),
        ("...", ("spam", "ham")),
        ("perhaps", ("spam", "ham")),
        ("spam or ham", ("spam", "ham")),
        ("spam, ham", ("spam", "ham")),
        ("spam | ham", ("spam", "ham")),
        ("YES", ("Yes", "yes")),
        ("It is not spam", ("spam", "ham")),
        ("label: not spam", ("spam", "ham")),
        ("label: spam or ham", ("spam", "ham")),
        ("label: spam\nlabel: ham", ("spam", "ham")),
        ("<think>At first this could be spam", ("spam", "ham")),
        ("<reasoning>spam</reasoning>", ("spam", "ham")),
        ("This isn't spam", ("spam", "ham")),
        ("spam is not it", ("spam", "ham")),
        ("non-spam", ("spam", "ham")),
        ("spamming", ("spam", "ham")),
        ("top", CARDS),
        ("B", ("account", "billing")),
        ("-1", ("0", "1")),
        ("2.5", ("1", "2", "3")),
        ("12", ("1-2", "3-4")),
        ("C++", ("C", "Java")),
    ],
)
def test_an_unknown_or_ambiguous_answer_is_none(answer, labels):
    assert match_label(answer, labels) is None


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("card lost", "card_lost"),
        ("card", "card_lost"),
        ("top_up_fa", "top_up_failed"),
        ("top_up.", "top_up"),
        ('"top_up"', "top_up"),
        ("top_up\n\nThe text", "top_up"),
        ("label: top_up\nBecau", "top_up"),
        ('{"label": "top_up"', "top_up"),
        ("top_up", None),
        ("label: top", None),
        ('{"label": "top_up', None),
        ("The text says card lost, so", None),
        ("Okay, card_lost could", None),
        ("<think>card_lost.", None),
    ],
)
def test_of_an_answer_that_was_cut_only_what_its_end_could_not_change_counts(answer, label):
    assert match_label(answer, CARDS, cut=True) == label


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("yes", "True"),
        ("Yes, it follows.", "True"),
        ("No. It is not true that it follows.", "False"),
        ("entailed: no, since it rains", "False"),
        ("<think>yes?</think>no", "False"),
        ("y", "True"),
        ("0", "False"),
        ("no idea", None),
        ("I have no idea", None),
        ("Yes and no: yes", None),
        ("<think>yes", None),
    ],
)
def test_truth_is_read_as_dspy_reads_it(answer, truth):
    assert match_truth(answer, names=("entailed",)) == truth


def test_every_label_is_read_as_itself_whatever_else_is_in_the_set():
    labels = ("top_up", "top up", "top_up_failed", "A", "a", "(none)", "N/A", "1", "1.0", "C", "C#")
    assert [match_label(label, labels) for label in labels] == list(labels)


@pytest.mark.parametrize(
    ("labels", "text", "named"),
    [
        (("Entailment", "NotMentioned"), "Answer not mentioned, in one word.", ["not mentioned"]),
        (
            ("card_arrival", "top up", "top up failed"),
            "Card-arrival, never top_up failed",
            ["Card-arrival", "top_up failed"],
        ),
        (("+", "-"), "Answer + in short.", ["+"]),
    ],
)
def test_names_of_labels_are_found_however_their_words_are_joined(labels, text, named):
    assert label_names(labels).findall(text) == named
