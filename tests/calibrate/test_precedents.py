"""Precedents: weights of both sides, decisions that cite the nearest examples, and when they are left out."""

import asyncio
import json

import dspy
import numpy as np
import pytest
from scipy.special import log_softmax
from tasks import (
    LABELS,
    TEST,
    TRAIN,
    VAL,
    compiled,
    leaning_lm,
    letters,
    mail_evaluator,
    mail_task,
    pld,
    student,
    student_lm,
)

from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.calibrate.precedents import PRIOR, Precedents, Weights, fit_weights
from pld_dspy.calibrate.students import weigh
from pld_dspy.errors import DataError
from pld_dspy.ledger.answer import Answer
from pld_dspy.ledger.jsonl import read_jsonl
from pld_dspy.local.classifier import UNSEEN, Note, TextClassifier
from pld_dspy.local.embedding import tfidf_svd
from pld_dspy.rules import MicroRule
from pld_dspy.run.folder import RunFolder
from pld_dspy.scoring.baselines import NOTED
from pld_dspy.scoring.figures import macro_f1
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.student.compose import with_rules
from pld_dspy.student.evaluator import logprobs_of

EXAMPLES = [*VAL, *TRAIN]
EQUAL = Weights(student=1, classifier=1, nearest=1)
AROUND = np.stack([np.cos([0.0, 0.2, 0.25, 0.6]), np.sin([0.0, 0.2, 0.25, 0.6])], axis=1)
"""Four unit vectors."""
TEXTS, GOLDS = [one.text for one in EXAMPLES], [one.label for one in EXAMPLES]


def said(gold: np.ndarray, skill: float, rng: np.random.Generator) -> np.ndarray:
    """Log-probabilities of three labels that know the gold one by ``skill``."""
    return log_softmax(rng.normal(size=(len(gold), 3)) + skill * np.eye(3)[gold], axis=1)


def sides(
    gold: np.ndarray, skills: tuple[float, float, float], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What student, classifier and neighbours say: n x C log-probabilities of the one, n x C x 2 of the others."""
    student, *others = (said(gold, skill, rng) for skill in skills)
    return student, np.stack(others, axis=-1)


def precedents(count: int = 3, embedder=tfidf_svd, notes=()) -> Precedents:
    return Precedents.of(TEXTS, GOLDS, [one.id for one in EXAMPLES], LABELS, embedder, count=count, notes=notes)


@pytest.mark.parametrize("skills", [(0.0, 2.0, 1.0), (2.0, 0.0, 1.0), (0.0, 1.0, 2.0), (1.5, 1.5, 1.5)])
def test_the_side_that_knows_more_weighs_more_and_all_are_best_together(skills):
    rng = np.random.default_rng(0)
    gold = rng.integers(3, size=300)
    found = fit_weights(*sides(gold, skills, rng), gold)
    weights = np.array([found.student, found.classifier, found.nearest])
    assert min(weights) >= 0
    if len(set(skills)) == 3:
        assert np.argsort(weights).tolist() == np.argsort(skills).tolist()
    unseen = rng.integers(3, size=3000)
    student, others = sides(unseen, skills, rng)
    made = precedents().with_weights(found).combined(student, others)
    tables = (made, student, others[..., 0], others[..., 1])
    right = [(table.argmax(axis=1) == unseen).mean() for table in tables]
    assert right[0] >= max(right[1:]) - 0.01
    if len(set(skills)) == 1:
        assert right[0] > max(right[1:]) + 0.1


def test_few_answers_move_the_weights_little_and_many_decide_them():
    rng = np.random.default_rng(3)
    off = []
    for n in (12, 1200):
        gold = np.arange(n) % 3
        found = fit_weights(*sides(gold, (0.0, 0.0, 3.0), rng), gold)
        off.append(np.abs(np.subtract([found.student, found.classifier, found.nearest], PRIOR)).max())
    assert off[0] < off[1] / 2


def test_a_side_that_speaks_against_the_labels_weighs_nothing():
    rng = np.random.default_rng(1)
    gold = rng.integers(3, size=300)
    assert fit_weights(*sides(gold, (-2.0, 1.0, 1.0), rng), gold).student == 0


def test_answers_without_log_probabilities_are_left_out_of_the_fit_and_stay():
    rng = np.random.default_rng(2)
    gold = rng.integers(3, size=100)
    one, others = sides(gold, (1.0, 1.0, 1.0), rng)
    gaps = np.vstack([one, np.full((20, 3), np.nan)])
    assert fit_weights(gaps, np.vstack([others, others[:20]]), np.append(gold, gold[:20])) == fit_weights(
        one, others, gold
    )
    silent = Answer(outputs={"label": "spam"}, error=None)
    kept = weigh(precedents().with_weights(EQUAL), [silent], np.zeros((1, 3, 2)), mail_evaluator(student_lm()))
    assert kept == [silent]


def test_a_decision_is_that_of_the_larger_sum():
    answer = Answer(outputs={"label": "spam", "label_logprobs": {"spam": -0.1, "work": -3.0, "home": -5.0}}, error=None)
    evidence = np.zeros((1, 3, 2))
    evidence[0, :, 1] = -9.0, -0.2, -9.0
    evaluator = mail_evaluator(student_lm())
    for nearest, label in ((0.0, "spam"), (1.0, "work"), (0.2, "spam")):
        [found] = weigh(precedents().with_weights(Weights(student=1, nearest=nearest)), [answer], evidence, evaluator)
        assert found.outputs["label"] == label
        assert np.exp(logprobs_of([found], evaluator.task)).sum() == pytest.approx(1)
    assert answer.outputs["label"] == "spam"


def test_no_example_is_judged_by_a_copy_of_its_text():
    """Each text is a word of its own, twice: only the copy can tell its label."""
    rng = np.random.default_rng(0)
    words = [f"word{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(40)]
    golds = [("spam", "home")[number] for number in rng.integers(2, size=40)]
    found = TextClassifier.of([*words, *words], [*golds, *golds], ("spam", "home"), tfidf_svd)
    right = [
        np.mean([found.labels[place] == gold for place, gold in zip(table.argmax(axis=1), found.golds, strict=True)])
        for table in (found.out_of_fold([*words, *words]), found.out_of_fold(range(80)))
    ]
    assert right[0] < 0.65 < 0.85 < right[1]
    alone = TextClassifier.of(["one text", "one text"], ["spam", "home"], ("spam", "home"), tfidf_svd)
    np.testing.assert_allclose(np.exp(alone.out_of_fold(["same", "same"])), 0.5)


def test_the_nearest_vote_by_cosine_and_no_copy_of_a_text_votes():
    found = TextClassifier(("spam", "home"), ("spam", "home", "home", "spam"), AROUND, tfidf_svd)
    votes = np.exp(found.votes(AROUND[:1], 2))[0]
    cosine = AROUND[0] @ AROUND[1]
    second = np.exp((cosine - 1) / found._reach(2))
    np.testing.assert_allclose(votes, np.array([1 + UNSEEN, second + UNSEEN]) / (1 + second + 2 * UNSEEN))
    assert np.exp(found.votes(AROUND[:1], 1))[0, 0] > 0.99
    own = np.exp(found.votes_out_of_group([0, 1, 1, 2], 1))
    assert own[0, 1] > 0.99, "the nearest other text is of home"
    assert own[1, 0] > 0.99, "its copy is nearer and has no vote"
    np.testing.assert_allclose(np.exp(found.votes_out_of_group([0, 0, 0, 0], 3)), 0.5)


def test_precedents_are_the_nearest_by_cosine_and_survive_a_file():
    made = precedents(count=3).with_weights(Weights(student=0.7, classifier=0.4, nearest=0.2))
    vectors = made.classifier.embed([TEXTS[5]])
    near = made.cite(vectors)
    assert near[0] == {"id": EXAMPLES[5].id, "label": GOLDS[5], "similarity": 1.0}
    cosines = (made.classifier.vectors @ vectors[0]).round(4)
    assert [one["similarity"] for one in near] == sorted(cosines, reverse=True)[:3]
    loaded = Precedents.model_validate_json(made.model_dump_json())
    assert loaded.model_dump() == made.model_dump()
    np.testing.assert_allclose(loaded.evidence(["Mail 7 about the dinner"]), made.evidence(["Mail 7 about the dinner"]))


def test_notes_are_cited_with_their_example_survive_a_file_and_change_no_decision():
    row = GOLDS.index("home")
    made, plain = precedents(notes=[Note(row, "A parade is for home."), Note(row, "It is one.")]), precedents()
    np.testing.assert_array_equal(made.evidence(["the parade"]), plain.evidence(["the parade"]))
    loaded = Precedents.model_validate_json(made.model_dump_json())
    assert loaded.model_dump() == made.model_dump()
    for found in (made, loaded):
        cited = {one["id"]: one.get("notes") for one in found.cite(found.classifier.embed([TEXTS[row]]))}
        assert cited.pop(EXAMPLES[row].id) == ["A parade is for home.", "It is one."]
        assert set(cited.values()) == {None}
    old = {name: value for name, value in plain.model_dump(mode="json").items() if name != "notes"}
    assert Precedents.model_validate(old).model_dump() == plain.model_dump()


def test_an_embedder_of_ones_own_is_asked_for_after_loading():
    made = precedents(embedder=letters)
    loaded = Precedents.model_validate_json(made.model_dump_json())
    with pytest.raises(DataError, match="with_embedder"):
        loaded.evidence(["x"])
    np.testing.assert_array_equal(loaded.with_embedder(letters).evidence(TEXTS[:4]), made.evidence(TEXTS[:4]))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory):
    folder, lm = tmp_path_factory.mktemp("precedents"), leaning_lm()
    optimizer = pld(folder, calibrate=True, precedents=2)
    return lm, optimizer, compiled(optimizer, student(lm)), RunFolder(folder)


def test_precedents_that_do_no_harm_decide_and_are_cited(done):
    lm, optimizer, program, _ = done
    found = optimizer.result.calibration
    assert found.weighs
    assert found.used == found.compiled_weighed.student
    assert found.compiled_weighed.difference.macro_f1 > 0
    unchanged, ruled = (
        one.student.calibrated.score.macro_f1 for one in (found.baseline_weighed, found.compiled_weighed)
    )
    assert unchanged > found.baseline.calibrated.score.macro_f1
    assert found.compiled_weighed.by_rules.macro_f1 == pytest.approx(ruled - unchanged)
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        answers = [program(text=example.text) for example in TEST]
    labels = [answer.label for answer in answers]
    assert macro_f1([one.label for one in TEST], labels, LABELS) == found.used.calibrated.score.macro_f1
    assert all(len(answer.precedents) == 2 for answer in answers)
    by_id = {one.id: one.label for one in EXAMPLES}
    assert all(by_id[near["id"]] == near["label"] for answer in answers for near in answer.precedents)
    assert answers[0].weights == found.compiled_weighed.weights.model_dump()
    for answer in answers:
        classifier, nearest = answer.evidence["classifier"], answer.evidence["nearest"]
        assert set(classifier) == set(nearest) == set(LABELS)
        assert max(nearest, key=nearest.get) in {near["label"] for near in answer.precedents}


def test_each_note_is_about_the_example_that_was_explained(done):
    _, optimizer, program, folder = done
    found, said = program.precedents, {one.example_id: one for one in read_jsonl(folder.micro_rules, MicroRule)}
    assert len(found.notes) == 2 * len(said) == 2 * len(TRAIN)
    for note in found.notes:
        assert note.text in {said[found.ids[note.row]].rule, said[found.ids[note.row]].rationale}
    assert optimizer.result.baselines[NOTED].score.n == len(TEST)


def test_saved_and_loaded_asynchronously_and_copied_it_decides_the_same(done, tmp_path):
    lm, _, program, folder = done
    program.save(tmp_path / "program.json")
    loaded = Calibrated(student())
    loaded.load(tmp_path / "program.json", allow_unsafe_lm_state=True)
    stored = Precedents.model_validate_json(folder.precedents.read_text())
    for found in (loaded.precedents, stored):
        assert found.model_dump() == program.precedents.model_dump()
    text = TEST[1].text
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        told = program(text=text).toDict()
        assert loaded(text=text).toDict() == told
        assert program.deepcopy()(text=text).toDict() == told
        assert asyncio.run(program.acall(text=text)).toDict() == told


def test_precedents_that_do_harm_are_left_out(tmp_path):
    lm = leaning_lm(skill=9.0, liking=dict.fromkeys(LABELS, 0.0))  # right everywhere by itself
    optimizer = pld(tmp_path, calibrate=True, precedents=2)
    program = compiled(optimizer, student(lm))
    assert not optimizer.result.calibration.weighs
    assert program.precedents is None
    assert not RunFolder(tmp_path).precedents.exists()
    assert json.loads(RunFolder(tmp_path).result.read_text())["calibration"]["compiled_weighed"] is not None


@pytest.mark.parametrize(("gain", "used"), [(0.01, True), (-0.04, True), (-0.06, False)])
def test_precedents_are_left_out_only_if_they_lose_more_than_the_standard_error(done, gain, used):
    found = done[1].result.calibration
    unsure = found.compiled_weighed.gain.model_copy(update={"macro_f1": gain, "interval": (gain - 0.1, gain + 0.1)})
    weighed = found.compiled_weighed.model_copy(update={"gain": unsure})
    assert found.model_copy(update={"compiled_weighed": weighed}).weighs is used


@pytest.mark.parametrize("settings", [{"precedents": 2}, {"precedents": -1, "calibrate": True}])
def test_precedents_need_a_calibrated_decision(settings):
    with pytest.raises(DataError, match="precedents"):
        pld(**settings)


def test_without_a_test_set_the_baselines_meet_the_student_without_its_precedents(tmp_path):
    lm = leaning_lm()
    optimizer = pld(tmp_path, calibrate=True, precedents=2)
    compiled(optimizer, student(lm), testset=None)
    result = optimizer.result
    assert result.calibration.weighs
    offsets = result.calibration.compiled.offsets
    with dspy.context(lm=lm, adapter=LabelAdapter()):
        program = Calibrated(with_rules(student(lm), mail_task(), result.rules), offsets)
        labels = [program(text=one.text).label for one in VAL]
    assert result.baselines.student.macro_f1 == macro_f1([one.label for one in VAL], labels, LABELS)
