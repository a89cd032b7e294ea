"""PLD, the teleprompter: explain -> induce -> search -> resolve -> calibrate -> compose."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy

from .calibrate.calibrated import Calibrated
from .compile import searching, stages
from .compile.auto import Auto
from .compile.build_result import build_result
from .compile.context import CompileContext, flat_settings
from .compile.estimate import Estimate, estimate
from .compile.inputs import Rationales, check_inputs, check_settings, check_teacher
from .compile.policy import PolicyLike
from .errors import DataError, RunError
from .induce.induce_config import InduceConfig
from .ledger.budget import Budget
from .ledger.dspy_names import Teleprompter
from .ledger.ledger import Ledger
from .ledger.patience import PATIENCE
from .local.embedding import EmbedderChoice
from .local.lm import LocalLM
from .resolve.resolve_config import ResolveConfig
from .run.folder import RunFolder
from .run.guarded import GuardedRecorder
from .run.outcome import keep_outcome, record_start
from .run.progress import Progress
from .run.result import PLDResult, refuse_to_undo
from .run.tracking import Recorder, recorder_for
from .scoring.baselines import Baselines
from .scoring.objective import Metric, Objective, SetMetric
from .search.search_config import SearchConfig
from .search.storage import find_study
from .student.adapter import asking_for_logprobs
from .student.compose import with_rules
from .task.shared import Duplicates
from .teacher.teacher import TeacherLike

logger = logging.getLogger(__name__)


class PLD(Teleprompter):
    """Prompt-Level Distillation (arXiv 2602.21103) as a DSPy teleprompter.

    A teacher's reasons for labelled examples become a short, ordered list of rules in the student's instructions. The
    rules are chosen by how well the student answers with them. No weights change.

    Args:
        teacher: an LM, or a program that gives ``rationale`` and ``rule`` from task, labels, example and label.
            None: recorded rationales only.
        auto: "light", "medium" or "heavy": screening calls and races that suit the number of rules and examples, and
            with "heavy" and a teacher two rounds of resolving. What ``search`` and ``resolve`` set stays.
        objective: "macro_f1", "weighted_f1", "accuracy", "balanced_accuracy", "f1:LABEL", or a callable on whole sets.
        metric: a per-example DSPy or GEPA metric instead: its mean is maximized, and the teacher gets its feedback
            when errors are resolved.
        target: name of the deciding predictor or its output field, if more than one could be meant.
        duplicates: what happens to examples that stand in several splits, texts that the student reads alike: "refuse"
            them; "drop" them from training, then from validation, and never from test; or "keep" them.
        frames: first choose what stands around the example (its bare text, or the question again behind it) by the
            answers of the unchanged student to training and validation examples, under a ``LabelAdapter``.
        embedder: what turns texts into vectors to compare. "auto": the sentence encoder where it pays, if it is
            installed and a stage has at most 5,000 texts, else TF-IDF; "encoder" or "tfidf": always that one where the
            encoder pays; or any ``dspy.Embedder`` or function of texts, which all stages then use.
        induce, search: how rules are made, and how student calls are spent.
        resolve: how errors that remain go back to the teacher, which revises the rules; the search then goes on with
            what it proposes. None, or no teacher, leaves this stage out.
        calibrate: fit per-label offsets and a temperature on the answers to training and validation examples, where
            adapter and server give log-probabilities; costs two calls per training example. :meth:`compile` then
            returns the compiled program within :class:`~pld_dspy.Calibrated`.
        precedents: with ``calibrate``, weigh the student's answer against the labelled examples, where that pays out of
            fold; this many of the nearest vote by themselves and are cited, 10 being a good number. 0: none.
        error_rate: with ``calibrate``, the error rate wanted among the answers given, over 0 and under 1: the program
            then abstains below a confidence threshold, if enough examples can promise that rate. None never abstains.
        budget: hard caps on calls and money.
        adapter: of student calls; the configured one where None. Run a saved program, which holds none, under the same.
        run_dir: the run folder; ``runs/pld-DATE-TIME`` where None. A killed compile resumes in the same folder.
        tracking: "mlflow" (the configured store, else a local SQLite one), a tracking URI, a recorder, or None.
        num_threads: student calls at once; where None, 1 for the local model, else DSPy's setting.
        teacher_threads: teacher calls at once; a local teacher always gets one at a time.
        max_errors: the compile stops after more than so many failed calls without an answer between them, or on so many
            different inputs. A student's answer that is not a label is wrong, not failed; but if the unchanged
            student's first answers, more than ``max_errors`` (and than 10) of them, contain no label at all, the
            compile stops at once. Inputs that a model refuses while it answers others (a content filter, a text that
            is too long) do not count: they are wrong for their gold label, and the result's notes name them.
        patience: seconds for which a model that does not answer (no connection, time-outs, 429, 5xx) is asked again
            before its calls count as failed.
        context_tokens: the student's context; longer texts are refused. None: not checked but for the local model.
        storage: Optuna storage URL of the search, such as one of PostgreSQL, so that other machines can join; a
            journal in the run folder where None.
        rules_of: a finished run's folder: the search chooses among its rules, as rules.yaml has them now, for another
            student; or, if ``trainset`` goes on behind the run's, the new examples join its rules or make more.
        origin: where student and data came from; recorded in config.yaml, not part of the fingerprint.
        seed: of every random choice.

    Attributes:
        result: the :class:`PLDResult` of the last compile; None before.
    """

    def __init__(
        self,
        *,
        teacher: TeacherLike = None,
        auto: Auto | None = None,
        objective: str | SetMetric = "macro_f1",
        metric: Metric | None = None,
        target: str | None = None,
        duplicates: Duplicates = "refuse",
        frames: bool = False,
        embedder: EmbedderChoice = "auto",
        induce: InduceConfig | None = None,
        search: SearchConfig | None = None,
        resolve: ResolveConfig | None = None,
        calibrate: bool = False,
        precedents: int = 0,
        error_rate: float | None = None,
        budget: Budget | None = None,
        adapter: dspy.Adapter | None = None,
        run_dir: Path | str | None = None,
        tracking: str | Recorder | None = "mlflow",
        num_threads: int | None = None,
        teacher_threads: int = 8,
        max_errors: int = 20,
        patience: float = PATIENCE,
        context_tokens: int | None = None,
        storage: str | None = None,
        rules_of: Path | str | None = None,
        origin: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.teacher, self.target, self.origin, self.duplicates = teacher, target, origin, duplicates
        self.auto = auto
        self.objective, self.embedder = Objective(objective, metric), embedder
        self.induce, self.search, self.resolve = induce or InduceConfig(), search or SearchConfig(), resolve
        self.frames, self.calibrate, self.precedents, self.error_rate = frames, calibrate, precedents, error_rate
        self.budget, self.max_errors, self.patience = budget or Budget(), max_errors, patience
        self.num_threads, self.teacher_threads = num_threads, teacher_threads
        self.adapter, self.context_tokens = adapter, context_tokens
        self.run_dir, self.storage, self.tracking = run_dir, storage, tracking
        self.rules_of, self.seed = rules_of, seed
        self.result: PLDResult | None = None
        check_settings(vars(self))
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
        rules: PolicyLike = None,
        resume: bool = True,
    ) -> dspy.Module:
        """Return a copy of ``student`` with the best rules found in its instructions.

        Args:
            student: any program with one labelled decision; never changed.
            trainset: labelled examples to learn rules from, with their inputs marked.
            teacher: overrides the constructor's.
            valset: labelled examples to choose rules by; split off ``trainset`` where None.
            testset: labelled examples to report on; used once, at the end.
            rationales: recorded micro-rules, or their JSONL file; the teacher is not asked about their examples.
            rules: rules to pin (to have in every set), ban, reword or add: a file like rules.yaml, or a RuleSet.
            resume: continue the compile in the run folder; False starts anew.

        Returns:
            A deep copy; without rules if none beat the unchanged student on validation. With ``calibrate``, the copy
            as :class:`~pld_dspy.Calibrated`, unless the answers carry no log-probabilities; a note says so.

        Raises:
            DataError: the data or an argument is unusable; raised before the first call.
            RunError: the run folder holds another compile.
            ModelError: a model rejects credentials or settings.
            TooManyErrors: more than ``max_errors`` calls failed, or as many first answers hold no label; all are kept.
            BudgetExceeded: the budget is too small to score even the unchanged student.
        """
        data = {"trainset": trainset, "valset": valset, "testset": testset, "rationales": rationales, "rules": rules}
        context = self._checked(student, teacher, **data)
        check_teacher(context, self.induce)
        if context.student_lm is None:
            raise DataError(
                "The student has no language model. Call dspy.configure(lm=...) with local_lm() or any dspy.LM, or "
                "set one on the program."
            )
        recorder, settled = GuardedRecorder(recorder_for(self.tracking)), context.settled(vars(self))
        folder = self._folder(context.settings(settled), rules, resume=resume)
        self._open(context, folder)
        with recorder.run(folder.path.name):
            record_start(folder, flat_settings(settled), recorder)
            self._run_stages(context, Progress(recorder, self.objective.name))
            compiled = with_rules(context.student, context.task, context.rules)
            self.result = build_result(context, compiled)
            precedents = context.weighed_precedents
            keep_outcome(folder, compiled, self.result, precedents, recorder, objective=self.objective.name)
        if self.result.calibration is None:
            return compiled
        saved, target = self.result.calibration.used.saved, context.task.predictor
        return Calibrated(compiled, saved, threshold=saved.threshold, precedents=precedents, target=target)

    def _folder(self, settings: Mapping[str, Any], rules: PolicyLike, *, resume: bool) -> RunFolder:
        """Open the run folder for a compile; RunError if it holds another one, or edits that this would undo."""
        folder = RunFolder(self.run_dir)
        if resume:
            refuse_to_undo(folder)
        if isinstance(rules, (str, Path)) and Path(rules).resolve() == folder.rules.resolve():
            raise DataError(f"{rules} is this run's own: the compile writes it anew. Give a copy from another folder.")
        more = {"tracked": isinstance(self.tracking, str), **({"command": dict(self.origin)} if self.origin else {})}
        folder.open(settings, resume=resume, budget=self.budget.model_dump(mode="json", exclude_defaults=True), **more)
        folder.stop.unlink(missing_ok=True)
        return folder

    def _run_stages(self, context: CompileContext, progress: Progress) -> None:
        expected = self._estimate(context)
        logger.info("%s", expected)
        stages.score_baseline(context)
        if minutes := expected.minutes(context.ledger):
            logger.info("At most %.1f minutes of student calls.", minutes)
        if self.frames:
            stages.choose_frame(context, calibrated=self.calibrate)
        stages.explain_examples(context)
        if context.source is None or context.new:  # else the inputs hold its doubts and its rules
            stages.audit_labels(context, self.induce)
            stages.induce_rules(context, self.induce)
        options: dict[str, Any] = {"progress": progress, "storage": self.storage, "calibrated": self.calibrate}
        searching.search_rules(context, **options)
        searching.resolve_errors(context, **options)
        if self.calibrate:
            stages.fit_calibration(context, error_rate=self.error_rate, precedents=self.precedents)
        stages.score_students(context)
        stages.compare_baselines(context)

    def join(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        rationales: Rationales = None,
        rules: PolicyLike = None,
    ) -> int:
        """Work on the search of a compile that was started elsewhere, until no trial waits; arguments as there.

        Any number of processes may join, on any machine and without a teacher; the compile gathers what they find.

        Returns:
            The number of trials made here.

        Raises:
            RunError: the run folder holds no such compile, or its search has not begun.
        """
        context = self._checked(
            student, trainset=trainset, valset=valset, testset=testset, rationales=rationales, rules=rules
        )
        if self.run_dir is None:
            raise RunError("PLD(run_dir=...) names no run folder to join. Give that of the compile.")
        folder = RunFolder(self.run_dir)
        teacher = folder.settings().get("teacher")  # raises before a folder without a compile becomes one
        folder.open({**context.settings(context.settled(vars(self))), "teacher": teacher}, resume=True)
        study, space = find_study(self.storage or folder.study, prefix=folder.fingerprint)
        self._open(context, folder)
        if self.frames:
            stages.choose_frame(context, calibrated=self.calibrate)
        search = searching.rule_search(context, space, study, calibrated=self.calibrate, joins=True)
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
        rules: PolicyLike = None,
    ) -> Estimate:
        """Bound calls, tokens and money of :meth:`compile` from above, without a call; arguments as there."""
        context = self._checked(
            student, teacher, trainset=trainset, valset=valset, testset=testset, rationales=rationales, rules=rules
        )
        check_teacher(context, self.induce)
        return self._estimate(context)

    def baselines(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example],
        valset: Sequence[dspy.Example] | None = None,
        testset: Sequence[dspy.Example] | None = None,
        rationales: Rationales = None,
    ) -> Baselines:
        """Score simple classifiers on the labels that :meth:`compile` would have, split as there, without a model."""
        context = self._checked(student, trainset=trainset, valset=valset, testset=testset, rationales=rationales)
        return stages.baselines_of_labels(context)

    def get_params(self) -> dict[str, Any]:
        """Return the settings as a fresh flat dict of plain values; MLflow's autologging adds to the dict it gets."""
        return flat_settings(vars(self))

    def _estimate(self, context: CompileContext) -> Estimate:
        return estimate(context, self.induce, frames=self.frames, calibrate=self.calibrate, budget=self.budget)

    def _checked(self, student: dspy.Module, teacher: TeacherLike = None, **data: Any) -> CompileContext:
        context = check_inputs(
            student,
            teacher=self.teacher if teacher is None else teacher,
            target=self.target,
            duplicates=self.duplicates,
            context_tokens=self.context_tokens,
            embedder=self.embedder,
            auto=self.auto,
            search=self.search,
            resolve=self.resolve,
            rules_of=self.rules_of,
            seed=self.seed,
            **data,
        )
        self.objective.check(context.task.labels)
        if self.calibrate and context.task.several:
            raise DataError(
                "calibrate=True adjusts a choice of one label, and the output field "
                f"{context.task.label_field!r} may hold several at once. Leave it out."
            )
        return context

    def _open(self, context: CompileContext, folder: RunFolder) -> None:
        splits, calls, local = context.splits, self.budget.student_calls, isinstance(context.student_lm, LocalLM)
        sizes = {"train": len(splits.train), "val": len(splits.val)}
        ledger = Ledger(
            folder.predictions,
            budget=self.budget,
            max_errors=self.max_errors,
            patience=self.patience,
            num_threads=self.num_threads or (1 if local else dspy.settings.num_threads),
            teacher_threads=self.teacher_threads,
            reserved=searching.reserved(context.resolve, calls, **sizes, calibrate=self.calibrate),
        )
        asks = self.calibrate or context.search.learns_from_logprobs
        adapter = asking_for_logprobs(self.adapter) if asks else self.adapter
        context.open(folder, ledger, objective=self.objective, adapter=adapter)
