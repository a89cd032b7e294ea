"""Calibrated: a program whose labelled decision is made with offsets, with a confidence, and which may abstain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dspy
import numpy as np
from pydantic import ValidationError

from ..errors import DataError
from ..ledger.call_program import call_program
from ..ledger.keys import digest
from ..scoring.f1 import Floats
from ..scoring.offsets import Offsets
from ..student.adapter import LabelAdapter
from ..student.compose import with_rules
from ..student.decision import Decision
from ..task.labels import LABEL_LOGPROBS, label_text
from ..task.task import Task, input_text
from .calibration import SavedCalibration
from .precedents import Precedents


class Calibrated(dspy.Module):
    """A program with one labelled decision, calibrated.

    The program runs as it is, under a ``LabelAdapter`` that asks for log-probabilities: the configured one, or one
    that leaves all other signatures to the configured adapter. Its prediction comes back with

    - the label field: the label of largest log-probability + offset; the program's own where all offsets are 0;
    - ``confidence``: the softmax, with the temperature, of these sums at that label, 0 to 1;
    - ``abstained``: whether the confidence is below the threshold. The label is given all the same;
    - ``label_logprobs``: the deciding predictor's, before the offsets;
    - with precedents, ``precedents``: the nearest labelled examples, each with id, label and cosine similarity, and
      ``notes`` where its micro-rule and rationale are known; ``evidence``: "classifier" and "nearest" -> label ->
      log-probability by all labelled examples and by the nearest; and ``weights``, of "student", "classifier" and
      "nearest".

    An answer without log-probabilities keeps its label and has the confidence None; it abstains if there is a
    threshold. ``save("x.json")`` and ``load`` keep the program's state and the calibration as plain JSON.

    Args:
        program: any DSPy module; a copy is kept, and the program never changed.
        offsets: as fitted by ``fit_offsets``; none (0, temperature 1) where None.
        threshold: confidence below which to abstain, 0 to 1, such as ``threshold_for`` gives; None never abstains.
        precedents: labelled examples to weigh the answer against and to cite; none where None.
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
        precedents: Precedents | None = None,
        target: str | None = None,
    ) -> None:
        super().__init__()
        task = _task(program, target)
        if threshold is not None and not 0.0 <= threshold <= 1.0:
            raise DataError(f"threshold={threshold} is no confidence. Give one from 0 to 1, or None.")
        self.program = with_rules(program, task, None)
        self.target = task.predictor
        self.label_field = task.label_field
        self.labels = task.labels
        self._apply(offsets or Offsets.none(task.labels), threshold, precedents)

    @property
    def calibration(self) -> Offsets:
        """The offsets and the temperature."""
        return Offsets(labels=self.labels, values=self.offsets, temperature=self.temperature)

    def forward(self, **inputs: Any) -> dspy.Prediction:
        """Run the program and calibrate its decision."""
        with _asking_logprobs() as trace:
            prediction = call_program(self.program, inputs)
        return self._calibrate(prediction, trace)

    async def aforward(self, **inputs: Any) -> dspy.Prediction:
        """Run as :meth:`forward` does, without blocking."""
        with _asking_logprobs() as trace:
            prediction = await self.program.acall(**inputs)
        return self._calibrate(prediction, trace)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - DSPy's signature
        """Return the program's state, and the calibration as plain data."""
        # Nested, since DSPy leaves out the state of a program within another one that is marked as compiled.
        saved = SavedCalibration(**dict(self.calibration), threshold=self.threshold)
        return {
            "program": self.program.dump_state(json_mode=json_mode),
            "calibration": saved.model_dump(mode="json", exclude={"gain", "error_rate"}),
            "precedents": self.precedents and self.precedents.model_dump(mode="json"),
        }

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Replace the program's state and the calibration by saved ones; DataError if the calibration does not fit."""
        try:
            saved = SavedCalibration.model_validate(state.get("calibration"))
            known = state.get("precedents")
            precedents = None if known is None else Precedents.model_validate(known)
        except ValidationError as error:
            raise DataError(
                f"The saved calibration is damaged: {error.errors()[0]['msg']}. Load a file that Calibrated saved."
            ) from error
        self._apply(saved, saved.threshold, precedents)
        self.program.load_state(state["program"], allow_unsafe_lm_state=allow_unsafe_lm_state)

    def _apply(self, offsets: Offsets, threshold: float | None, precedents: Precedents | None) -> None:
        for name, labels in (("offsets", offsets.labels), ("precedents", precedents.labels if precedents else ())):
            if labels and sorted(labels) != sorted(self.labels):
                raise DataError(
                    f"The {name} are of the labels {', '.join(labels)}, and the program decides between "
                    f"{', '.join(self.labels)}. Fit {name} for this program."
                )
        # Plain attributes: content keys tell programs apart by these.
        self.labels = offsets.labels
        self.offsets = offsets.values
        self.temperature = offsets.temperature
        self.threshold = threshold
        self.precedents = precedents
        self.precedents_digest = None if precedents is None else digest(precedents.model_dump(mode="json"))

    def _calibrate(self, prediction: dspy.Prediction, trace: list[Any]) -> dspy.Prediction:
        predictor = dict(self.program.named_predictors())[self.target]
        calls = [(read, given) for module, read, given in trace if module is predictor]
        logprobs = calls[-1][1].get(LABEL_LOGPROBS) if calls else None
        own = label_text(prediction.get(self.label_field))
        cited: dict[str, Any] = {}
        if logprobs is None or own not in self.labels:
            calibrated = prediction.copy(confidence=None, abstained=self.threshold is not None)
        else:
            row = np.array([[logprobs[label] for label in self.labels]])
            if self.precedents is not None:
                row, cited = self._weigh(self.precedents, row, input_text(calls[-1][0]))
                own = self.labels[int(row.argmax())]
            [label], [confidence] = self.calibration.answer(row, [own])
            value = Decision.required(predictor.signature).values[label or own]
            calibrated = prediction.copy(
                **{self.label_field: value, LABEL_LOGPROBS: logprobs, **cited},
                confidence=float(confidence),
                abstained=self.threshold is not None and bool(confidence < self.threshold),
            )
        calibrated.set_lm_usage(prediction.get_lm_usage())
        return calibrated

    def _weigh(self, precedents: Precedents, logprobs: Floats, text: str) -> tuple[Floats, dict[str, Any]]:
        """Return the 1 x C log-probabilities of both sides, and what the prediction says of the precedents' side."""
        vectors = precedents.classifier.embed([text])
        columns = [precedents.labels.index(label) for label in self.labels]
        evidence = precedents.evidence_of(vectors)[:, columns]
        said = {
            side: dict(zip(self.labels, row, strict=True))
            for side, row in zip(("classifier", "nearest"), evidence[0].T.round(4).tolist(), strict=True)
        }
        cited = {"precedents": precedents.cite(vectors), "evidence": said, "weights": precedents.weights.model_dump()}
        return precedents.combined(logprobs, evidence), cited


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


@contextmanager
def _asking_logprobs() -> Iterator[list[Any]]:
    """Ask for log-probabilities within; give the trace of the calls, which the caller's trace takes in after."""
    configured, outer = dspy.settings.adapter, dspy.settings.trace
    trace: list[Any] = []
    own = isinstance(configured, LabelAdapter)
    adapter = configured.asking_logprobs() if own else LabelAdapter(logprobs=True, fallback=configured)
    with dspy.context(adapter=adapter, trace=trace):
        yield trace
    if outer is not None and dspy.settings.max_trace_size > 0:
        outer.extend(trace)
        del outer[: max(0, len(outer) - dspy.settings.max_trace_size)]
