"""PLD's settings as plain data: nested for config.yaml, flat for MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from pydantic import BaseModel

from ..ledger.keys import plain

Config: TypeAlias = Any
"""A settings object, such as ``SearchConfig``; None where its stage is left out."""


def flat_settings(own: Mapping[str, Any], **configs: Config) -> dict[str, str | int | float | bool | None]:
    """Return PLD's own settings, and those of each config as ``CONFIG_NAME``; code is given by its name."""
    nested = {f"{prefix}_{name}": value for prefix, config in configs.items() for name, value in _fields(config)}
    return {name: plain(value) for name, value in {**own, **nested}.items()}


def nested_settings(own: Mapping[str, Any], **configs: Config) -> dict[str, dict[str, Any]]:
    """Return ``settings``, which the configs' constructors read back from YAML, and ``code``, the names of the rest.

    ``code`` has what YAML cannot hold, such as an embedder, by dotted name.
    """
    settings: dict[str, Any] = {name: plain(value) for name, value in own.items()}
    code = {}
    for prefix, config in configs.items():
        settings[prefix] = None if config is None else {}
        for name, value in _fields(config):
            if _is_data(value):
                settings[prefix][name] = value
            else:
                code[f"{prefix}.{name}"] = plain(value)
    return {"settings": settings, "code": code}


def _fields(config: Config) -> list[tuple[str, Any]]:
    if config is None:
        return []
    return list(config) if isinstance(config, BaseModel) else list(asdict(config).items())


def _is_data(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_data, value))
    return value is None or isinstance(value, (str, int, float, bool))
