"""PLD, the teleprompter: explain -> induce -> search -> resolve -> compose; it hands results along."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
from dspy.teleprompt import Teleprompter

from .calibrate.calibrated import with_calibration
from .calibrate.fit import graded
from .calibrate.promise import check_error_rate
from .compile import stages
from .compile.build_result import Found, outcome, patched
from .compile.context import Job
from .compile.estimate import Estimate, estimate
from .compile.inputs import Inputs, Rationales, prepare, student_lm
from .explain import match_records
from .induce.config import UNSAID as UNSAID_OF_INDUCE
from .induce.config import InduceConfig
from .ledger.budget import Budget
from .ledger.keys import plain
from .ledger.ledger import Ledger
from .local.lm import LocalLM
from .resolve.config import UNSAID as UNSAID_OF_RESOLVE
from .resolve.config import ResolveConfig
from .run.folder import RunFolder
from .run.outcome import record_outcome, write_outcome
from .run.progress import Progress
from .run.result import PLDResult
from .run.tracking import Recorder, recorder_for
from .scoring.metric import Metric
from .scoring.objective import Objective, SetMetric
from .search.config import SearchConfig
from .search.storage import find_study
from .student.adapter import asking_for_logprobs
from .student.compose import with_rules
from .student.evaluator import Evaluator
from .task.splits import Splits
from .teacher.teacher import TeacherLike

UNSAID = {**UNSAID_OF_INDUCE, **UNSAID_OF_RESOLVE}


class PLD(Teleprompter):
    """Prompt-Level Distillation (arXiv 2602.21103) as a DSPy teleprompter.

    A teacher's reasons for labelled examples become a short, ordered list of rules in the student's instructions,
    chosen for what they do for that student. No weights change.

    Args:
        teacher: an LM, or a program that gives ``rationale`` and ``rule`` from task, labels, example and label.
            None: recorded rationales only.
        objective: "macro_f1", "weighted_f1", "accuracy", "balanced_accuracy", "f1:LABEL" or a callable on whole sets.
        metric: a per-example DSPy metric, or GEPA's, instead: its mean is maximized, its feedback told to the resolver.
        target: the predictor or output field that decides, where more than one could.
        induce, search: how rules are made, and how student calls are spent.
        resolve: how the student's remaining errors are put to the teacher after the search, to patch rules; without a
            teacher, rules may still be retired, reworded or swapped with the bench. None leaves the loop out.
        calibrate: fit per-label offsets and a temperature on the answers to training and validation examples, where
            adapter and server give log-probabilities; two calls a training example. :meth:`compile` then returns
            the compiled program within :class:`~pld_dspy.Calibrated`.
        error_rate: with ``calibrate``, the error rate wanted among answers, over 0 and under 1: the program then
            abstains below a confidence chosen for it, where so many examples can promise it. None never abstains.
        budget: hard caps on calls and money.
        adapter: the adapter student calls go through; the configured one where None. A program does not store its
            adapter: run the compiled program under the same one.
        run_dir: the run folder; ``runs/pld-DATE-TIME`` where None. A killed compile with the same folder resumes.
        tracking: "mlflow" (the configured store, else a local sqlite one), a tracking URI, a recorder, or None.
        num_threads: student calls at once; where None, 1 for the local model, else DSPy's setting.
        teacher_threads: teacher calls at once; a local teacher always gets one at a time.
        max_errors: failed calls after which the compile stops. A student's answer that is no label is not one of
            them, but wrong; only where the unchanged student's first answers, more than ``max_errors`` (and than 10),
            hold not a single label does the compile stop at once.
        context_tokens: the student's context, where longer texts are to be refused beforehand.
        storage: where the search is kept, for workers on other machines: any Optuna storage URL, such as one of
            PostgreSQL; a journal in the run folder where None.
        origin: how student and data were had, for config.yaml; not part of what decides the outcome.
        seed: of every random choice.

    Attributes:
        result: the :class:`PLDResult` of the last compile; None before.
    """

    def __init__(
        self,
        *,
        teacher: TeacherLike = None,
        objective: str | SetMetric = "macro_f1",
        metric: Metric | None = None,
        target: str | None = None,
        induce: InduceConfig | None = None,
        search: SearchConfig | None = None,
        resolve: ResolveConfig | None = None,
        calibrate: bool = False,
        error_rate: float | None = None,
        budget: Budget | None = None,
        adapter: dspy.Adapter | None = None,
        run_dir: Path | str | None = None,
        tracking: str | Recorder | None = "mlflow",
        num_threads: int | None = None,
        teacher_threads: int = 8,
        max_errors: int = 20,
        context_tokens: int | None = None,
        storage: str | None = None,
        origin: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.teacher = teacher
        self.objective = Objective(objective, metric)
        self.target = target
        self.induce = induce or InduceConfig()
        self.search = search or SearchConfig()
        self.resolve = resolve
        self.calibrate = calibrate
        self.error_rate = error_rate
        self.budget = budget or Budget()
        self.adapter = adapter
        self.run_dir = run_dir
        self.tracking = tracking
        self.num_threads = num_threads
        self.teacher_threads = teacher_threads
        self.max_errors = max_errors
        self.context_tokens = context_tokens
        self.storage = storage
        self.origin = origin
        self.seed = seed
        self.result: PLDResult | None = None
        check_error_rate(error_rate, calibrate=calibrate)
        recorder_for(tracking)

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        teacher: TeacherLike = None,
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        rationales: Rationales = None,
        resume: bool = True,
    ) -> dspy.Module:
        """Return a copy of ``student`` with the best rules found in its instructions.

        Args:
            student: any program with one labelled decision; never changed.
            trainset: labelled examples to learn rules from, with their inputs marked.
            teacher: overrides the constructor's.
            valset: labelled examples to choose rules by; split off ``trainset`` where None.
            testset: labelled examples to report on, asked once, at the end.
            rationales: recorded micro-rules, or their JSONL file; examples they cover are not put to the teacher.
            resume: go on with the compile in the run folder; False starts anew.

        Returns:
            A deep copy; where no rules beat the unchanged student on validation, without rules. With ``calibrate``,
            the copy as :class:`~pld_dspy.Calibrated`, unless the answers carry no log-probabilities; a note says so.

        Raises:
            DataError: the data or an argument is unusable; raised before the first call.
            RunError: the run folder holds another compile.
            ModelError: a model rejects credentials or settings.
            TooManyErrors: more than ``max_errors`` calls failed, or so many first answers hold no label; finished
                calls are kept.
            BudgetExceeded: the budget does not allow scoring even the unchanged student.
        """
        inputs = self._inputs(
            student, trainset=trainset, valset=valset, testset=testset, teacher=teacher, rationales=rationales
        )
        inputs.check_student()
        recorder = recorder_for(self.tracking)
        folder = RunFolder(self.run_dir)
        folder.open(self._settings(inputs), resume=resume)
        if self.origin is not None:
            folder.add_settings("command", self.origin)
        folder.add_settings("budget", self.budget.model_dump(mode="json", exclude_defaults=True))
        job = self._job(inputs, folder)
        with recorder.run(folder.name):
            recorder.params(self.get_params())
            found = self._found(job, recorder)
            compiled = with_rules(student, inputs.task, found.search.best)
            instructions = dict(compiled.named_predictors())[inputs.task.predictor].signature.instructions
            self.result = outcome(job, found, instructions=instructions)
            write_outcome(folder, compiled, self.result)
            record_outcome(recorder, folder, self.result, objective=self.objective.name)
        return with_calibration(compiled, self.result.calibration, target=inputs.task.predictor)

    def _found(self, job: Job, recorder: Recorder) -> Found:
        """Take the stages in turn, each on what the ones before it found."""
        stages.score_baseline(job)
        explanations = stages.explain_examples(job)
        audit = stages.audit_labels(job, explanations, self.induce)
        induction = stages.induce_rules(job, explanations, self.induce, None if audit is None else audit.suspects)
        progress = Progress(recorder, self.objective.name)
        searched = stages.search_rules(
            job, induction.rules, self.search, progress=progress, storage=self.storage, calibrated=self.calibrate
        )
        resolution = stages.resolve_errors(
            job, searched, self.resolve, without=induction.dropped, calibrated=self.calibrate
        )
        search = patched(searched, resolution)
        fit = stages.fit_calibration(job, search.best) if self.calibrate else None
        validation, test = stages.final_scores(job, search.best)
        return Found(
            explanations=explanations,
            audit=audit,
            induction=induction,
            searched=searched,
            search=search,
            resolution=resolution,
            validation=validation,
            test=test,
            calibration=graded(fit, job.inputs.splits.test, test, job.evaluator, error_rate=self.error_rate),
        )

    def join(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        rationales: Rationales = None,
    ) -> int:
        """Work on the search of a compile that was started elsewhere, until no trial waits; arguments as there.

        Any number of processes may join, on any machine and without a teacher; the compile gathers what they find.

        Returns:
            The number of trials made here.

        Raises:
            RunError: the run folder holds no such compile, or its search has not begun.
        """
        inputs = self._inputs(
            student, joins=True, trainset=trainset, valset=valset, testset=testset, teacher=None, rationales=rationales
        )
        folder = RunFolder(self.run_dir)
        told = {"teacher": folder.settings().get("teacher")}  # and a folder without a compile is not made into one
        folder.open({**self._settings(inputs), **told}, resume=True)
        study, rules = find_study(self.storage or folder.study, prefix=folder.fingerprint)
        job = self._job(inputs, folder)
        search = stages.rule_search(job, rules, study, self.search, calibrated=self.calibrate, joins=True)
        search.work()
        return search.made

    def estimate(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        teacher: TeacherLike = None,
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        rationales: Rationales = None,
    ) -> Estimate:
        """Bound calls, tokens and money of :meth:`compile` from above, without a call; arguments as there."""
        inputs = self._inputs(
            student, trainset=trainset, valset=valset, testset=testset, teacher=teacher, rationales=rationales
        )
        models = {"student": student_lm(student), "teacher": inputs.teacher and inputs.teacher.lm}
        return estimate(
            inputs.task,
            instructions=inputs.instructions,
            splits=inputs.splits,
            recorded=len(match_records(inputs.splits.train, inputs.task, inputs.recorded)[0]),
            has_teacher=inputs.teacher is not None,
            induce=self.induce,
            search=self.search,
            resolve=self.resolve,
            calibrate=self.calibrate,
            budget=self.budget,
            models={role: getattr(lm, "model", "") for role, lm in models.items()},
        )

    def get_params(self) -> dict[str, Any]:
        """Return the plain settings, as a fresh dict; MLflow's autologging adds to the dict it is given."""
        settings: dict[str, Any] = {
            "objective": self.objective.choice,
            "metric": self.objective.metric,
            "target": self.target,
            "max_errors": self.max_errors,
            "context_tokens": self.context_tokens,
            "seed": self.seed,
        }
        asked = {"calibrate": self.calibrate or None, "error_rate": self.error_rate}
        settings |= {name: value for name, value in asked.items() if value is not None}
        for prefix in ("search", "induce", "budget", "resolve"):
            config = getattr(self, prefix)
            if config is not None:
                settings |= {f"{prefix}_{name}": value for name, value in vars(config).items()}
        return {name: plain(value) for name, value in settings.items() if (name, value) not in UNSAID.items()}

    def _inputs(self, student: dspy.Module, *, teacher: TeacherLike, joins: bool = False, **given: Any) -> Inputs:
        lm = student_lm(student)
        inputs = prepare(
            student,
            teacher=self.teacher if teacher is None else teacher,
            target=self.target,
            context_tokens=self.context_tokens or (lm.context_tokens if isinstance(lm, LocalLM) else None),
            seed=self.seed,
            **given,
        )
        inputs.check_settings(objective=self.objective, calibrate=self.calibrate)
        if not joins:
            inputs.check_explained()
            self.induce.check_auditor(inputs.teacher, inputs.task)
        return inputs

    def _settings(self, inputs: Inputs) -> dict[str, Any]:
        """Everything that decides the outcome, for config.yaml and its fingerprint."""
        own = {name: value for name, value in self.get_params().items() if not name.startswith("budget_")}
        own |= self.objective.code
        return {"settings": own, **inputs.settings(self.adapter or dspy.settings.adapter)}

    def _job(self, inputs: Inputs, folder: RunFolder) -> Job:
        local = isinstance(student_lm(inputs.student), LocalLM)
        threads = self.num_threads or (1 if local else dspy.settings.num_threads)
        ledger = Ledger(
            folder.predictions,
            budget=self.budget,
            max_errors=self.max_errors,
            num_threads=threads,
            teacher_threads=self.teacher_threads,
            reserved={"search": self._left_to_the_loop(inputs.splits)},
        )
        asks = self.calibrate or self.search.learns_from_logprobs
        evaluator = Evaluator(
            student=inputs.student,
            task=inputs.task,
            ledger=ledger,
            objective=self.objective,
            adapter=asking_for_logprobs(self.adapter) if asks else self.adapter,
            seed=self.seed,
        )
        teacher = inputs.teacher and replace(inputs.teacher, ledger=ledger)
        return Job(inputs=inputs, folder=folder, ledger=ledger, evaluator=evaluator, teacher=teacher, seed=self.seed)

    def _left_to_the_loop(self, splits: Splits) -> int:
        """Return how many student calls under the cap the search may not make: the loop is to have them."""
        if self.resolve is None:
            return 0
        return self.resolve.reserved_calls(self.budget.student_calls, train=len(splits.train), val=len(splits.val))
