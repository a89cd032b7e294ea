"""PLD's settings as plain data: nested for config.yaml, flat for MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..ledger.keys import plain

OWN = ("target", "calibrate", "error_rate", "max_errors", "context_tokens", "seed")
CONFIGS = ("search", "induce", "resolve")


def flat_settings(pld: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Return the settings of a PLD, given its attributes, by name; those of a config as ``CONFIG_NAME``."""
    configs = {f"{config}_{name}": value for config in (*CONFIGS, "budget") for name, value in pld[config] or ()}
    return {name: plain(value) for name, value in {**_own(pld), **configs}.items()}


def nested_settings(pld: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return two sections of config.yaml, given the attributes of a PLD.

    ``settings`` holds what constructors take; ``code`` names, or has digests of, what YAML cannot hold.
    """
    settings: dict[str, Any] = {name: plain(value) for name, value in _own(pld).items()}
    code = dict(pld["objective"].code)
    for config in CONFIGS:
        fields = dict(pld[config] or ())
        data = {name: value for name, value in fields.items() if _is_data(value)}
        settings[config] = None if pld[config] is None else data
        code |= {f"{config}.{name}": str(plain(value)) for name, value in fields.items() if name not in data}
    return {"settings": settings, "code": code}


def _own(pld: Mapping[str, Any]) -> dict[str, Any]:
    objective = pld["objective"]
    return {"objective": objective.choice, "metric": objective.metric, **{name: pld[name] for name in OWN}}


def _is_data(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_data, value))
    return value is None or isinstance(value, (str, int, float, bool))
