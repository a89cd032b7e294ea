"""Several labels at once: the same compile, each label a decision of its own."""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import dspy
import numpy as np
import pytest
from engine import calls, fn_lm, output_fields, rules_in, sections
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_recall_fscore_support
from tasks import WORDS, instruction, mail_teacher, pld, rule
from typer.testing import CliRunner

from pld_dspy.audit.labels import suspects
from pld_dspy.cli import run_spec as command_module
from pld_dspy.cli.app import app
from pld_dspy.cli.data_source import Tables
from pld_dspy.compile.inputs import check_inputs
from pld_dspy.errors import DataError
from pld_dspy.explain import match_records
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.jsonl import read_jsonl, write_jsonl
from pld_dspy.ledger.keys import digest
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.resolve.diagnosis import find_hard_examples
from pld_dspy.resolve.records import HardExample
from pld_dspy.resolve.resolve_config import ResolveConfig
from pld_dspy.rules import DOUBT_MARK, RULES_LEAD_SEVERAL, MicroRule, strip_rules, supporting
from pld_dspy.run.result import PLDResult
from pld_dspy.scoring.difference import difference
from pld_dspy.scoring.figures import figure, macro_f1
from pld_dspy.scoring.objective import Objective
from pld_dspy.scoring.score import score
from pld_dspy.search.correctness_model import own_labels
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.constraints import constrained
from pld_dspy.student.decision import Decision
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.answers import match_labels
from pld_dspy.task.checks import check_examples, check_training_labels
from pld_dspy.task.labels import NO_LABEL, indicator, join_labels, labels_in
from pld_dspy.task.tables import examples as table_examples
from pld_dspy.task.task import Task

LABELS = ("spam", "work", "home")


class Tags(dspy.Signature):
    """Tag the mail."""

    text: str = dspy.InputField()
    tags: list[Literal["spam", "work", "home"]] = dspy.OutputField()


class Team(Enum):
    BILLING = "billing"
    TECH = "technical support"


def tagged(number: int, tags: Sequence[str], words: Sequence[str]) -> dspy.Example:
    text = f"Mail {number} about the {' and the '.join(words)}"
    return dspy.Example(id=f"m{number}", text=text, tags=list(tags)).with_inputs("text")


def tagged_mails(n: int, *, start: int = 0) -> list[dspy.Example]:
    """``n`` mails with a keyword for each of their one or two labels."""
    rng = random.Random(start)
    found = []
    for number in range(start, start + n):
        tags = [LABELS[number % 3], LABELS[(number + 1) % 3]][: 1 + number % 2]
        found.append(tagged(number, tags, [rng.choice(WORDS[tag]) for tag in tags]))
    return found


TRAIN, VAL, TEST = tagged_mails(40), tagged_mails(24, start=100), tagged_mails(24, start=200)


def tagging_lm(default: str = "work", **settings: Any) -> dspy.LM:
    """A student that answers the labels of all rules that fit, and a label that it likes where none does."""

    def answer(system: str, user: str) -> str:
        outputs = output_fields(system)
        text = "\n".join(sections(user).values()) if outputs else user
        told = [label for words, label in rules_in(system) if any(word in text.split() for word in words)]
        found = list(dict.fromkeys(told)) or [default]
        if not outputs:
            return ", ".join(found)
        return f"[[ ## {outputs[-1]} ## ]]\n{json.dumps(found)}\n\n[[ ## completed ## ]]"

    return fn_lm(answer, **{"model": "custom/tagger", "cache": False, **settings})


def keyword_of(given: dict[str, str]) -> str:
    """A rule on the word that stands for the one label that the teacher is asked about."""
    word = next(word for word in WORDS[given["label"]] if word in given["example"].split())
    return instruction(word, given["label"])


def tagger(lm: dspy.LM | None = None, signature: Any = Tags) -> dspy.Predict:
    program = dspy.Predict(signature)
    program.lm = lm
    return program


def task(kind: Any = list[Literal["spam", "work", "home"]], examples: Sequence[dspy.Example] = TRAIN) -> Task:
    fields = {"text": (str, dspy.InputField()), "tags": (kind, dspy.OutputField())}
    return Task.of(dspy.Predict(dspy.Signature(fields, "Tag.")), examples)


def compile_tagger(folder: Path, lm: dspy.LM, **settings: Any) -> tuple[dspy.Module, PLDResult]:
    teacher = mail_teacher({"rule": keyword_of}, model="custom/tag-teacher")
    optimizer = pld(folder, teacher=teacher, **settings)
    compiled = optimizer.compile(tagger(lm), trainset=TRAIN, valset=VAL, testset=TEST)
    assert optimizer.result is not None
    return compiled, optimizer.result


@pytest.mark.parametrize("adapter", [LabelAdapter(), dspy.ChatAdapter()], ids=["label", "chat"])
def test_a_compile_finds_rules_for_each_label(tmp_path, adapter):
    lm = tagging_lm()
    compiled, result = compile_tagger(tmp_path, lm, adapter=adapter)

    assert result.labels == LABELS
    assert result.improved
    assert {rule.labels for rule in result.rules.rules} == {(label,) for label in LABELS}
    assert result.counts["labels_without_rule"] == 0
    before, after = result.test.baseline, result.test.compiled
    assert before.macro_f1 < 0.3
    assert (after.macro_f1, after.accuracy, after.failures) == (1.0, 1.0, 0)
    assert {label: row.n for label, row in after.per_label.items()} == {label: 12 for label in LABELS}
    assert result.test.difference.p_value < 0.01
    stored = json.loads((tmp_path / "result.json").read_text())["test"]["baseline"]["per_label"]
    assert (stored["work"]["recall"], stored["spam"]["f1"]) == (1.0, 0.0)

    own = tagger(lm).signature.instructions
    assert RULES_LEAD_SEVERAL in compiled.signature.instructions
    assert strip_rules(compiled.signature.instructions) == own
    with dspy.context(adapter=adapter):
        assert compiled(text="Mail 7 about the dinner and the invoice").tags in (["home", "work"], ["work", "home"])


def test_each_label_of_an_example_is_explained_on_its_own(tmp_path):
    compile_tagger(tmp_path, tagging_lm())
    told = read_jsonl(tmp_path / "micro_rules.jsonl", MicroRule)
    expected = [(one.id, tag) for one in TRAIN for tag in LABELS if tag in one.tags]
    assert [(one.example_id, one.label) for one in told] == expected


def test_a_compile_is_taken_up_without_a_call(tmp_path):
    lm = tagging_lm()
    _, first = compile_tagger(tmp_path, lm)
    made = len(calls(lm))
    _, second = compile_tagger(tmp_path, lm)
    assert len(calls(lm)) == made
    assert second.test == first.test


def test_the_search_learns_effects_from_exact_matches(tmp_path):
    search = SearchConfig(screen_calls=96, trials=4, block=12)
    _, result = compile_tagger(tmp_path, tagging_lm(), search=search)
    assert result.insight is not None
    assert result.test.compiled.macro_f1 > result.test.baseline.macro_f1 + 0.5


def test_what_is_left_wrong_is_mended_label_by_label(tmp_path):
    recorded = [
        MicroRule(example_id=one.id, inputs={}, label=tag, rationale="It says so.", rule=told)
        for one in TRAIN
        for tag in one.tags
        for told in [instruction("nothing" if tag == "work" else " or ".join(WORDS[tag]), tag)]
    ]
    patch = json.dumps([{"kind": "add", "texts": [instruction(" or ".join(WORDS["work"]), "work")]}])
    teacher = mail_teacher({"changes": lambda given: patch}, model="custom/tag-resolver")
    optimizer = pld(tmp_path, teacher=teacher, resolve=ResolveConfig(max_rounds=1))
    optimizer.compile(tagger(tagging_lm("home")), trainset=TRAIN, valset=VAL, rationales=recorded)
    patches = [json.loads(line) for line in (tmp_path / "patches.jsonl").read_text().splitlines()]
    assert any(one["kept"] for one in patches), patches
    assert {label for one in optimizer.result.rules.rules for label in one.labels} <= {*LABELS}
    assert optimizer.result.validation.compiled.per_label["work"].f1 > 0.5


@pytest.mark.parametrize(
    "kind",
    [
        list[Literal["spam", "work", "home"]],
        set[Literal["spam", "work", "home"]],
        frozenset[Literal["spam", "work", "home"]],
        tuple[Literal["spam", "work", "home"], ...],
        Optional[list[Literal["spam", "work", "home"]]],  # noqa: UP045
        Annotated[list[Literal["spam", "work", "home"]], "tags"],
        list[str],
    ],
)
def test_the_label_set_is_that_of_the_elements(kind):
    found = task(kind)
    assert (found.several, sorted(found.labels)) == (True, sorted(LABELS))
    assert found.read({"tags": ["Work", "spam", "work"]}) == join_labels(["spam", "work"], found.labels)


def test_enum_members_are_labels_by_their_values():
    teams = [[Team.TECH], [Team.TECH, Team.BILLING], []]
    examples = [dspy.Example(text=f"t{n}", tags=tags).with_inputs("text") for n, tags in enumerate(teams)]
    found = task(list[Team], examples)
    check_examples(found, examples, split="training")
    assert found.golds(examples) == ["technical support", "billing, technical support", NO_LABEL]
    evaluator = Evaluator(student=tagger(), task=found, ledger=Ledger(None))
    answers = [Answer(outputs={"tags": ["billing", "technical support"]}), Answer(outputs={"tags": []})]
    assert [one.get("tags") for one in evaluator.predictions(examples[:2], answers)] == [
        [Team.BILLING, Team.TECH],
        [],
    ]


def test_answers_keep_the_type_of_their_gold_labels_for_a_users_metric():
    example = dspy.Example(text="t", tags={"spam", "work"}).with_inputs("text")
    evaluator = Evaluator(
        student=tagger(), task=task(), ledger=Ledger(None), objective=Objective(lambda gold, given: 0.0)
    )
    (found,) = evaluator.predictions([example], [Answer(outputs={"tags": ["work", "spam"]})])
    assert found.tags == example.tags
    nested = Answer(outputs={"tags": [["work"], {"spam": 1}]})  # what only a user's own program may answer
    assert evaluator.predictions([example], [nested])[0].tags == nested.outputs["tags"]
    expected = macro_f1(task().golds([example]), [task().read(nested.outputs)], LABELS)
    assert replace(evaluator, objective=Objective()).value([example], [nested]) == expected


def test_answers_are_read_as_one_text():
    found = task()
    given = [["work", "spam"], ["work", "work"], [], ["work", "other"], ["spam or work"], None, "spam", 3]
    expected = ["spam, work", "work", NO_LABEL, None, None, None, "spam", None]
    assert [found.read({"tags": value}) for value in given] == expected
    assert [found.read(None), found.read({})] == [None, None]
    assert [found.labels_of(text) for text in ("spam, work", "home", NO_LABEL)] == [("spam", "work"), ("home",), ()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("work, spam", "spam, work"),
        ("Work; Spam.", "spam, work"),
        ("- work\n- spam\n", "spam, work"),
        ("spam|work", "spam, work"),
        ('["work", "spam"]', "spam, work"),
        ("No label.", NO_LABEL),
        ("[]", NO_LABEL),
        ("spam, ham", None),
        ("spam, no label", None),
        ("", None),
        (" , ", None),
    ],
)
def test_a_models_text_is_read_part_by_part(text, expected):
    assert match_labels(text, LABELS) == expected


def test_texts_of_several_labels_name_them():
    texts = ["spam", "spam, home", NO_LABEL, "other", None]
    assert indicator(texts, LABELS).tolist() == [[1, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 1]]
    assert labels_in("a, b", ("a", "b", "a, b")) == ("a, b",), "a label is itself, whatever it looks like"


@pytest.mark.parametrize("label", ["a, b", "a|b", "a;b", "a\nb", "No label"])
def test_labels_that_could_not_be_told_apart_are_refused(label):
    examples = [dspy.Example(text="t", tags=[label]).with_inputs("text")]
    with pytest.raises(DataError, match=r"cannot be answered together with others.*Rename the label"):
        task(list[str], examples)


def test_a_fixed_number_of_labels_is_refused():
    with pytest.raises(DataError, match=r"'tags' is of type .*a fixed number of values. Give it a list"):
        task(tuple[Literal["spam", "work"], Literal["spam", "work"]])


def test_one_label_is_decided_where_one_and_several_could_be():
    program = dspy.Predict("text -> tags: list[Literal['spam', 'work']], label: Literal['spam', 'work']")
    examples = [dspy.Example(text="t", tags=["spam"], label="spam").with_inputs("text")]
    assert Task.of(program, examples).label_field == "label"
    assert Task.of(program, examples, target="tags").several


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ("spam", "label field 'tags' is a str, not a list of labels.*of spam, work, home"),
        (["spam", "ham"], r"the label 'ham' is not in the label set \(spam, work, home\)"),
        (None, "no value for the label field 'tags'"),
    ],
)
def test_an_unusable_row_is_named(tags, said):
    examples = [*TRAIN[:2], dspy.Example(TRAIN[2], tags=tags).with_inputs("text")]
    with pytest.raises(DataError, match=rf"training row 2 \(id 'm2'\).*{said}"):
        check_examples(task(), examples, split="training")


def test_one_set_of_labels_is_nothing_to_decide(caplog):
    same = [tagged(n, ["spam", "work"], ["winner"]) for n in range(3)]
    with pytest.raises(DataError, match="Every training example has the label 'spam, work'"):
        check_training_labels(task(), same)
    check_training_labels(task(), [*same, tagged(4, [], ["nothing"])])
    assert "No training example has the label ['home']" in caplog.text


def test_a_validation_set_is_split_off_by_the_rarest_label_though_every_set_stands_once():
    labels = tuple(f"l{number}" for number in range(6))
    sets = [[label for bit, label in enumerate(labels) if number >> bit & 1] for number in range(1, 64)]
    examples = [tagged(number, tags, [f"word{number}"]) for number, tags in enumerate(sets)]
    given = check_inputs(
        tagger(signature=dspy.Signature("text -> tags: list[str]")),
        trainset=examples,
        teacher=dspy.LM("custom/never-called"),
    )
    assert 20 <= len(given.splits.val) <= 30
    shown = {label for one in given.splits.val for label in one.tags}
    assert shown == set(labels)


@pytest.mark.parametrize("settings", [{"calibrate": True}, {"induce": InduceConfig(audit="teacher")}])
def test_settings_for_one_label_are_refused_before_any_call(tmp_path, settings):
    lm = tagging_lm()
    with pytest.raises(DataError, match=r"'tags' may hold several at once"):
        compile_tagger(tmp_path, lm, **settings)
    assert calls(lm) == []


def test_a_text_with_several_labels_casts_no_doubt_on_them():
    records = [
        MicroRule(example_id=one.id, inputs={"text": one.text}, label=tag, rationale="", rule=f"Sign: {one.text}.")
        for one in tagged_mails(120)
        for tag in one.tags
    ]
    assert suspects(records, task()) == []
    records[0] = records[0].model_copy(update={"rationale": f"{DOUBT_MARK} Hm."})
    assert [one.example_id for one in suspects(records, task())] == [records[0].example_id]


def test_each_label_of_an_example_is_shown_with_its_own_reason():
    records = [MicroRule(example_id="m1", inputs={}, label=tag, rationale="", rule=tag) for tag in ("work", "home")]
    for tag in ("work", "home"):
        own = rule(f"{tag}-1", WORDS[tag][0], tag, support=("m1",))
        assert [one.label for one in supporting(own, records)] == [tag]


def drawn(seed: int) -> tuple[list[str], list[str | None], list[str | None]]:
    rng = random.Random(seed)

    def some() -> str:
        return join_labels([label for label in LABELS if rng.random() < 0.4], LABELS)

    golds = [some() for _ in range(rng.randint(2, 60))]
    before, after = ([rng.choice([gold, some(), None]) for gold in golds] for _ in range(2))
    return golds, before, after


@pytest.mark.parametrize("seed", range(20))
def test_figures_equal_scikit_learns_over_label_columns(seed):
    golds, answers, _ = drawn(seed)
    gold, answer = indicator(golds, LABELS)[:, :3], indicator(answers, LABELS)[:, :3]
    found = score(golds, answers, LABELS)
    assert found.macro_f1 == macro_f1(golds, answers, LABELS)
    assert found.macro_f1 == pytest.approx(f1_score(gold, answer, average="macro", zero_division=0))
    exact = [given == wanted for wanted, given in zip(golds, answers, strict=True)]
    assert found.accuracy == pytest.approx(sum(exact) / len(exact))
    assert found.failures == answers.count(None)
    columns = zip(*precision_recall_fscore_support(gold, answer, zero_division=0), strict=True)
    for label, row in zip(LABELS, columns, strict=True):
        stored = found.per_label[label]
        assert (stored.precision, stored.recall, stored.f1, stored.n) == pytest.approx(row)
    weighted = f1_score(gold, answer, average="weighted", zero_division=0)
    assert figure("weighted_f1", LABELS, several=True)(golds, answers, LABELS) == pytest.approx(weighted)
    one = f1_score(gold[:, 1], answer[:, 1], zero_division=0)
    assert figure("f1:work", LABELS, several=True)(golds, answers, LABELS) == pytest.approx(one)


def test_a_missing_answer_is_no_empty_list():
    golds: list[str] = [NO_LABEL, NO_LABEL, "spam"]
    found = score(golds, [NO_LABEL, None, "spam"], LABELS)
    assert (found.accuracy, found.failures) == (pytest.approx(2 / 3), 1)
    assert found.per_label["spam"].f1 == 1.0


def test_accuracy_is_of_whole_answers():
    assert score(["spam, work"], ["spam"], LABELS).accuracy == 0.0
    assert score(["spam, work"], ["spam, work"], LABELS).accuracy == 1.0


def test_confusion_counts_missed_labels_by_what_was_answered_instead():
    golds, answers = ["spam, work", "spam, work", "home", "home"], ["spam, home", "spam", "home, work", None]
    assert score(golds, answers, LABELS).confusion == {
        "spam": {"spam": 2},
        "work": {"home": 1, "(none)": 1},
        "home": {"home": 1, "(none)": 1},
    }


@pytest.mark.parametrize("seed", range(5))
def test_differences_are_those_of_the_figures_and_antisymmetric(seed):
    golds, before, after = drawn(seed)
    forth, back = difference(golds, before, after, LABELS), difference(golds, after, before, LABELS)
    assert forth.macro_f1 == pytest.approx(macro_f1(golds, after, LABELS) - macro_f1(golds, before, LABELS))
    assert forth.macro_f1 == pytest.approx(-back.macro_f1)
    assert forth.interval[0] <= forth.macro_f1 <= forth.interval[1]
    better = difference(golds * 4, [None] * 4 * len(golds), golds * 4, LABELS)
    assert better.p_value < 0.01
    assert better.interval[0] > 0


def test_balanced_accuracy_is_of_each_label_as_yes_or_no():
    golds, answers = ["spam", "work", "spam, work", "home"], ["spam, work", "work", "spam", "home"]
    found = figure("balanced_accuracy", LABELS, several=True)
    columns = zip(indicator(golds, LABELS)[:, :3].T, indicator(answers, LABELS)[:, :3].T, strict=True)
    expected = [balanced_accuracy_score(gold, answer) for gold, answer in columns]
    assert found(golds, answers, LABELS) == pytest.approx(sum(expected) / 3)
    everything = [", ".join(LABELS)] * 4
    assert found(golds, everything, LABELS) == 0.5, "to answer every label is no way to win"
    assert found(golds, [None] * 4, LABELS) == 0.0
    assert found(["spam, work"], ["spam, work"], LABELS) == 0.0


def test_a_rules_own_examples_are_those_with_its_label():
    rules = [rule("spam-1", "winner", "spam"), rule("home-1", "dinner", "home")]
    golds = ["spam, home", "work", "home", NO_LABEL]
    assert own_labels(rules, golds, LABELS).tolist() == [[1, 1], [0, 0], [0, 1], [0, 0]]


def test_examples_weigh_by_how_rare_their_labels_are():
    golds = ["spam"] * 6 + ["spam, work", NO_LABEL]
    weights = Objective().example_weights(golds, LABELS)
    assert weights.sum() == pytest.approx(1.0)
    assert min(weights[6], weights[7]) > weights[0]
    assert weights[6] == pytest.approx(0.5 * (1 / 7 + 1) / 3 + 0.5 / 8)


def hard_examples(train: list[dspy.Example], answers: list[str]) -> dict[str, HardExample]:
    student = Evaluator(student=tagger(), task=task(), ledger=Ledger(), adapter=LabelAdapter())
    given, said = {one.id: one for one in train}, [Answer(outputs={"tags": one.split(", ")}) for one in answers]
    unknown = np.full((len(train), len(LABELS)), np.nan)
    found = find_hard_examples(given, said, unknown, student, most=9, text=lambda one: one.text)
    return {one.example_id: one for one in found}


def test_an_error_tells_which_labels_are_missed():
    train = [tagged(0, ["spam", "work"], ["a"]), tagged(1, ["home"], ["b"]), tagged(2, ["work"], ["c"])]
    found = hard_examples(train, ["spam, home", "work, home", "work"])
    assert {name: (one.rival, one.missed) for name, one in found.items()} == {
        "m0": ("spam, home", ("work",)),
        "m1": ("work, home", ("home",)),
    }


def test_an_error_where_no_label_is_right_has_its_cost():
    train = [tagged(0, [], ["a"]), tagged(1, [], ["b"]), tagged(2, ["work"], ["c"])]
    [one] = hard_examples(train, ["home", NO_LABEL, "work"]).values()
    assert (one.example_id, one.gold, one.cost) == ("m0", NO_LABEL, 0.5)


def test_a_record_explains_one_of_the_examples_labels():
    records = [MicroRule(example_id="m1", inputs={}, label=tag, rationale="", rule="r") for tag in ("work", "home")]
    matched, _ = match_records(TRAIN, task(), records)
    assert matched == {(1, "work"): records[0], (1, "home"): records[1]}
    whole = MicroRule(example_id="m1", inputs={}, label="work, home", rationale="", rule="r")
    with pytest.raises(DataError, match=r"training row 1 is labelled 'work, home'. Give a record for each label"):
        match_records(TRAIN, task(), [whole])


def ask(lm: dspy.LM, signature: Any = Tags, adapter: LabelAdapter | None = None, **given: Any) -> Any:
    with dspy.context(lm=lm, adapter=adapter or LabelAdapter()):
        return dspy.Predict(signature)(**{"text": "t", **given}).tags


def test_the_prompt_is_as_short_as_for_one_label():
    lm = fn_lm(lambda system, user: "work, spam", cache=False)
    assert ask(lm) == ["spam", "work"]
    (call,) = calls(lm)
    asked = "Answer with all labels that apply, joined by commas, or with 'no label' if none does: spam | work | home"
    assert (call.system, call.user) == (f"Tag the mail.\n\n{asked}", "t")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (set[Literal["a", "b"]], {"a", "b"}),
        (tuple[Literal["a", "b"], ...], ("a", "b")),
        (frozenset[Literal[1, 2]], frozenset({1, 2})),
        (list[Team], [Team.BILLING, Team.TECH]),
    ],
)
def test_answers_are_values_of_the_fields_type(kind, value):
    signature = dspy.Signature({"text": (str, dspy.InputField()), "tags": (kind, dspy.OutputField())})
    text = ", ".join(Decision.of(signature).labels)
    assert ask(fn_lm(lambda system, user: text, model=f"custom/{kind}", cache=False), signature) == value


def test_an_answer_with_an_unknown_label_is_asked_for_once_more():
    answers = iter(["spam, ham", '{"tags": ["home", "spam"]}'])
    lm = fn_lm(lambda system, user: next(answers), cache=False)
    assert ask(lm) == ["spam", "home"]
    assert calls(lm)[1].user.startswith("That is not one of the labels. Answer with all labels that apply")


def test_no_label_is_an_answer_and_demos_show_it():
    lm = fn_lm(lambda system, user: "no label", cache=False)
    with dspy.context(lm=lm, adapter=LabelAdapter(logprobs=True)):
        program = dspy.Predict(Tags)
        demos = {"d1": ["work", "spam"], "d2": [], "d3": ["x"]}
        program.demos = [{"text": text, "tags": tags} for text, tags in demos.items()]
        assert program(text="t").toDict() == {"tags": []}
    (call,) = calls(lm)
    assert [text for role, text in call.messages if role == "assistant"] == ["spam, work", "no label"]
    assert call.settings["logprobs"] is None


def test_servers_are_held_to_lists_of_labels():
    lm, decision = dspy.LM("custom/none"), Decision.of(Tags)

    def body(means: Any) -> dict[str, Any]:
        return constrained({}, lm, constrain=means, decision=decision)

    schema = body("json_schema")["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["tags"] == {"type": "array", "items": {"type": "string", "enum": list(LABELS)}}
    choice = body("choice")["extra_body"]
    assert choice == {"structured_outputs": {"json": schema}, "guided_json": schema}
    assert body("grammar")["extra_body"]["grammar"] == (
        'root ::= "no label" | label (", " label){0,2}\nlabel ::= "spam" | "work" | "home"'
    )


def test_a_cell_of_a_table_is_parted_and_a_list_stays_one():
    rows = [{"text": "a", "tags": "spam | work"}, {"text": "b", "tags": "no label"}, {"text": "c", "tags": None}]
    assert [one.tags for one in table_examples(rows, ["text"], "tags", separator="|")] == [["spam", "work"], [], None]
    (listed,) = table_examples([{"text": "a", "tags": [1, True, "x"]}], ["text"], "tags")
    assert listed.tags == ["1", "True", "x"]


def test_tables_with_several_labels_make_a_student_of_lists(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,tags\na,"spam;work"\nb,home\n', encoding="utf-8")
    tables = Tables(train=str(path), inputs=("text",), label="tags", separator=";")
    told, read = tables.load()
    assert (told.labels, told.several) == (("home", "spam", "work"), True)
    assert Task.of(told.student(), read.train).several
    alone = Tables(train=str(path), inputs=("text",), label="tags")
    assert alone.load()[0].several is False


@pytest.mark.parametrize("style", ["jsonl", "csv"])
def test_the_command_line_takes_lists_of_labels(tmp_path, monkeypatch, style):
    lm = tagging_lm()
    monkeypatch.setattr(command_module, "resolve_lm", lambda spec, **settings: lm)
    monkeypatch.chdir(tmp_path)
    for name, examples in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        lines = [json.dumps({"text": one.text, "tags": one.tags}) for one in examples]
        if style == "csv":
            lines = ["text,tags", *(f"{one.text},{'|'.join(one.tags)}" for one in examples)]
        Path(f"{name}.{style}").write_text("\n".join(lines), encoding="utf-8")
    records = [
        MicroRule(example_id="", inputs={"text": one.text}, label=tag, rationale="It says so.", rule=told)
        for one in TRAIN
        for tag in one.tags
        for told in [instruction(" or ".join(WORDS[tag]), tag)]
    ]
    write_jsonl(Path("rationales.jsonl"), records)
    tables = [f"--{name}={name}.{style}" for name in ("train", "val", "test")]
    tables += ["--label-separator=|"] if style == "csv" else []
    rest = ["--rationales=rationales.jsonl", "--screen-calls=0", "--trials=1", "--threads=1", "--tracking=none"]
    told = CliRunner().invoke(app, ["compile", *tables, "--input=text", "--label=tags", "--out=run", *rest])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "run" / "report.html").is_file()
    again = CliRunner().invoke(app, ["evaluate", "run", "--json"])
    assert again.exit_code == 0, again.output
    found = json.loads(again.stdout)
    assert (found["macro_f1"], found["accuracy"], set(found["per_label"])) == (1.0, 1.0, set(LABELS))


def test_a_set_of_labels_has_one_fingerprint_in_every_process():
    assert digest({"tags": {"spam", "work", "home"}}) == digest({"tags": ["home", "spam", "work"]})
