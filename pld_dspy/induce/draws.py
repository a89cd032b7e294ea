"""Draws: the same clusters put to the teacher several times, since its wordings differ from one answer to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

TEMPERATURE = 0.7
"""Of further draws, where the teacher's own is 0: it would repeat itself."""


def redrawn(teacher: dspy.Module, number: int, lm: dspy.BaseLM | None) -> dspy.Module:
    """Return the teacher as it answers the ``number``-th time, from 0: itself, then copies that sample anew.

    The number is part of the sampling settings (DSPy's ``rollout_id``), which a ledger's keys hold: a second run finds
    the answers of the first, and no two draws share one.

    Args:
        teacher: any DSPy module; not changed.
        number: of the draw.
        lm: what its predictors run on where they are bound to none; the configured one where None.
    """
    if not number:
        return teacher
    copied = teacher.deepcopy()
    pairs = zip(teacher.named_sub_modules(dspy.Predict), copied.named_sub_modules(dspy.Predict), strict=True)
    for (_, own), (_, predictor) in pairs:
        predictor.lm = own.lm  # a copy of an LM would hold a copy of its history
        settings = {**getattr(own.lm or lm or dspy.settings.lm, "kwargs", {}), **own.config}
        predictor.config = {**own.config, **_sampling(settings, number)}
    return copied


def _sampling(settings: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the settings of a further draw; a temperature that is not set is the provider's, and above 0."""
    found: dict[str, Any] = {"rollout_id": (settings.get("rollout_id") or 0) + number}
    if settings.get("temperature") == 0:
        found["temperature"] = TEMPERATURE
    if settings.get("seed") is not None:
        found["seed"] = settings["seed"] + number
    return found
