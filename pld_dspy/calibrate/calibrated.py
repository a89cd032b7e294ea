"""Calibrated: a program whose labelled decision is moved by offsets, with a confidence, and which may abstain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dspy
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import DataError
from ..scoring.offsets import Offsets
from ..student.adapter import LabelAdapter
from ..student.compose import with_rules
from ..student.decision import Decision
from ..task.labels import LABEL_LOGPROBS, label_text
from ..task.task import Task
from .result import Calibration


class Calibrated(dspy.Module):
    """A program with one labelled decision, calibrated.

    The program runs as it is, under a ``LabelAdapter`` that asks for log-probabilities: the configured one, or one
    that leaves all other signatures to the configured adapter. Its prediction comes back with

    - the label field: the label of largest log-probability + offset, of the field's type; the program's own label
      where all offsets are 0;
    - ``confidence``: the softmax, with the temperature, of these sums at that label, 0 to 1;
    - ``abstained``: whether the confidence is below the threshold; False where there is none. The label is given all
      the same;
    - ``label_logprobs``: the deciding predictor's, before the offsets.

    An answer without log-probabilities keeps its label and has the confidence None; where there is a threshold, it
    abstains, as nothing vouches for it.

    ``save("x.json")`` and ``load`` keep the program's state, the labels, offsets, temperature and threshold, as plain
    JSON.

    Args:
        program: any DSPy module; never changed, since a copy is kept.
        offsets: as fitted by ``fit_offsets``; none (0, temperature 1) where None.
        threshold: confidence below which to abstain, 0 to 1, such as ``threshold_for`` gives; None never abstains.
        target: name of the deciding predictor or of its output field, where more than one would do.

    Raises:
        DataError: the program has no labelled decision, or several; or the offsets are of other labels.

    Source: abstaining, the reject option, El-Yaniv & Wiener 2010, "On the foundations of noise-free selective
    classification".
    """

    def __init__(
        self,
        program: dspy.Module,
        offsets: Offsets | None = None,
        *,
        threshold: float | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__()
        task = _task(program, target)
        self.program = with_rules(program, task, None)
        self.target = task.predictor
        self.label_field = task.label_field
        state = _State.of(offsets or Offsets.none(task.labels), threshold)
        _check(state.labels, task.labels)
        self._set(state)

    @property
    def calibration(self) -> Offsets:
        """The offsets and the temperature."""
        return Offsets(labels=self.labels, values=self.offsets, temperature=self.temperature)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Run the program and calibrate its decision."""
        trace: list[Any] = []
        with dspy.context(adapter=_asking(dspy.settings.adapter), trace=trace):
            prediction = self.program(**inputs)
        return self._calibrated(prediction, trace)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Run as :meth:`forward` does, without blocking."""
        trace: list[Any] = []
        with dspy.context(adapter=_asking(dspy.settings.adapter), trace=trace):
            prediction = await self.program.acall(**inputs)
        return self._calibrated(prediction, trace)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - DSPy's signature
        """Return the program's state, and the calibration as plain data."""
        # Nested, since DSPy leaves out the state of a program within another one that is marked as compiled.
        state = _State.of(self.calibration, self.threshold)
        return {"program": self.program.dump_state(json_mode=json_mode), "calibration": state.model_dump(mode="json")}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Take over a saved state.

        Raises:
            DataError: it has no calibration, or one of other labels.
        """
        try:
            found = _State.model_validate(state.get("calibration"))
        except ValidationError as error:
            raise DataError(
                f"The saved calibration is damaged: {error.errors()[0]['msg']}. Load a file that Calibrated saved."
            ) from error
        _check(found.labels, self.labels)
        self.program.load_state(state["program"], allow_unsafe_lm_state=allow_unsafe_lm_state)
        self._set(found)

    def _set(self, state: _State) -> None:
        # Plain attributes: content keys tell programs apart by these.
        self.labels = state.labels
        self.offsets = state.offsets
        self.temperature = state.temperature
        self.threshold = state.threshold

    def _calibrated(self, prediction: dspy.Prediction, trace: list[Any]) -> dspy.Prediction:
        predictor = dict(self.program.named_predictors())[self.target]
        _keep(trace)
        decided = [given for module, _, given in trace if module is predictor]
        logprobs = decided[-1].get(LABEL_LOGPROBS) if decided else None
        own = label_text(prediction.get(self.label_field))
        if logprobs is None or own not in self.labels:
            found = prediction.copy(confidence=None, abstained=self.threshold is not None)
        else:
            row = np.array([[logprobs[label] for label in self.labels]])
            [label], [confidence] = self.calibration.answer(row, [own])
            found = prediction.copy(
                **{
                    self.label_field: Decision.required(predictor.signature).values[label or own],
                    LABEL_LOGPROBS: logprobs,
                },
                confidence=float(confidence),
                abstained=self.threshold is not None and bool(confidence < self.threshold),
            )
        found.set_lm_usage(prediction.get_lm_usage())
        return found


def with_calibration(program: dspy.Module, found: Calibration | None, *, target: str) -> dspy.Module:
    """Return a compiled program within ``Calibrated``, as it was calibrated; the program where it was not.

    Args:
        program: the compiled program.
        found: its calibration; None where there is none.
        target: name of the deciding predictor.
    """
    if found is None:
        return program
    side = found.compiled
    threshold = None if side.abstention is None else side.abstention.threshold
    return Calibrated(program, side.offsets, threshold=threshold, target=target)


class _State(BaseModel):
    """What ``Calibrated`` saves of itself."""

    model_config = ConfigDict(extra="forbid")

    labels: tuple[str, ...]
    offsets: tuple[float, ...]
    temperature: float = Field(gt=0.0)
    threshold: float | None = Field(ge=0.0, le=1.0)

    @model_validator(mode="after")
    def _one_offset_a_label(self) -> _State:
        if len(self.offsets) != len(self.labels):
            raise ValueError(f"{len(self.offsets)} offsets do not go with {len(self.labels)} labels")
        return self

    @classmethod
    def of(cls, offsets: Offsets, threshold: float | None) -> _State:
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise DataError(f"threshold={threshold} is no confidence. Give one from 0 to 1, or None.")
        return cls(labels=offsets.labels, offsets=offsets.values, temperature=offsets.temperature, threshold=threshold)


def _task(program: dspy.Module, target: str | None) -> Task:
    decisions = {name: Decision.of(predictor.signature) for name, predictor in program.named_predictors()}
    found = {
        name: decision
        for name, decision in decisions.items()
        if decision is not None and not decision.several and target in (None, name, decision.field)
    }
    if len(found) != 1:
        which = ", ".join(f"{name} ({decision.field})" for name, decision in found.items()) or "none"
        raise DataError(
            f"Calibrated needs one predictor whose only output is a label, and found {which}. Name one with target=, "
            "and give it an output of type Literal, Enum or bool, without reasoning."
        )
    [(name, decision)] = found.items()
    return Task(predictor=name, label_field=decision.field, labels=decision.labels, inputs=())


def _check(labels: Sequence[str], expected: Sequence[str]) -> None:
    if sorted(labels) != sorted(expected):
        raise DataError(
            f"The offsets are of the labels {', '.join(labels)}, and the program decides between "
            f"{', '.join(expected)}. Fit offsets for this program."
        )


def _asking(configured: dspy.Adapter | None) -> LabelAdapter:
    if isinstance(configured, LabelAdapter):
        return configured.asking_logprobs()
    return LabelAdapter(logprobs=True, fallback=configured)


def _keep(trace: list[Any]) -> None:
    """Hand the calls on to the trace that the caller reads."""
    outer = dspy.settings.trace
    if outer is not None and dspy.settings.max_trace_size > 0:
        outer.extend(trace)
        del outer[: max(0, len(outer) - dspy.settings.max_trace_size)]
