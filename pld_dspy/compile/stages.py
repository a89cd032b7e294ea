"""The stages of a compile, in order; each reads what the ones before it left in the context, and leaves its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dspy

from ..audit.labels import audit
from ..calibrate.precedents import Precedents
from ..calibrate.students import NO_LOGPROBS, fit_students, grade_students, weigh
from ..explain import explain, match_records, notes_about
from ..induce.formats import about_format
from ..induce.induce import induce
from ..induce.induce_config import InduceConfig
from ..ledger.budget import UNCAPPED
from ..ledger.jsonl import read_jsonl, write_jsonl
from ..local.embedding import embedder_of
from ..rules import MicroRule
from ..run.progress import bar, timed
from ..scoring.baselines import Baselines, score_baselines
from ..scoring.difference import difference
from ..student.adapter import LabelAdapter
from ..student.evaluator import Evaluation
from ..student.frames import frames_for, with_frame
from ..student.redecide import redecide, redecide_to_match_gold
from ..task.task import example_id
from ..teacher.brief import brief
from .context import CompileContext, Pair


def choose_frame(context: CompileContext, *, calibrated: bool) -> None:
    """Give the student the frame under which it does best without rules, if another than its own pays.

    Frames change every answer, so they come first. All training and validation examples are asked, as the unchanged
    student under its own frame is the baseline of everything that follows.
    """
    if not isinstance(context.evaluator.adapter or dspy.settings.adapter, LabelAdapter):
        context.notes.append("No frame was chosen: only a LabelAdapter shows frames.")
        return
    frames = frames_for(context.student, context.task)
    if len(frames) < 2:
        context.notes.append("No frame was chosen: the program has prefixes of its own, or does not answer a label.")
        return
    examples = [*context.splits.val, *context.splits.train]
    golds, labels = context.task.golds(examples), context.task.labels
    bare, found = context.evaluator, {}
    with timed(context.seconds, "frame"), bar("frame", "call", total=len(frames) * len(examples)) as shown:
        for name, frame in frames.items():
            framed = replace(bare, student=with_frame(context.student, context.task, frame)) if frame else bare
            answers = framed.answers(None, examples, stage="frame", on_answer=shown.update)
            if calibrated:
                answers = redecide_to_match_gold(answers, examples, framed)
            found[name] = framed, framed.scored(examples, answers)
    best = max(found, key=lambda name: found[name][1].score.objective)
    gain = difference(golds, found["bare"][1].labels, found[best][1].labels, labels, seed=context.seed)
    if gain.pays:
        context.evaluator = found[best][0]
        context.student = context.evaluator.student
        context.notes.append(
            f"Frame {best!r} around the example, for the unchanged student too: macro-F1 {gain.short} on {gain.n} "
            "training and validation examples."
        )


def score_baseline(context: CompileContext) -> None:
    """Score the unchanged student; TooManyErrors if none of the first answers, more than ``max_errors``, is a label."""
    evaluator, val = context.evaluator, context.splits.val
    first = max(context.ledger.max_errors, 10) + 1
    with timed(context.seconds, "baseline"), bar("baseline", "call", total=len(val)) as shown:
        evaluator.check_program(val[0])
        answers = evaluator.answers(None, val[:first], stage="baseline", on_answer=shown.update)
        if len(answers) == first:
            evaluator.check_readable(answers)
        evaluator.answers(None, val[first:], stage="baseline", on_answer=shown.update)
    pairs = zip(context.task.golds(val), evaluator.labels(None, val, stage="baseline"), strict=True)
    context.confusions = Counter((gold, answer) for gold, answer in pairs if answer not in (None, gold))


def explain_examples(context: CompileContext) -> None:
    """Get a micro-rule for each training example, from the records or from the teacher; if some are new, for these.

    The others keep those of the run that they were explained in.
    """
    train, task, teacher = context.splits.train, context.task, context.teacher
    asked = context.new or train
    known = read_jsonl(context.source.micro_rules, MicroRule) if context.source and context.new else []
    if teacher is not None:
        golds = Counter(label for gold in task.golds(train) for label in task.labels_of(gold))
        sizes = {label: golds[label] for label in task.labels}
        teacher = replace(teacher, task=brief(task, teacher.task, sizes, confusions=context.confusions))
    with timed(context.seconds, "explain"), bar("explain", "example") as shown:
        found = explain(
            asked,
            task,
            texts=context.texts(asked),
            recorded=context.recorded,
            teacher=teacher,
            on_answer=shown.update,
        )
        context.explanations = replace(found, micro_rules=[*known, *found.micro_rules])
        write_jsonl(context.folder.micro_rules, context.explanations.micro_rules)


def audit_labels(context: CompileContext, config: InduceConfig) -> None:
    """Find training labels in doubt, from the data and, if ``config`` wants that, by the teacher.

    If some examples are new, those of the others stay in doubt or not, and the teacher is not asked.
    """
    task, micro_rules = context.task, context.explanations.micro_rules
    given: dict[str, Any] = {"texts": context.texts_by_id, "embedder": context.embedder}
    with timed(context.seconds, "audit"):
        if config.audit == "data" or context.new:
            decisive = [rule for rule in micro_rules if not about_format(rule.rule, task.labels)]
            found, new = audit(decisive, task, **given), {one.id for one in context.new}
            if new:
                own = [one for one in found.suspects if one.example_id in new]
                found = replace(found, suspects=[*context.audit.suspects, *own])
            context.audit = found
            return
        with bar("audit", "example", total=len(micro_rules)) as shown:
            context.audit = audit(micro_rules, task, **given, teacher=context.teacher, on_answer=shown.update)


def induce_rules(context: CompileContext, config: InduceConfig) -> None:
    """Generalize the micro-rules into rules; if examples are new, what is near to no rule of the run before."""
    known = context.induction.rules if context.new else []
    earlier = [*context.policy.pool(known), *context.policy.banned] if context.new else []
    with timed(context.seconds, "induce"), bar("induce", "rule") as shown:
        context.induction = induce(
            context.explanations.micro_rules,
            context.task,
            doubted=[(suspect.example_id, suspect.label) for suspect in context.audit.suspects],
            reads=context.reads_by_id,
            confusions=context.confusions,
            config=config,
            embedder=context.plain_embedder,
            teacher=context.teacher,
            on_answer=shown.update,
            earlier=earlier,
            new={one.id for one in context.new},
        )
    if context.new:
        context.added = {rule.id for rule in context.induction.rules}
        context.induction = replace(context.induction, rules=[*known, *context.induction.rules], diagnosis="")


def fit_calibration(context: CompileContext, *, error_rate: float | None, precedents: int) -> None:
    """Fit offsets, temperature and, for ``error_rate``, a threshold for both students, on training and validation.

    With ``precedents``, also the weights of what the labelled examples say; a decision then cites so many of them.
    """
    train, val = context.splits.train, context.splits.val
    if precedents:
        names = [example_id(example, row) for row, example in enumerate(train)]
        rows = enumerate(val, start=len(train))  # an id says which row, of both sets in turn
        ids = [name if (name := example_id(one, row)) not in names else f"validation {name}" for row, one in rows]
        notes = notes_about(train, context.explanations.micro_rules, context.task, first=len(val))
        context.precedents = Precedents.of(
            context.texts([*val, *train]),
            context.task.golds([*val, *train]),
            [*ids, *names],
            context.task.labels,
            embedder_of(context.embedder, len(ids) + len(names)),
            count=precedents,
            notes=notes,
        )
    with timed(context.seconds, "calibrate"), bar("calibrate", "call", total=2 * (len(train) + len(val))) as shown:
        context.calibration = fit_students(
            context.rules,
            train,
            val,
            context.evaluator,
            precedents=context.precedents,
            error_rate=error_rate,
            on_answer=shown.update,
        )
    if context.calibration is None:
        context.notes.append(f"Nothing was calibrated: {NO_LOGPROBS}")


def score_students(context: CompileContext) -> None:
    """Score both students on validation and test, with and without calibration if that was fitted."""
    splits = context.splits
    with timed(context.seconds, "test"):
        context.validation = _score_both(context, "validation", splits.val, stage="search")
        context.test = _score_both(context, "test", splits.test, stage=UNCAPPED) if splits.test else None
        if context.new:
            asked = ((splits.val, "search"), (splits.test, UNCAPPED))
            context.before = [
                context.evaluator.evaluate(context.earlier, rows, stage=stage) for rows, stage in asked if rows
            ]
    if context.calibration and context.test:
        context.calibration = grade_students(
            context.calibration,
            splits.test,
            context.test,
            context.evaluator,
            precedents=context.precedents,
            texts=context.texts(splits.test),
        )


def compare_baselines(context: CompileContext) -> None:
    """Compare the student that the user gets, calibrated where that was fitted, with what the labels alone give."""
    task, examples = context.task, context.splits.test or context.splits.val
    _, student = context.test or context.validation
    with timed(context.seconds, "baselines"):
        student = _as_delivered(context, examples, student)
        context.baselines = baselines_of_labels(context, context.explanations.micro_rules).compared(
            student.score, student.labels, golds=task.golds(examples), labels=task.labels, seed=context.seed
        )


def _as_delivered(context: CompileContext, examples: Sequence[dspy.Example], own: Evaluation) -> Evaluation:
    """Return the compiled student's answers to ``examples`` as the program that the user gets decides them.

    Without a test set they are decided without precedents, among which the validation examples are themselves.
    """
    evaluator, answers, found = context.evaluator, own.answers, context.calibration
    if found is None:
        return own
    offsets = found.compiled.offsets
    if context.splits.test and (precedents := context.weighed_precedents) is not None:
        answers = weigh(precedents, answers, precedents.evidence(context.texts(examples)), evaluator)
        offsets = found.used.offsets
    return evaluator.scored(examples, redecide(answers, offsets, evaluator))


def baselines_of_labels(context: CompileContext, micro_rules: Sequence[MicroRule] | None = None) -> Baselines:
    """Score simple classifiers on exactly the labels and ``micro_rules`` that the compile has; no call is made.

    Before a compile has these, the recorded ones count.

    They learn from training and validation, and are scored on test; without a test set, from training alone, and are
    scored on validation.
    """
    task, splits = context.task, context.splits
    known, new = ([*splits.train, *splits.val], splits.test) if splits.test else (splits.train, splits.val)
    if micro_rules is None:
        micro_rules = [*match_records(splits.train, task, context.recorded)[0].values()]
    notes = notes_about(splits.train, micro_rules, task)
    return score_baselines(
        context.texts(known),
        task.golds(known),
        new_texts=context.texts(new),
        new_golds=task.golds(new),
        labels=task.labels,
        split="test" if splits.test else "validation",
        embedder=embedder_of(context.embedder, len(known) + len(new)),
        notes=notes,
        seed=context.seed,
    )


def _score_both(context: CompileContext, split: str, examples: Sequence[dspy.Example], *, stage: str) -> Pair:
    """Score the unchanged and the compiled student; on validation, all answers are in the ledger already."""
    with bar(split, "call", total=2 * len(examples)) as shown:
        return (
            context.evaluator.evaluate(None, examples, stage=stage, on_answer=shown.update),
            context.evaluator.evaluate(context.rules, examples, stage=stage, on_answer=shown.update),
        )
