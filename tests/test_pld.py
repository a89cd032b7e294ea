"""What PLD promises a DSPy user: one test a promise."""

from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from engine import Call, calls
from tasks import (
    INSTRUCTIONS,
    LABELS,
    TEST,
    TRAIN,
    VAL,
    Mail,
    compiled,
    good_rules,
    mail,
    mail_task,
    mail_teacher,
    mails,
    micro_rules,
    pld,
    student,
    student_lm,
)

from pld_dspy.local.lm import LocalLM
from pld_dspy.rules import RULES_OPEN, RuleSet
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter


def asked(program: dspy.Module, lm: dspy.LM, examples: list[dspy.Example] = VAL) -> tuple[list[Any], list[Call]]:
    """The program's labels for ``examples``, and the requests that it made for them."""
    before = len(calls(lm))
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        labels = [program(**example.inputs()).label for example in examples]
    return labels, calls(lm)[before:]


def test_the_student_and_its_signature_class_stay_as_they_were(tmp_path):
    program = student(student_lm())
    program.demos = [dspy.Example(text="t", label="spam")]
    before = program.dump_state()
    result = compiled(pld(tmp_path), program)
    assert program.dump_state() == before
    assert program.signature is Mail
    assert Mail.instructions == INSTRUCTIONS
    assert result is not program
    assert result.demos == program.demos
    assert result.lm is program.lm


def test_the_program_that_comes_back_has_the_reported_scores(tmp_path):
    optimizer, lm = pld(tmp_path), student_lm()
    program = compiled(optimizer, student(lm))
    for examples, reported in ((VAL, optimizer.result.validation), (TEST, optimizer.result.test)):
        golds = mail_task().golds(examples)
        for scored, score in ((program, reported.compiled), (student(lm), reported.baseline)):
            assert macro_f1(golds, asked(scored, lm, examples)[0], LABELS) == score.macro_f1
    assert optimizer.result.improved
    assert optimizer.result.test.compiled.macro_f1 == 1.0
    assert optimizer.result.test.baseline.macro_f1 == pytest.approx(1 / 6)
    assert optimizer.result.test.difference.p_value < 0.01


def test_the_users_instructions_stay_word_for_word_above_the_block(tmp_path):
    optimizer = pld(tmp_path)
    program = compiled(optimizer, student(student_lm()))
    own, block = program.signature.instructions.split(f"\n\n{RULES_OPEN}")
    assert own == INSTRUCTIONS
    assert f"{RULES_OPEN}{block}" == optimizer.result.rules.render()
    assert optimizer.result.instructions == program.signature.instructions


def test_compiling_a_compiled_program_replaces_its_rules(tmp_path):
    teacher, spam = mail_teacher(), [one for one in TRAIN if one.label == "spam"]
    first = compiled(pld(tmp_path / "1", teacher=None), student(student_lm()), rationales=micro_rules(spam))
    optimizer = pld(tmp_path / "2", teacher=teacher)
    second = compiled(optimizer, first)
    assert 1 / 6 < optimizer.result.test.baseline.macro_f1 < optimizer.result.test.compiled.macro_f1 == 1.0
    assert second.signature.instructions == optimizer.result.rules.instruct(INSTRUCTIONS)
    assert second.signature.instructions.count(RULES_OPEN) == 1
    assert not any(RULES_OPEN in call.user for call in calls(teacher))


def test_saved_rules_give_the_same_messages_in_a_fresh_program(tmp_path):
    program, lm = compiled(pld(tmp_path / "run"), student(student_lm())), student_lm()
    program.lm = None
    program.save(tmp_path / "program.json")
    for path in (tmp_path / "program.json", tmp_path / "run" / "program.json"):
        fresh = student()
        fresh.load(path)
        assert asked(fresh, lm) == asked(program, lm)


def test_nothing_that_helps_gives_the_unchanged_student_back(tmp_path):
    optimizer = pld(tmp_path, teacher=None)
    lm = student_lm(lambda text: next(one.label for one in (*TRAIN, *VAL, *TEST) if one.text == text))
    program = compiled(optimizer, student(lm), rationales=micro_rules(TRAIN))
    assert program.signature.instructions == INSTRUCTIONS
    assert not optimizer.result.improved
    assert len(optimizer.result.rules) == 0
    assert len(optimizer.result.bench) == len(good_rules())
    assert any("came back unchanged" in note for note in optimizer.result.notes)
    assert optimizer.result.test.difference.macro_f1 == 0


class Pipeline(dspy.Module):
    """Tidies a mail, sorts it, and holds a frozen sorter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.tidy = dspy.Predict("text -> clean")
        self.sort = dspy.Predict(Mail)
        self.frozen = dspy.Module()
        self.frozen.step = dspy.Predict(Mail)
        self.frozen._compiled = True

    def forward(self, text: str) -> dspy.Prediction:
        return self.sort(text=text)


def test_of_several_predictors_one_is_instructed_and_the_result_says_so(tmp_path):
    program, optimizer = Pipeline(), pld(tmp_path)
    with dspy.context(lm=student_lm()):
        result = compiled(optimizer, program)
    assert RULES_OPEN in result.sort.signature.instructions
    assert result.tidy.signature is program.tidy.signature
    assert result.frozen.step.signature is Mail
    assert result.frozen._compiled
    assert not result._compiled
    assert (optimizer.result.predictor, optimizer.result.untouched) == ("sort", ("tidy",))
    assert "Predictors left as they were: tidy." in optimizer.result.notes


def test_threads_give_the_same_result_and_use_the_models_of_the_context(tmp_path):
    configured, results = student_lm("home"), []
    dspy.configure(lm=configured)
    for num_threads in (1, 8):
        lm, optimizer = student_lm(), pld(tmp_path / str(num_threads), num_threads=num_threads, adapter=None)
        with dspy.context(lm=lm, adapter=LabelAdapter()):
            program = compiled(optimizer, student())
        results.append((program.signature.instructions, optimizer.result.validation, optimizer.result.test))
        assert calls(lm)
    assert results[0] == results[1]
    assert calls(configured) == []


def test_seeds_repeat_and_differ(tmp_path):
    search = SearchConfig(screen_calls=0, trials=4, alpha=0)
    trials = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        optimizer = pld(tmp_path / name, seed=seed, search=search)
        compiled(optimizer, student(student_lm()))
        assert optimizer.result.seed == seed
        trials.append((tmp_path / name / "trials.csv").read_text())
    assert trials[0] == trials[1] != trials[2]


def test_parameters_are_a_fresh_dict_of_plain_values(tmp_path):
    optimizer = pld(tmp_path, metric=lambda gold, pred: True, search=SearchConfig(trials=3))
    params = optimizer.get_params()
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in params.values())
    assert (params["seed"], params["search_trials"], params["induce_wordings"]) == (0, 3, 1)
    params["trainset"] = TRAIN
    assert "trainset" not in optimizer.get_params()
    assert not hasattr(optimizer, "trainset")
    assert not any(" at 0x" in str(value) for value in params.values())


def test_without_a_validation_set_part_of_the_training_set_is_put_aside(tmp_path):
    examples = [*TRAIN, mail(0, "spam", "winner").copy(id="again", text=TRAIN[0].text, label=TRAIN[0].label)]
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()), trainset=examples, valset=None)
    counts = optimizer.result.counts
    assert counts["train"] + counts["validation"] == 37
    assert counts["validation"] == optimizer.result.validation.compiled.n == pytest.approx(15, abs=2)
    assert any("No validation set was given" in note for note in optimizer.result.notes)


def test_without_a_test_set_nothing_is_reported_on_unseen_data(tmp_path):
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()), testset=None)
    assert optimizer.result.test is None
    assert "test" not in optimizer.result.costs["student"]


def test_recorded_rationales_need_no_teacher(tmp_path):
    optimizer, lm = pld(tmp_path, teacher=None), student_lm()
    program = compiled(optimizer, student(lm), rationales=micro_rules(TRAIN))
    assert set(optimizer.result.costs["teacher"]) == set()
    assert any(note.startswith("No teacher") for note in optimizer.result.notes)
    assert {one.text for one in optimizer.result.rules.rules} <= {record.rule for record in micro_rules(TRAIN)}
    assert asked(program, lm)[0] == [one.label for one in VAL]


def feedback(gold: dspy.Example, pred: dspy.Prediction, trace: Any = None) -> dspy.Prediction:
    return dspy.Prediction(score=float(gold.label == pred.label == "spam"), feedback="why")


@pytest.mark.parametrize(
    ("settings", "best"),
    [
        ({"metric": feedback}, 1 / 3),
        ({"objective": "accuracy"}, 1.0),
        ({"objective": lambda examples, predictions: sum(p.get("label") == "home" for p in predictions)}, 8.0),
    ],
    ids=["a metric with feedback", "accuracy", "a callable"],
)
def test_the_users_measure_is_what_the_search_maximizes(tmp_path, settings, best):
    optimizer = pld(tmp_path, **settings)
    compiled(optimizer, student(student_lm()))
    assert optimizer.result.validation.compiled.objective == pytest.approx(best)


class Compiles(BaseCallback):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.seen.append(f"start {len(inputs['trainset'])}")

    def on_compile_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
        self.seen.append(f"end {type(outputs).__name__}")


def test_compile_callbacks_fire_once(tmp_path):
    watcher = Compiles()
    with dspy.context(callbacks=[watcher]):
        compiled(pld(tmp_path), student(student_lm()))
    assert watcher.seen == ["start 36", "end Predict"]


def test_of_a_search_without_a_model_the_budget_gives_all_or_nothing(tmp_path):
    optimizer = pld(tmp_path)
    compiled(optimizer, student(student_lm()))
    result = optimizer.result.model_copy(update={"rule_tokens": 50.0})
    assert result.insight is None
    assert result.at_budget(tokens=50) == result.rules
    assert len(result.rules) > 0
    assert len(result.at_budget(tokens=49)) == 0


def test_shorter_sets_are_counted_in_the_students_own_tokens(tmp_path):
    class Counting(LocalLM):
        def count_tokens(self, text):
            return 1000 * text.count("\n")

    lm = Counting("custom/student", context_tokens=8192, engine=student_lm().engine, num_retries=0)
    config = SearchConfig(trials=2, screen_calls=160, block=8)
    optimizer = pld(tmp_path, search=config, adapter=LabelAdapter(constrain="none"))  # the engine takes no grammar
    compiled(optimizer, student(lm))
    ladder = optimizer.result.insight.ladder
    assert ladder
    assert [rung.tokens for rung in ladder] == [1000 * rung.rules.render().count("\n") for rung in ladder]
    assert optimizer.result.at_budget(tokens=999) == RuleSet()


def test_few_validation_examples_come_with_a_warning_and_many_do_not(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, size, warned in ((few, 24, True), (many, 120, False)):
        optimizer = pld(folder)
        compiled(optimizer, student(student_lm()), valset=mails(size, start=1000))
        assert (
            any(note.startswith(f"Only {size} examples chose the rules") for note in optimizer.result.notes) == warned
        )
