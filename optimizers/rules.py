"""Rules in the prompt: PLD without and with its search, calibrated, with precedents or demonstrations; no rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dspy
import numpy as np

from pld_dspy.calibrate.calibrated import Calibrated
from pld_dspy.calibrate.precedents import Precedents
from pld_dspy.calibrate.students import NO_LOGPROBS, fit_students
from pld_dspy.errors import DataError
from pld_dspy.induce.cluster import Floats, Ints
from pld_dspy.induce.induce_config import InduceConfig
from pld_dspy.ledger.budget import Budget
from pld_dspy.ledger.ledger import Ledger
from pld_dspy.local.embedding import sentence_encoder
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import WHOLE_LISTS, WITH_TEACHER, SearchConfig
from pld_dspy.student.adapter import asking_for_logprobs
from pld_dspy.student.evaluator import Evaluator
from pld_dspy.task.task import Task

from .demonstrations import bootstrap_random_search

if TYPE_CHECKING:
    from . import Setting

ONE_WORDING = InduceConfig(wordings=1, cues=False)


def each_alone(vectors: Floats) -> Ints:
    """Return a cluster for each of n vectors."""
    return np.arange(len(vectors))


NO_CLUSTERS = InduceConfig(clusterer=each_alone, band=None, merge=1.0)


def pld(
    setting: Setting,
    *,
    search: bool = True,
    calibrate: bool = False,
    precedents: int = 0,
    demos: int = 0,
    **ablated: Any,
) -> dspy.Module:
    """Distil rationales into rules, and search them within the budget, what calibration costs included.

    Rationales are the recorded ones, or the setting's teacher's. Without ``search``, all rules in their first and in
    their second wordings compete with the unchanged student alone, with ``demos`` also the best of them above so many
    labelled examples, and, where calls are left, these alone. ``ablated`` are further arguments of PLD.
    """
    calibration = 2 * len(setting.trainset) if calibrate else 0
    within = SearchConfig.within(
        setting.budget - calibration,
        len(setting.valset),
        whole=WHOLE_LISTS if setting.teacher is None else WITH_TEACHER,
    )
    optimizer = PLD(
        teacher=setting.teacher,
        objective=setting.objective,
        search=within if search else SearchConfig(screen_calls=0, trials=0, demos=demos, calls=within.calls),
        calibrate=calibrate,
        precedents=precedents,
        budget=Budget(student_calls=setting.budget),
        run_dir=setting.folder,
        tracking=None,
        seed=setting.seed,
        **ablated,
    )
    return optimizer.compile(
        setting.student, trainset=setting.trainset, valset=setting.valset, rationales=setting.rationales
    )


def pld_from_teacher(setting: Setting) -> dspy.Module:
    """Distil what the setting's teacher says of every training example, whatever is recorded, without a search.

    Raises:
        DataError: there is no teacher.
    """
    if setting.teacher is None:
        raise DataError("pld_from_teacher has no teacher. Give the experiment one, as teacher and teacher_api_base.")
    return pld(replace(setting, rationales=None), search=False)


def precedents_alone(setting: Setting, *, count: int) -> dspy.Module:
    """Weigh the unchanged student against the labelled examples, as PLD with precedents does below its rules.

    Raises:
        DataError: the student's answers carry no log-probabilities.
    """
    examples = [*setting.valset, *setting.trainset]
    task = Task.of(setting.student, examples)
    texts, ids = [task.text(example) for example in examples], [str(row) for row in range(len(examples))]
    side = Precedents.of(texts, task.golds(examples), ids, task.labels, sentence_encoder, count=count)
    evaluator = Evaluator(
        student=setting.student,
        task=task,
        ledger=Ledger(setting.folder and setting.folder / "predictions.jsonl"),
        adapter=asking_for_logprobs(None),
        seed=setting.seed,
    )
    found = fit_students(None, setting.trainset, setting.valset, evaluator, precedents=side)
    if found is None or found.baseline_weighed is None:
        raise DataError(f"Precedents cannot be weighed: {NO_LOGPROBS}")
    weighed = found.baseline_weighed
    return Calibrated(
        setting.student, weighed.student.offsets, precedents=side.with_weights(weighed.weights), target=task.predictor
    )


def pld_then_bootstrap(setting: Setting) -> dspy.Module:
    """Spend half of the budget on rules, and half on demonstrations beside them."""
    half = replace(setting, budget=setting.budget // 2)
    return bootstrap_random_search(replace(half, student=pld(half)))
