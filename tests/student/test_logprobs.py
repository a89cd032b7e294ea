"""Label log-probabilities: which label each listed token counts for, and how shared beginnings divide."""

import math
from types import SimpleNamespace
from typing import Any

import pytest

from pld_dspy.student.logprobs import label_logprobs


def listed(*steps: tuple[str, dict[str, float]], own: float | None = None) -> dict[str, Any]:
    """OpenAI's logprobs of an answer: steps of a token and token -> probability; ``own`` is an unlisted token's."""
    return {
        "content": [
            {
                "token": token,
                "bytes": None,
                "logprob": math.log(choices.get(token, own)),
                "top_logprobs": [
                    {"token": other, "bytes": list(other.encode()), "logprob": math.log(p)}
                    for other, p in choices.items()
                ],
            }
            for token, choices in steps
        ]
    }


def shares(logprobs: Any, labels: str, answer: str) -> dict[str, float]:
    found = label_logprobs(logprobs, labels=labels.split(), answer=answer)
    assert found is not None
    assert list(found) == labels.split()
    assert sum(math.exp(value) for value in found.values()) == pytest.approx(1)
    return {label: math.exp(value) for label, value in found.items()}


def test_first_tokens_tell_labels_apart_and_the_rest_of_the_list_counts_for_none():
    found = shares(listed(("spam", {"The": 0.5, "spam": 0.3, "ham": 0.1})), "ham spam", "spam")
    assert found == pytest.approx({"ham": 0.25, "spam": 0.75})


def test_tokens_of_one_label_add_up_whatever_their_case_and_leading_space():
    found = shares(listed(("spam", {"spam": 0.2, " Sp": 0.1, "SPAM": 0.1, "ham": 0.1})), "spam ham", "spam")
    assert found["spam"] == pytest.approx(0.8)


def test_an_absent_label_gets_the_smallest_listed_figure():
    found = shares(listed(("spam", {"spam": 0.4, "ham": 0.1, "x": 0.02})), "spam ham eggs", "spam")
    assert found["eggs"] == pytest.approx(0.02 / 0.52)


def test_absent_labels_get_no_more_than_the_list_leaves():
    found = shares(listed(("spam", {"spam": 0.94})), "spam ham eggs", "spam")
    assert found == pytest.approx({"spam": 0.94, "ham": 0.03, "eggs": 0.03})


def test_a_token_that_a_grammar_forced_counts_though_it_is_not_listed():
    found = shares(listed(("spam", {"The": 0.8, "Sure": 0.1}), own=0.02), "spam ham", "spam")
    assert found["spam"] == pytest.approx(0.5)


def test_a_shared_beginning_is_divided_by_the_tokens_that_follow():
    answer = listed(
        ("card", {"card": 0.6, "top": 0.2}),
        ("_", {"_": 0.9}),
        ("arrival", {"arrival": 0.3, "link": 0.1, "x": 0.5}),
        ("", {"": 0.9}),
    )
    found = shares(answer, "card_arrival card_linking top_up_failed top_up_limits", "card_arrival")
    assert found["card_arrival"] == pytest.approx(0.6 / 0.8 * 0.75)
    assert found["card_linking"] == pytest.approx(0.6 / 0.8 * 0.25)
    assert found["top_up_failed"] == found["top_up_limits"] == pytest.approx(0.1 / 0.8)


def test_a_label_that_begins_another_ends_where_the_text_ends_or_does_not_go_on_to_it():
    answer = listed(("ham", {"ham": 0.5, "spam": 0.5}), ("", {"": 0.6, ".": 0.1, "_": 0.1, "mer": 0.2}))
    found = shares(answer, "ham ham_salad spam", "ham")
    assert found == pytest.approx({"ham": 0.5 * 7 / 8, "ham_salad": 0.5 / 8, "spam": 0.5})


def test_an_answer_whose_end_is_not_listed_is_likelier_than_a_label_that_goes_on():
    found = shares(listed(("ham", {"ham": 1.0})), "ham_salad ham", "ham")
    assert found == pytest.approx({"ham": 2 / 3, "ham_salad": 1 / 3})


@pytest.mark.parametrize(
    "steps",
    [
        [('{"', {'{"': 0.9}), ("ham", {"ham": 0.9}), ('": "', {'": "': 0.9})],
        [('{"ham":', {'{"ham":': 0.9}), (" ", {" ": 0.9})],
        [("**", {"**": 1.0})],
        [("<think>", {"<think>": 1.0}), ("spam or ham?", {"spam or ham?": 1.0}), ("</think>\n", {"</think>\n": 1.0})],
        [("[THINK]", {"[THINK]": 1.0}), ("spam or ham?", {"spam or ham?": 1.0}), ("[/THINK]", {"[/THINK]": 1.0})],
    ],
)
def test_what_stands_before_the_label_is_passed_over(steps):
    found = shares(listed(*steps, ("ham", {"ham": 0.3, "spam": 0.1})), "spam ham", "ham")
    assert found == pytest.approx({"spam": 0.25, "ham": 0.75})


def test_a_token_that_begins_before_the_label_is_compared_without_what_stands_before():
    answer = listed(
        ('{"label": "', {'{"label": "': 1.0}), (' "ham', {' "ham': 0.3, ' "spam': 0.1}), ('"}', {'"}': 1.0})
    )
    assert shares(answer, "spam ham", "ham") == pytest.approx({"spam": 0.25, "ham": 0.75})


def test_labels_that_differ_in_case_alone_are_told_apart_by_it():
    found = shares(listed(("Polish", {"Polish": 0.6, "polish": 0.2})), "polish Polish", "Polish")
    assert found == pytest.approx({"polish": 0.25, "Polish": 0.75})


def test_parts_of_a_character_count_by_their_bytes():
    begin, other = "\u00fc".encode()[:1], "\u65e5".encode()[:1]
    content = [
        {
            "token": "\ufffd",
            "bytes": list(begin),
            "logprob": math.log(0.6),
            "top_logprobs": [
                {"token": "\ufffd", "bytes": list(begin), "logprob": math.log(0.6)},
                {"token": "\ufffd", "bytes": list(other), "logprob": math.log(0.2)},
            ],
        },
        {"token": "\ufffdber", "bytes": list("\u00fc".encode()[1:] + b"ber"), "logprob": 0.0, "top_logprobs": []},
    ]
    found = shares({"content": content}, "\u65e5\u672c \u00fcber", "\u00fcber")
    assert found["\u00fcber"] == pytest.approx(0.75)


def test_objects_are_read_as_mappings_are_and_figures_of_unlisted_tokens_are_left_out():
    top = [SimpleNamespace(token="ham", bytes=None, logprob=math.log(0.5))]
    top += [SimpleNamespace(token="spam", bytes=None, logprob=-9999.0)]
    step = SimpleNamespace(token="ham", bytes=None, logprob=-9999.0, top_logprobs=top)
    found = label_logprobs(SimpleNamespace(content=[step]), labels=["ham", "spam"], answer="ham")
    assert found == pytest.approx({"ham": math.log(0.5), "spam": math.log(0.5)})


@pytest.mark.parametrize("logprobs", [None, {}, {"content": None}, {"content": []}, listed(("Sp", {"Sp": 1.0}))])
def test_nothing_listed_or_no_label_in_it_gives_none(logprobs):
    assert label_logprobs(logprobs, labels=["spam", "ham"], answer="spam") is None
