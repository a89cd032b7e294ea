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


def test_a_rule_of_one_example_has_no_cues():
    from test_induce import RECORDS, induced

    spam, *others = [one for one in RECORDS if one.label == "spam"]
    other = next(one for one in RECORDS if one.label == "work")
    rules = induced([spam, *others[:1], other]).rules
    assert rules
    for rule in rules:
        assert ("cues" in rule.origins) is (len(rule.support) > 1)


def test_one_wording_is_a_micro_rule():
    from test_induce import RECORDS, induced

    assert all(len(rule.wordings) == 1 and "is about" not in rule.text for rule in induced(RECORDS, wordings=1).rules)


GERMAN = [
    ("Karte", "Die Kreditkarte ist weg", "Geht es um eine Kreditkarte, und nicht um Geld, dann Karte."),
    ("Karte", "Die Kreditkarte geht nicht in der Stadt", "Eine Kreditkarte ist das Zeichen, dann Karte."),
    ("Konto", "Der Kontostand ist nicht richtig", "Ist der Kontostand nicht richtig, dann Konto."),
    ("Konto", "Es ist nicht der alte Kontostand", "Der Kontostand ist nicht der alte, dann Konto."),
]
SPANISH = [
    ("tarjeta", "La Visa no funciona en el cajero", "Una Visa es la seña, y entonces es tarjeta."),
    ("tarjeta", "La Visa es nueva", "Si se trata de una Visa, no de otra cosa, entonces tarjeta."),
    ("cuenta", "El saldo no es correcto", "Cuando el saldo no es correcto, es la cuenta."),
    ("cuenta", "No es el saldo antiguo", "El saldo no es el antiguo, entonces cuenta."),
]


@pytest.mark.parametrize(
    ("records", "cues"),
    [(GERMAN, ["kreditkarte", "kontostand"]), (SPANISH, ["visa", "saldo"])],
)
def test_words_that_are_common_under_other_labels_are_no_cues_in_other_languages(records, cues):
    labels = tuple(dict.fromkeys(label for label, _, _ in records))
    clusters = [
        Cluster([said(text, text, label, rule) for label, text, rule in records if label == own]) for own in labels
    ]
    wordings = cue_wordings(clusters, labels, subject="text", reads={})
    for wording, cue in zip(wordings, cues, strict=True):
        listed = wording.removeprefix("If the text is about ").partition(", answer")[0]
        words = listed.replace(" or ", ", ").split(", ")
        assert words[0] == cue
        assert not {"die", "der", "ist", "nicht", "es", "no", "la"} & set(words)
