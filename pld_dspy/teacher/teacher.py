"""Teacher: the model that explains examples, writes rules and mends them; every stage asks it through one object."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import dspy

from ..errors import DataError
from ..ledger.answer import Answer
from ..ledger.keys import lm_settings
from ..ledger.ledger import Ledger
from .signatures import REFUSED, is_unfilled

TeacherLike: TypeAlias = dspy.BaseLM | dspy.Module | Sequence[dspy.Module] | None
"""What a user may give as the teacher."""


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A teacher, with all that is the same in every question to it."""

    task: str  # what every prompt shows as the task: the student's own instructions, or a brief
    lm: dspy.BaseLM | None = None  # runs predictors that have no LM of their own; None: the configured one
    programs: Mapping[str, dspy.Module] = field(
        default_factory=dict
    )  # stage -> the user's own in place of dspy.Predict
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def of(cls, given: TeacherLike, *, task: str) -> Teacher | None:
        """Return the teacher that a user gave; None for None or an empty list.

        ``given`` is an LM; a program that explains examples; any other program, for its LM; or a list of programs, as
        BetterTogether gives them: the first counts. A program explains if one of its predictors has an output field
        ``rule``; it is called with ``task``, ``labels``, ``example`` and ``label``.
        """
        if isinstance(given, Sequence):
            given = given[0] if given else None
        if given is None:
            return None
        if isinstance(given, dspy.BaseLM):
            return cls(task=task, lm=given)
        if not isinstance(given, dspy.Module):
            kind = type(given).__name__
            raise DataError(f"teacher is a {kind}; give a dspy.LM, a dspy.Module or a list of modules.")
        predictors = given.predictors()
        lm = next((predictor.lm for predictor in predictors if predictor.lm is not None), None)
        explains = any("rule" in predictor.signature.output_fields for predictor in predictors)
        return cls(task=task, lm=lm, programs={"explain": given} if explains else {})

    def settings(self) -> dict[str, Any]:
        """Return the settings of its LM that decide its answers."""
        return lm_settings(self.lm or dspy.settings.lm)

    def ask(
        self,
        signature: type[dspy.Signature],
        inputs: Sequence[dict[str, Any]],
        *,
        stage: str,
        texts: Callable[[Answer], Sequence[str]] | None = None,
        empty_reason: str = "it was empty",
        draw: int = 0,
        on_answer: Callable[[], object] | None = None,
    ) -> list[Answer]:
        """Return the teacher's answers, in the order of ``inputs``; where a cap is reached, ``NOT_ASKED`` for the rest.

        Retry once, stating the reason, when an answer parses but is unusable; the first answer stays if the second is
        unusable too. Calls that failed are not retried here: the ledger has done so.

        Args:
            signature: the prompt.
            inputs: its input fields except ``task``, one dict per call.
            stage: the name under which the calls are counted, and under which ``programs`` may have another program.
            texts: the texts of an answer. The answer is unusable if each of them is empty or repeats the form that
                the prompt gave. None: every answer is usable.
            empty_reason: the reason sent when the answer has no text.
            draw: number of the sample, from 0; each further draw gives new answers.
            on_answer: called once per input, for progress.
        """
        own = self.programs.get(stage)  # asked as a copy: it may count its calls, which changes its key
        program = resampled(_copied(own) if own else dspy.Predict(signature), draw, lm=self.lm)
        ask = partial(self.ledger.ask, program, role="teacher", stage=stage, lm=self.lm, allow_partial=True)
        answers = ask([{"task": self.task, **row} for row in inputs], on_answer=on_answer)
        if texts is None:
            return answers

        def problem(answer: Answer) -> str | None:
            found = [text for text in texts(answer) if text.strip()]
            if answer.outputs is None or (found and not all(map(is_unfilled, found))):
                return None
            return "it repeated the form and filled nothing in" if found else empty_reason

        reasons = {row: reason for row, answer in enumerate(answers) if (reason := problem(answer))}
        if reasons:
            tasks = [REFUSED.format(task=self.task, reason=reason) for reason in reasons.values()]
            second = ask([{**inputs[row], "task": task} for row, task in zip(reasons, tasks, strict=True)])
            for row, answer in zip(reasons, second, strict=True):
                if answer.outputs is not None and not problem(answer):
                    answers[row] = answer
        return answers


def resampled(program: dspy.Module, draw: int, *, lm: dspy.BaseLM | None) -> dspy.Module:
    """Return the program for draw 0, and for a further draw a copy whose predictors sample anew.

    The number is part of the sampling settings (DSPy's ``rollout_id``), which are part of a ledger's keys: a second
    run finds the answers of the first, and no two draws share one.
    """
    if not draw:
        return program
    copied = _copied(program)
    for _, predictor in copied.named_sub_modules(dspy.Predict):
        settings = {**getattr(predictor.lm or lm or dspy.settings.lm, "kwargs", {}), **predictor.config}
        sampling: dict[str, Any] = {"rollout_id": (settings.get("rollout_id") or 0) + draw}
        if settings.get("temperature") == 0:  # it would repeat itself; one that is not set is the provider's, above 0
            sampling["temperature"] = 0.7
        if settings.get("seed") is not None:
            sampling["seed"] = settings["seed"] + draw
        predictor.config = {**predictor.config, **sampling}
    return copied


def _copied(program: dspy.Module) -> dspy.Module:
    """Return a copy that shares its LMs: a copy of an LM would hold a copy of its history."""
    copied = program.deepcopy()
    pairs = zip(program.named_sub_modules(dspy.Predict), copied.named_sub_modules(dspy.Predict), strict=True)
    for (_, own), (_, predictor) in pairs:
        predictor.lm = own.lm
    return copied
