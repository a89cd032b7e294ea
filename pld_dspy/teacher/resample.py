"""Resample: ask a program the same again and get other answers, since a teacher's wordings differ from call to call."""

from __future__ import annotations

from typing import Any

import dspy

TEMPERATURE = 0.7
"""Temperature of further draws where the teacher's own is 0: it would repeat itself."""


def resampled(program: dspy.Module, draw: int, *, lm: dspy.BaseLM | None) -> dspy.Module:
    """Return the program for draw 0, and for a further draw a copy whose predictors sample anew.

    The number is part of the sampling settings (DSPy's ``rollout_id``), which are part of a ledger's keys: a second
    run finds the answers of the first, and no two draws share one.

    Args:
        program: any DSPy module; not changed.
        draw: number of the draw, from 0.
        lm: runs predictors without an LM of their own; the configured one where None.
    """
    if not draw:
        return program
    copied = program.deepcopy()
    pairs = zip(program.named_sub_modules(dspy.Predict), copied.named_sub_modules(dspy.Predict), strict=True)
    for (_, own), (_, predictor) in pairs:
        predictor.lm = own.lm  # a copy of an LM would hold a copy of its history
        settings = {**getattr(own.lm or lm or dspy.settings.lm, "kwargs", {}), **own.config}
        sampling: dict[str, Any] = {"rollout_id": (settings.get("rollout_id") or 0) + draw}
        if settings.get("temperature") == 0:  # one that is not set is the provider's, and above 0
            sampling["temperature"] = TEMPERATURE
        if settings.get("seed") is not None:
            sampling["seed"] = settings["seed"] + draw
        predictor.config = {**own.config, **sampling}
    return copied
