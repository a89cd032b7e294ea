"""What of a model's text is thought, and what is its answer."""

import pytest

from pld_dspy.ledger.completion import MISSING, answer_part, holds_thought, json_field, thought_end

CLOSED = [
    "<think>\nspam?\n</think>\n\n{}",
    "spam? </think> {}",
    "<thinking>spam?</thinking>{}",
    "<thought>spam?</thought> {}",
    "<reasoning>spam?</reasoning>\n<answer>{}</answer>",
    "<seed:think>spam?</seed:think>{}",
    "[THINK]spam?[/THINK]{}",
    "◁think▷spam?◁/think▷{}",
    "<|begin_of_thought|>spam?<|end_of_thought|>\n<|begin_of_solution|>{}<|end_of_solution|>",
    "<|START_THINKING|>spam?<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "<|channel|>analysis<|message|>spam?<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>",
    "analysisThe user asks: spam?assistantfinal{}",
    "<think>spam? <think>ham?</think> spam!</think>{}",
    "<think>spam?</think>{}<think>or spam",
]
OPEN = [
    "<think>\nspam, since",
    "<Thinking>spam",
    "<reasoning>spam",
    "[THINK]spam",
    "<|channel|>analysis<|message|>spam",
    "analysisThe user wants spam",
    "spam</think>",
    "<think>spam</think>\n",
]


@pytest.mark.parametrize("form", CLOSED)
def test_the_answer_is_what_is_left_without_thoughts(form):
    assert answer_part(form.format("ham")) == "ham"
    assert holds_thought(form.format("ham"))


@pytest.mark.parametrize("text", OPEN)
def test_a_thought_that_does_not_end_or_has_nothing_behind_it_is_no_answer(text):
    assert answer_part(text) == ""
    assert holds_thought(text)


@pytest.mark.parametrize(
    "text", ["ham", "I think it is ham", "[reasoning]", "analysis of ham", "a < b > c", "think: ham"]
)
def test_an_answer_without_marks_is_left_as_it_is(text):
    assert answer_part(f" {text}\n") == text
    assert not holds_thought(text)


def test_a_fence_around_all_of_it_goes():
    assert answer_part('```json\n{"a": 1}\n```') == '{"a": 1}'
    assert answer_part("```\nham\n```") == "ham"


def test_a_field_is_found_in_json_wherever_it_stands():
    assert json_field('Here: {"a": {"b": 1}, "c": 2} {"c": 3}', "c") == 2
    assert json_field('{"c": "cut', "c") is MISSING
    assert json_field("{c}", "c") is MISSING


def test_the_end_of_the_last_thought_is_counted_in_bytes():
    text = "<think>ü</think> ham ◁/think▷ ham".encode()
    assert text[thought_end(text) :] == b" ham"
    assert thought_end(b"ham") == 0
