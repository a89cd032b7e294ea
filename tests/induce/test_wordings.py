"""Cue wordings: what micro-rules share with their examples, where it speaks for one label."""

import pytest
from tasks import micro_rule

from pld_dspy.induce.groups import Cluster
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.induce.wordings import MOST_CUES, cue_wordings
from pld_dspy.rules import MicroRule

LABELS = ("spam", "work", "home")


def said(example_id: str, text: str, label: str, rule: str) -> MicroRule:
    return micro_rule(example_id, text, label, "x").model_copy(update={"rule": rule})


def test_a_cue_stands_in_rule_and_example_and_speaks_for_one_label():
    spam = Cluster(
        [
            said("1", "You won the lottery today!", "spam", "Prizes such as a lottery are spam."),
            said("2", "Another lottery in one letter", "spam", "A lottery or a jackpot is spam in any letter."),
        ]
    )
    work = Cluster([said("3", "A letter about the deadline", "work", "A letter that names a deadline is work.")])
    assert cue_wordings([spam, work], LABELS, subject="mail", reads={}) == [
        "If the mail is about lottery, answer spam.",  # not the letter, which both labels have, nor the jackpot
        "If the mail is about deadline, answer work.",
    ]


def test_stop_words_and_labels_are_no_cues():
    only = Cluster([said("1", "This is what my work was", "work", "If this is what it was, work is the label.")])
    assert cue_wordings([only], LABELS, subject="text", reads={}) == [None]


def test_cues_are_looked_for_in_what_the_student_reads():
    clusters = [
        Cluster([said("1", "A lottery", "spam", "A lottery or a jackpot."), said("2", "x", "spam", "Not read.")])
    ]
    reads = {"1": {"line": "The jackpot", "number": 7}}
    assert cue_wordings(clusters, LABELS, subject="line", reads=reads) == ["If the line is about jackpot, answer spam."]


def test_the_cues_that_most_examples_share_come_first_and_are_few():
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golfer", "hotel"]
    members = [
        said(str(number), " ".join(words[: number + 1]), "home", " ".join(words)) for number in range(len(words))
    ]
    (wording,) = cue_wordings([Cluster(members)], LABELS, subject="text", reads={})
    assert (
        wording == f"If the text is about {', '.join(words[: MOST_CUES - 1])} or {words[MOST_CUES - 1]}, answer home."
    )


@pytest.mark.parametrize("cues", [True, False])
def test_cues_are_the_second_wording_without_a_teacher_and_can_be_left_out(cues):
    from test_induce import RECORDS, induced

    rules = induced(RECORDS, cues=cues).rules
    second = [rule.wordings[1:2] and rule.wordings[1].startswith("If the text is about ") for rule in rules]
    assert all(second) is cues
    assert not any(rule.wordings[0].startswith("If the text is about ") for rule in rules)
    assert InduceConfig().cues


def test_one_wording_is_a_micro_rule():
    from test_induce import RECORDS, induced

    assert all(len(rule.wordings) == 1 and "is about" not in rule.text for rule in induced(RECORDS, wordings=1).rules)


GERMAN = {
    "Karte": ["Der Automat hat die Kreditkarte eingezogen", "Die Kreditkarte ist gesperrt und der Schalter zu"],
    "Konto": ["Der Kontostand ist falsch und die Bank schweigt", "Die Bank zeigt den Kontostand nicht"],
}
SPANISH = {
    "tarjeta": ["El cajero se quedó con la Visa", "La Visa está bloqueada y el cajero cerrado"],
    "cuenta": ["El saldo es falso y la oficina calla", "La oficina no muestra el saldo"],
}


@pytest.mark.parametrize(
    ("examples", "form", "expected"),
    [
        (
            GERMAN,
            "Wenn der Text sagt: die Kunde, {text}, und so weiter, dann ist es {label}.",
            ["kreditkarte", "bank, kontostand"],
        ),
        (SPANISH, "Si el texto dice: la nota, {text}, y todo lo que sigue, entonces es {label}.", ["cajero, visa", "oficina, saldo"]),
    ],
)
def test_words_that_all_labels_have_are_no_cues_in_other_languages(examples, form, expected):
    clusters = [
        Cluster(
            [said(f"{label}{row}", text, label, form.format(text=text, label=label)) for row, text in enumerate(texts)]
        )
        for label, texts in examples.items()
    ]
    wordings = cue_wordings(clusters, tuple(examples), subject="text", reads={})
    function_words = {"der", "die", "und", "ist", "el", "la", "y", "es", "no"}
    for wording, first in zip(wordings, expected, strict=True):
        listed = wording.removeprefix("If the text is about ").partition(", answer")[0]
        cues = listed.replace(" or ", ", ").split(", ")
        assert ", ".join(cues).startswith(first)
        assert not function_words & set(cues)
