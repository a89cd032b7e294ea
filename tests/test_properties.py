"""What must hold for any text: labels that people choose, rules that models write, answers, and files cut anywhere.

``PLD_FUZZ_TEXTS=500 pytest tests/test_properties.py`` tries as many texts each; without it, a few.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Literal

import dspy
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pld_dspy.errors import DataError, without_secrets
from pld_dspy.ledger.jsonl import Journal
from pld_dspy.release.plots import plot_labels
from pld_dspy.rules import RULES_CLOSE, RULES_LEAD, RULES_OPEN, Rule, RuleSet, strip_rules
from pld_dspy.scoring.score import score
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.constraints import label_grammar
from pld_dspy.student.decision import Decision
from pld_dspy.student.logprobs import label_logprobs
from pld_dspy.task.answers import check_joinable, check_readable, label_names, match_label
from pld_dspy.task.labels import join_labels, labels_in
from pld_dspy.task.tables import classifier

TEXTS_TRIED = int(os.environ.get("PLD_FUZZ_TEXTS", "15"))
quick = settings(max_examples=TEXTS_TRIED, deadline=None, derandomize=True, database=None)

ODD = st.sampled_from(
    [
        *("", " ", "\u2028", "\x85", "\x00", "</rules>", "<rules>", "<RULES >", "$\\frac{", "<b>", "&amp;", "{{x}}"),
        *("1. ", "- ", "'", '"', "[", "]", "{", "}", ":", "|", ",", ";", "*", "&a", "!!int", "%", "\\", "---", "..."),
        *("null", "yes", "NaN", "-0", "1e9", "2020-01-01", "\r", "\n", "\t", "=", "@", "`", "#", "\ufeff", "\u202e"),
    ]
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PIECES = st.lists(st.one_of(ODD, TEXTS), max_size=6).map("".join)
LABELS = st.lists(PIECES.map(str.strip).filter(bool), min_size=2, max_size=5, unique=True).map(tuple)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), PIECES),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(PIECES, inner, max_size=3)),
    max_leaves=8,
)
LABEL_FIELDS = st.dictionaries(st.sampled_from(["label", "labels", "x"]), JSON, max_size=2)


@st.composite
def answers(draw, labels: tuple[str, ...]) -> str:
    """What a model may say: anything, a label amid anything, JSON of any shape, or JSON that is cut or too deep."""
    said = draw(st.one_of(PIECES, st.sampled_from(labels), JSON.map(json.dumps), LABEL_FIELDS.map(json.dumps)))
    said = draw(st.sampled_from(["", "- ", "The label is ", "[" * 5000, '{"label": ' * 3000, "9" * 5000])) + said
    return said[: draw(st.integers(0, len(said)))] if draw(st.booleans()) else said


@quick
@given(st.data(), LABELS)
def test_any_answer_is_a_label_or_none(data, labels):
    said = data.draw(answers(labels))
    program = classifier(("text",), "label", labels)
    found = Decision.required(program.signature).match(said)
    assert found is None or found in labels
    try:
        assert LabelAdapter().parse(program.signature, said) == {"label": found}
    except dspy.AdapterParseError:
        assert found is None


@quick
@given(st.data(), LABELS)
def test_any_answer_with_several_labels_is_labels_or_none(data, labels):
    try:
        check_joinable(labels)
    except DataError:
        return
    decision = Decision.required(classifier(("text",), "label", labels, several=True).signature)
    found = decision.match(data.draw(answers(labels)))
    assert found is None or set(decision.value(found)) <= set(labels)


@quick
@given(LABELS)
def test_every_label_that_is_not_refused_is_read_back(labels):
    try:
        check_readable(Literal[labels], labels, field="label")
    except DataError:
        return
    decision = Decision.required(classifier(("text",), "label", labels).signature)
    for label in labels:
        assert match_label(label, labels) == label
        assert decision.match(json.dumps({"label": label})) == label
        assert label_names(labels) is not None
        assert json.dumps(label, ensure_ascii=False) in label_grammar(labels)


@quick
@given(LABELS)
def test_labels_that_can_be_joined_are_told_apart_again(labels):
    try:
        check_joinable(labels)
    except DataError:
        return
    for some in (labels, labels[:1], labels[1:], ()):
        assert labels_in(join_labels(some, labels), labels) == some


@quick
@given(st.data(), LABELS)
def test_any_tokens_give_shares_of_the_labels_or_none(data, labels):
    number = st.floats(-50, 0)
    token = st.fixed_dictionaries({"token": PIECES, "logprob": number, "bytes": st.none()})
    listed = st.lists(token, max_size=3)
    content = data.draw(st.lists(st.builds(lambda one, top: {**one, "top_logprobs": top}, token, listed), max_size=4))
    label = data.draw(st.sampled_from(labels))
    if data.draw(st.booleans()):
        content = [{"token": label, "bytes": None, "logprob": -0.1, "top_logprobs": data.draw(listed)}, *content]
    shares = label_logprobs({"content": content}, labels=labels, answer=label)
    assert shares is None or list(shares) == list(labels)


@st.composite
def rule_sets(draw) -> RuleSet:
    wordings = st.lists(PIECES, min_size=1, max_size=3)
    found = []
    for number, texts in enumerate(draw(st.lists(wordings, max_size=4))):
        labels, chosen = draw(st.lists(PIECES, max_size=2)), draw(st.integers(0, len(texts) - 1))
        found.append(Rule(id=f"r-{number}", wordings=tuple(texts), chosen=chosen, labels=tuple(labels)))
    return RuleSet(rules=tuple(found))


@quick
@given(rule_sets(), PIECES)
def test_any_rules_are_one_line_each_and_come_off_again(rules, instructions):
    lines = rules.render().split("\n")
    if rules:
        assert (lines[0], lines[1], lines[-1]) == (RULES_OPEN, RULES_LEAD, RULES_CLOSE)
        assert len(lines) == len(rules) + 3
    own = strip_rules(instructions)
    once = rules.instruct(instructions)
    assert strip_rules(once).strip() == own.strip()
    assert rules.instruct(once).split() == once.split()


@quick
@given(rule_sets())
@example(RuleSet(rules=(Rule(id="r-0", wordings=("Next\x85line",)),)))
def test_any_rules_are_read_back_from_yaml(rules):
    read = RuleSet.from_yaml(rules.to_yaml())
    assert [(rule.id, rule.text, rule.labels) for rule in read.rules] == [
        (rule.id, rule.text, rule.labels) for rule in rules.rules
    ]


@quick
@given(st.one_of(PIECES, JSON.map(lambda value: yaml.safe_dump({"rules": value}))))
def test_any_text_is_a_rule_set_or_a_data_error(text):
    with suppress(DataError):
        RuleSet.from_yaml(text)


@pytest.mark.parametrize(
    "text",
    [
        "rules: &a [*a]",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nrules: [{id: *c, text: *c}]",
        "rules: " + "[" * 500,
        "rules: !!python/object/apply:os.system ['echo run']",
        "rules: !!bool x",
        "rules: !!timestamp x",
        "rules: " + "9" * 5000,
    ],
)
def test_yaml_that_is_cyclic_explosive_deep_or_runs_something_is_refused(text):
    with pytest.raises(DataError, match="Not a rule set"):
        RuleSet.from_yaml(text)


@quick
@given(st.lists(st.dictionaries(PIECES, JSON, max_size=3), min_size=1, max_size=4), st.integers(0, 400), JSON)
def test_a_journal_cut_anywhere_gives_its_whole_lines_and_goes_on(tmp_path_factory, lines, cut, value):
    path: Path = tmp_path_factory.mktemp("journal") / "lines.jsonl"
    journal = Journal(path)
    for line in lines:
        journal.append(line)
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    again = Journal(path)
    whole = data[: data.rfind(b"\n") + 1]
    assert len(again.read_new()) == whole.count(b"\n")
    again.append({"value": value})
    assert path.read_bytes()[: len(whole)] == whole
    assert len(Journal(path).read_new()) == whole.count(b"\n") + 1


@settings(quick, max_examples=max(4, TEXTS_TRIED // 10))
@given(LABELS)
def test_labels_of_any_text_are_drawn_inert(labels):
    found = score([labels[0]], [labels[1]], labels)
    drawn = plot_labels([("unchanged", found), ("compiled", found)], labels)
    assert "<b>" not in drawn
    assert "<rules>" not in drawn


@quick
@given(PIECES)
def test_taking_secrets_out_of_any_text_ends_and_is_stable(text):
    assert without_secrets(without_secrets(text)) == without_secrets(text)
