"""Offsets that pay and offsets that do not; confidences, what they promise, and programs that carry both."""

import asyncio
import json
import math
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import dspy
import numpy as np
import pytest
from dspy import lm15
from engine import calls, fn_lm
from tasks import Route, Team

from pld_dspy.calibrate.ascent import _step, ascend
from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.calibrate.calibration import Bin, Grade
from pld_dspy.calibrate.confidence import (
    choose_threshold,
    count_answered,
    expected_calibration_error,
    fewest_answers,
    reliability,
    risk_coverage,
    threshold_for,
)
from pld_dspy.calibrate.fit_offsets import fit_offsets, fit_out_of_fold, fit_temperature
from pld_dspy.errors import DataError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.keys import program_state
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.release.plots import plot_reliability, plot_risk_coverage
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.scoring.offsets import Offsets
from pld_dspy.scoring.score import score
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.evaluator import logprobs_of
from pld_dspy.task.task import Task

LABELS = ("spam", "ham", "eggs")
SORTING = Task(predictor="self", label_field="label", labels=LABELS, inputs=())


def draw(n: int, *, bias: tuple[float, ...] = (0, 0, 0), skill: float = 2.0, seed: int = 0) -> tuple[Any, list[str]]:
    """Log-probabilities of a student that likes some labels by ``bias``, and the gold labels."""
    rng = np.random.default_rng(seed)
    gold = rng.integers(len(bias), size=n)
    scores = rng.normal(size=(n, len(bias))) + np.array(bias)
    scores[np.arange(n), gold] += skill
    return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True), [LABELS[number] for number in gold]


class TestOffsets:
    def test_a_liking_for_a_label_is_undone_on_examples_never_seen(self):
        offsets = fit_offsets(*draw(120, bias=(2.5, 0, -1)), LABELS)
        assert offsets is not None
        assert offsets.values[0] < offsets.values[2] - 2
        assert 0.0 in offsets.values
        scores, golds = draw(2000, bias=(2.5, 0, -1), seed=1)
        before = macro_f1(golds, Offsets.none(LABELS).decide(scores), LABELS)
        after = macro_f1(golds, offsets.decide(scores), LABELS)
        assert after > before + 0.2
        assert offsets.gain.macro_f1 == pytest.approx(after - before, abs=0.1), "what the check says holds"

    def test_nothing_is_kept_where_nothing_is_to_be_won(self):
        kept = [fit_offsets(*draw(120, seed=seed), LABELS) is not None for seed in range(10)]
        assert sum(kept) <= 2
        noise = [fit_offsets(*draw(60, skill=0.0, seed=seed), LABELS) is not None for seed in range(10)]
        assert sum(noise) <= 2

    def test_an_example_has_no_part_in_the_offsets_that_decide_it_out_of_fold(self):
        scores, golds = draw(60, bias=(2.5, 0, -1))
        offsets, sums = fit_out_of_fold(scores, golds, LABELS)
        other = scores.copy()
        other[7] += (0.0, 1.0, 0.0)
        moved, others = fit_out_of_fold(other, golds, LABELS)
        assert offsets == fit_offsets(scores, golds, LABELS)
        assert moved.values != offsets.values, "it has a part in what is applied to others"
        assert others[7] - other[7] == pytest.approx(sums[7] - scores[7])
        assert not np.allclose(others - other, sums - scores)

    def test_they_must_beat_what_the_student_answers(self):
        scores, golds = draw(120, bias=(2.5, 0, -1))
        assert fit_offsets(scores, golds, LABELS, answers=golds) is None
        assert fit_offsets(scores, golds, LABELS, answers=[None] * 120) is not None

    def test_a_seed_fixes_them(self):
        data = draw(120, bias=(1, 0, 0))
        assert fit_offsets(*data, LABELS, seed=3) == fit_offsets(*data, LABELS, seed=3)

    def test_missing_answers_are_wrong_and_move_nothing(self):
        scores, golds = draw(120, bias=(2.5, 0, -1))
        gaps = np.concatenate([scores, np.full((30, 3), np.nan)])
        offsets = fit_offsets(gaps, [*golds, *LABELS * 10], LABELS)
        assert offsets is not None
        assert offsets.decide(gaps)[-1] is None
        found = ascend(gaps, np.array([LABELS.index(gold) for gold in [*golds, *LABELS * 10]]), tolerance=0, seed=0)
        assert np.isfinite(found).all()
        assert not ascend(gaps[-30:], np.zeros(30, dtype=np.int64), tolerance=0, seed=0).any()

    @pytest.mark.parametrize("golds", [["spam", "ham"] * 4, ["spam"] * 30])
    def test_too_few_examples_or_labels_give_none(self, golds):
        scores, _ = draw(len(golds))
        assert fit_offsets(scores, golds, LABELS) is None

    def test_sizes_and_labels_are_checked(self):
        scores, golds = draw(30)
        with pytest.raises(DataError, match=r"shape \(30, 3\) do not go with 29 gold labels and 3 labels"):
            fit_offsets(scores, golds[:-1], LABELS)
        with pytest.raises(DataError, match="'bacon' is not one of spam, ham, eggs"):
            fit_offsets(scores, [*golds[:-1], "bacon"], LABELS)
        with pytest.raises(ValueError, match="2 offsets do not go with the labels spam, ham, eggs"):
            Offsets(labels=LABELS, values=(0.0, 1.0))

    def test_answers_are_moved_only_where_there_are_offsets_and_a_row(self):
        rows = np.log([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [np.nan] * 3, [np.nan] * 3])
        own = ["spam", "eggs", "eggs", None]
        labels, confidence = Offsets.none(LABELS).answer(rows, own)
        assert labels == own
        assert confidence == pytest.approx([0.6, 0.1, math.nan, math.nan], nan_ok=True)
        labels, confidence = TO_HAM.answer(rows, own)
        assert labels == ["ham", "ham", "eggs", None]
        assert confidence == pytest.approx([P_HAM, P_HAM, math.nan, math.nan], nan_ok=True)

    def test_of_two_labels_the_best_offset_of_all_is_found(self):
        for seed in range(10):
            scores, golds = draw(40, bias=(1.0, 0), skill=1.0, seed=seed)
            gold = np.array([LABELS.index(label) for label in golds])
            found = Offsets(labels=LABELS[:2], values=ascend(scores, gold, tolerance=0, seed=0))
            steps = np.sort(scores[:, 0] - scores[:, 1])  # a decision changes there and nowhere else
            between = [-9.0, *(steps[:-1] + steps[1:]) / 2, 9.0]
            tried = [Offsets(labels=LABELS[:2], values=(0, offset)) for offset in between]
            best = max(macro_f1(golds, offsets.decide(scores), LABELS[:2]) for offsets in tried)
            assert macro_f1(golds, found.decide(scores), LABELS[:2]) >= best - 1e-12

    def test_the_height_of_a_step_is_the_macro_f1_of_its_decisions_ties_included(self):
        rng = np.random.default_rng(0)
        for _ in range(200):
            scores = rng.integers(-2, 1, size=(12, 3)).astype(float)
            gold, offsets = rng.integers(3, size=12), rng.integers(-1, 2, size=3).astype(float)
            label = int(rng.integers(3))
            offset, value = _step(scores, gold, np.bincount(gold, minlength=3), offsets, label, 0.0)
            offsets[label] = offset
            decided = Offsets(labels=LABELS, values=tuple(offsets)).decide(scores)
            assert value == pytest.approx(macro_f1([LABELS[number] for number in gold], decided, LABELS))

    def test_an_offset_that_wins_less_than_the_tolerance_stays_0(self):
        scores, golds = draw(100, bias=(0.3, 0, 0))
        gold = np.array([LABELS.index(label) for label in golds])
        assert ascend(scores, gold, tolerance=0.0, seed=0).any()
        assert not ascend(scores, gold, tolerance=0.2, seed=0).any()

    def test_a_temperature_undoes_overconfidence(self):
        rng = np.random.default_rng(0)
        true = rng.dirichlet(np.ones(3), size=4000)
        golds = [LABELS[rng.choice(3, p=row)] for row in true]
        assert fit_temperature(3 * np.log(true), golds, LABELS) == pytest.approx(3, rel=0.1)

    def test_probabilities_are_a_softmax_with_offsets_and_temperature(self):
        offsets = Offsets(labels=LABELS, values=(0, 1, 0), temperature=2)
        [row] = offsets.probabilities(np.zeros((1, 3)))
        assert row == pytest.approx(np.array([1, math.exp(0.5), 1]) / (2 + math.exp(0.5)))

    def test_the_matrix_has_a_row_of_nan_where_a_prediction_has_none(self):
        given = {"label_logprobs": {"ham": -2.0, "spam": -1.0, "eggs": -3.0}}
        matrix = logprobs_of([Answer(outputs=given), Answer(outputs={}), Answer(outputs=None)], SORTING)
        assert matrix[0].tolist() == [-1, -2, -3]
        assert np.isnan(matrix[1:]).all()
        assert logprobs_of([], SORTING).shape == (0, 3)


class TestRisk:
    SURE = (0.9, 0.5, 0.7, 0.7, 0.6)
    RIGHT = (True, False, True, False, True)

    def test_the_most_confident_answers_come_first_and_equal_ones_together(self):
        coverage, risk = risk_coverage(self.SURE, self.RIGHT)
        assert coverage == pytest.approx([0.2, 0.6, 0.8, 1.0])
        assert risk == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])

    @pytest.mark.parametrize(("error_rate", "needed"), [(0.05, 104), (0.1, 51), (0.2, 24)])
    def test_answers_without_an_error_promise_what_the_docstring_says(self, error_rate, needed):
        assert fewest_answers(error_rate) == needed
        for n, kept in ((needed, True), (needed - 1, False)):
            threshold = threshold_for(np.linspace(0.2, 0.9, n), [True] * n, error_rate=error_rate)
            assert (threshold == pytest.approx(0.2)) if kept else (threshold is None)

    def test_what_has_no_confidence_is_left_out_of_the_choice_and_not_answered(self):
        sure, right = np.array([0.9] * 30 + [math.nan] * 10), np.array([True] * 30 + [False] * 10)
        found = choose_threshold(sure, right, n_val=35, error_rate=0.2)
        assert (found.n, found.threshold) == (30, 0.9)
        assert (found.validation.n, found.validation.answered, found.validation.wrong) == (35, 30, 0)
        test = count_answered(sure, right, found.threshold)
        assert (test.n, test.n_wrong, test.coverage, test.error_rate) == (40, 10, 0.75, 0.0)
        every = count_answered(sure, right, None)
        assert (every.answered, every.wrong, every.error_rate) == (40, 10, 0.25)
        assert count_answered(sure, right, 1.0).error_rate is None

    def test_where_nothing_has_a_confidence_there_is_nothing_to_promise(self):
        unseen = np.array([math.nan] * 2), np.array([False, True])
        found = choose_threshold(*unseen, n_val=1, error_rate=0.2)
        assert (found.n, found.threshold, found.validation.error_rate) == (0, None, 1.0)

    def test_the_threshold_takes_in_as_many_as_the_bound_allows(self):
        sure = np.linspace(0, 1, 401)
        threshold = threshold_for(sure, sure >= 0.5, error_rate=0.1)
        assert 0.45 < threshold <= 0.51
        assert threshold_for(sure, sure < 0, error_rate=0.1) is None

    def test_the_promise_holds_as_often_as_it_says(self):
        """Confidences that say nothing of the error rate, which is just over what is asked for."""
        rng = np.random.default_rng(0)
        broken = [
            threshold_for(rng.random(150), rng.random(150) > 0.21, error_rate=0.2, delta=0.1) is not None
            for _ in range(300)
        ]
        assert np.mean(broken) <= 0.1

    def test_calibration_error_is_the_gap_weighed_by_answers(self):
        assert expected_calibration_error([0.95, 0.95, 0.55, 0.55], [True, True, True, False]) == pytest.approx(0.05)
        assert expected_calibration_error([1.0] * 4, [True, False] * 2) == pytest.approx(0.5)
        assert expected_calibration_error([0.25, 0.75], [False, True], bins=1) == pytest.approx(0)

    def test_reliability_has_an_entry_a_range_that_holds_answers(self):
        sure, right, n = reliability([0.55, 0.05, 1.0, 0.52, 0.95], [True, False, True, False, True])
        assert sure == pytest.approx([0.05, 0.535, 0.975])
        assert right.tolist() == [0, 0.5, 1]
        assert n.tolist() == [1, 2, 2]
        [[mean], [share], [count]] = reliability([0.2, 0.6], [True, False], bins=1)
        assert (mean, share, count) == (pytest.approx(0.4), 0.5, 2)

    def test_unusable_input_is_refused(self):
        with pytest.raises(DataError, match="2 confidences do not go with 1 answers"):
            risk_coverage([0.1, 0.2], [True])
        with pytest.raises(DataError, match="0 confidences"):
            risk_coverage([], [])
        with pytest.raises(DataError, match="Answer 0 has no confidence"):
            reliability([float("nan")], [True])
        with pytest.raises(DataError, match="Answer 1 has no confidence"):
            risk_coverage([0.1, float("nan")], [True, True])

    def test_the_plot_is_svg_with_names_escaped(self):
        svg = plot_risk_coverage({"a <b>": risk_coverage(self.SURE, self.RIGHT)})
        assert "a <b>: 0.400 of all answers" in ElementTree.fromstring(str(svg)).attrib["aria-label"]
        assert "wanted" not in svg
        assert "wanted error rate 0.05" in plot_risk_coverage({"a": ((0.5, 1.0), (0.0, 0.25))}, wanted=0.05)

    def test_the_plot_of_reliability_names_the_calibration_errors(self):
        bins = (Bin(confidence=0.4, accuracy=0.5, n=1), Bin(confidence=0.9, accuracy=1.0, n=2))
        scored = score(["spam", "ham", "ham"], ["spam", "ham", "ham"], LABELS)
        grade = Grade(score=scored, calibration_error=0.1234, error_at_80=0, coverage=(1,), risk=(0,), reliability=bins)
        svg = ElementTree.fromstring(str(plot_reliability({"a <b>": grade})))
        assert "a <b>: calibration error 0.123" in svg.attrib["aria-label"]
        assert "a <b>" in "".join(svg.itertext())


class Sort(dspy.Signature):
    """Sort the mail."""

    text: str = dspy.InputField()
    label: Literal["spam", "ham", "eggs"] = dspy.OutputField()


class Summarized(dspy.Module):
    """Two predictors, and a prediction made by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.summarize = dspy.Predict("text -> summary")
        self.decide = dspy.Predict(Sort)

    def forward(self, text: str) -> dspy.Prediction:
        summary = self.summarize(text=text).summary
        return dspy.Prediction(summary=summary, label=self.decide(text=summary).label)

    async def aforward(self, text: str) -> dspy.Prediction:
        summary = (await self.summarize.acall(text=text)).summary
        return dspy.Prediction(summary=summary, label=(await self.decide.acall(text=summary)).label)


def student_lm(*, model: str = "custom/calibrated", listing: bool = True) -> dspy.LM:
    """A student whose probabilities are its text, as ``spam=6 ham=3 not_sure=1``; it repeats a text to summarize."""

    def weights(user: str) -> dict[str, float]:
        pairs = [word.split("=") for word in user.split() if "=" in word]
        total = sum(float(weight) for _, weight in pairs)
        return {label.replace("_", " "): float(weight) / total for label, weight in pairs}

    def answer(system: str, user: str) -> str:
        if "summary" in system:
            return f"[[ ## summary ## ]]\n{' '.join(word for word in user.split() if '=' in word)}"
        given = weights(user)
        return max(given, key=given.get)

    def tokens(system: str, user: str) -> list[lm15.TokenLogprob]:
        if "summary" in system:
            return []
        top = tuple(lm15.TopLogprob(label, math.log(p)) for label, p in weights(user).items())
        own = answer(system, user)
        return [lm15.TokenLogprob(own, math.log(weights(user)[own]), top=top)]

    return fn_lm(answer, model=model, logprobs=tokens if listing else None)


TEXT = "spam=6 ham=3 eggs=1"
TO_HAM = Offsets(labels=LABELS, values=(0.0, 1.0, 0.0))
P_HAM = 3 * math.e / (6 + 3 * math.e + 1)


def ask(program: dspy.Module, text: str = TEXT, **settings: Any) -> dspy.Prediction:
    with dspy.context(**{"lm": student_lm(), "adapter": LabelAdapter(), **settings}):
        return program(text=text)


class TestCalibrated:
    def test_the_offsets_decide_and_the_confidence_is_theirs(self):
        prediction = ask(Calibrated(dspy.Predict(Sort), TO_HAM))
        assert prediction.label == "ham"
        assert prediction.confidence == pytest.approx(P_HAM)
        assert prediction.abstained is False
        assert np.exp(prediction.label_logprobs["spam"]) == pytest.approx(0.6), "as the student gave them"
        assert ask(Calibrated(dspy.Predict(Sort), TO_HAM), "spam=9 ham=1 eggs=1").label == "spam"

    def test_without_offsets_the_label_is_the_programs_own(self):
        prediction = ask(Calibrated(dspy.Predict(Sort)))
        assert (prediction.label, prediction.confidence) == ("spam", pytest.approx(0.6))

    def test_the_temperature_softens_the_confidence(self):
        offsets = Offsets.none(LABELS, temperature=100.0)
        assert ask(Calibrated(dspy.Predict(Sort), offsets)).confidence == pytest.approx(1 / 3, abs=0.01)

    @pytest.mark.parametrize(("threshold", "abstained"), [(0.61, True), (0.59, False)])
    def test_below_the_threshold_it_abstains_and_still_says_the_label(self, threshold, abstained):
        prediction = ask(Calibrated(dspy.Predict(Sort), threshold=threshold))
        assert (prediction.label, prediction.abstained) == ("spam", abstained)

    @pytest.mark.parametrize(("threshold", "abstained"), [(None, False), (0.1, True)])
    def test_an_answer_without_log_probabilities_keeps_its_label_and_has_no_confidence(self, threshold, abstained):
        program = Calibrated(dspy.Predict(Sort), TO_HAM, threshold=threshold)
        prediction = ask(program, lm=student_lm(model="custom/silent", listing=False))
        assert prediction.toDict() == {"label": "spam", "confidence": None, "abstained": abstained}

    def test_the_label_is_of_the_fields_type(self):
        offsets = Offsets(labels=("technical support", "billing"), values=(5.0, 0.0))
        with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
            prediction = Calibrated(dspy.Predict(Route), offsets)(ticket="billing=6 technical_support=4")
        assert prediction.team is Team.TECH

    def test_of_several_predictors_the_deciding_one_is_calibrated_and_the_others_keep_their_adapter(self):
        lm = student_lm()
        prediction = ask(Calibrated(Summarized(), TO_HAM), lm=lm, adapter=dspy.ChatAdapter())
        assert (prediction.summary, prediction.label) == (TEXT, "ham")
        assert prediction.confidence == pytest.approx(P_HAM)
        summarized, decided = calls(lm)
        assert "[[ ## summary ## ]]" in summarized.system
        assert decided.system == "Sort the mail.\n\nAnswer with exactly one label: spam | ham | eggs"

    def test_async_gives_the_same(self):
        async def main() -> dspy.Prediction:
            with dspy.context(lm=student_lm(), adapter=LabelAdapter()):
                return await Calibrated(Summarized(), TO_HAM).acall(text=TEXT)

        assert asyncio.run(main()).toDict() == ask(Calibrated(Summarized(), TO_HAM)).toDict()

    def test_the_program_that_is_wrapped_stays_as_it_was(self, tmp_path):
        lm, program = student_lm(), Summarized()
        program.decide.lm = lm
        before = (program_state(program, lm=None), program.dump_state())
        calibrated = Calibrated(program, TO_HAM)
        calibrated.program.decide.demos = [dspy.Example(text="t", label="ham")]
        calibrated.save(tmp_path / "x.json")
        ask(calibrated)
        assert (program_state(program, lm=None), program.dump_state()) == before
        assert calibrated.program.decide.lm is lm, "its calls are seen where the user looks for them"
        assert not LabelAdapter().logprobs

    def test_the_callers_trace_sees_the_calls(self):
        with dspy.context(lm=student_lm(), adapter=LabelAdapter(), trace=[]):
            program = Calibrated(Summarized(), TO_HAM)
            program(text=TEXT)
            names = {id(predictor): name for name, predictor in program.named_predictors()}
            assert [names[id(entry[0])] for entry in dspy.settings.trace] == ["program.summarize", "program.decide"]
            assert dspy.settings.trace[1][2].label == "spam", "what the predictor said, not what was made of it"

    @pytest.mark.parametrize("frozen", [False, True])
    def test_saved_as_plain_json_and_loaded_it_decides_the_same(self, tmp_path: Path, frozen: bool):
        program = Summarized()
        program.decide.signature = program.decide.signature.with_instructions("Sort it by these rules.")
        program._compiled = frozen
        offsets = Offsets(labels=LABELS, values=(0.0, 1.0, -0.5), temperature=1.5)
        Calibrated(program, offsets, threshold=0.5, target="decide").save(tmp_path / "x.json")
        saved = json.loads((tmp_path / "x.json").read_text())
        assert saved["calibration"] == {
            "labels": list(LABELS),
            "values": [0.0, 1.0, -0.5],
            "temperature": 1.5,
            "threshold": 0.5,
        }
        loaded = Calibrated(Summarized())
        loaded.load(tmp_path / "x.json")
        assert loaded.calibration == offsets
        assert loaded.threshold == 0.5
        assert loaded.program.decide.signature.instructions == "Sort it by these rules."

    @pytest.mark.parametrize(
        ("calibration", "message"),
        [
            (None, "saved calibration is damaged"),
            ({"labels": ["a", "b"], "values": [0, 0], "temperature": 1, "threshold": None}, "labels a, b, and the"),
            ({"labels": list(LABELS), "values": [0], "temperature": 1, "threshold": None}, "is damaged"),
            ({"labels": list(LABELS), "values": [0, 0, 0], "temperature": 0, "threshold": None}, "is damaged"),
        ],
    )
    def test_a_damaged_or_foreign_state_is_refused_and_changes_nothing(self, calibration, message):
        program = Calibrated(dspy.Predict(Sort), TO_HAM)
        state = {"program": program.program.dump_state(), "calibration": calibration}
        with pytest.raises(DataError, match=message):
            program.load_state(state)
        assert program.calibration == TO_HAM

    def test_content_keys_know_the_calibration(self):
        programs = [
            Calibrated(dspy.Predict(Sort)),
            Calibrated(dspy.Predict(Sort), TO_HAM),
            Calibrated(dspy.Predict(Sort), threshold=0.5),
        ]
        states = [json.dumps(program_state(program, lm=None), default=str) for program in programs]
        assert len(set(states)) == 3

    def test_programs_without_one_decision_and_foreign_offsets_are_refused(self):
        with pytest.raises(DataError, match="and found none"):
            Calibrated(dspy.ChainOfThought(Sort))
        two = Summarized()
        two.summarize = dspy.Predict(Route)
        with pytest.raises(DataError, match=r"found summarize \(team\), decide \(label\)"):
            Calibrated(two)
        assert Calibrated(two, target="label").label_field == "label"
        with pytest.raises(DataError, match="offsets are of the labels tech, and"):
            Calibrated(dspy.Predict(Sort), Offsets.none(["tech"]))
        with pytest.raises(DataError, match=r"threshold=1\.5 is no confidence"):
            Calibrated(dspy.Predict(Sort), threshold=1.5)

    def test_from_recorded_answers_to_a_calibrated_program(self):
        """The whole way: ask the student once, fit on its recorded answers, find a threshold on others."""
        rng = np.random.default_rng(0)

        def rows(n: int) -> tuple[list[dict[str, str]], list[str]]:
            golds = [LABELS[number % 3] for number in range(n)]
            made = [dict(zip(LABELS, np.exp(rng.normal((1.8, 0, 0))), strict=True)) for _ in golds]
            for weights, gold in zip(made, golds, strict=True):
                weights[gold] *= math.exp(2)
            return [{"text": " ".join(f"{label}={w:.6f}" for label, w in row.items())} for row in made], golds

        ledger, lm, asking = Ledger(), student_lm(), LabelAdapter(logprobs=True)
        inputs, golds = rows(150)
        given = ledger.ask(dspy.Predict(Sort), inputs, role="student", stage="search", lm=lm, adapter=asking)
        offsets = fit_offsets(logprobs_of(given, SORTING), golds, LABELS)
        held_out, held_golds = rows(150)
        found = ledger.ask(Calibrated(dspy.Predict(Sort), offsets), held_out, role="student", stage="search", lm=lm)
        plain = ledger.ask(dspy.Predict(Sort), held_out, role="student", stage="search", lm=lm, adapter=LabelAdapter())
        labels = [answer.outputs["label"] for answer in found]
        assert macro_f1(held_golds, labels, LABELS) > 0.05 + macro_f1(
            held_golds, [answer.outputs["label"] for answer in plain], LABELS
        )
        right = [label == gold for label, gold in zip(labels, held_golds, strict=True)]
        threshold = threshold_for([answer.outputs["confidence"] for answer in found], right, error_rate=0.2)
        assert threshold is not None
        more, more_golds = rows(300)
        sure = Calibrated(dspy.Predict(Sort), offsets, threshold=threshold)
        answers = ledger.ask(sure, more, role="student", stage="search", lm=lm)
        kept = [(a.outputs["label"], g) for a, g in zip(answers, more_golds, strict=True) if not a.outputs["abstained"]]
        assert len(kept) > 100
        assert np.mean([label != gold for label, gold in kept]) <= 0.2
