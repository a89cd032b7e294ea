"""Content keys: digests of everything that decides what a program answers to an input."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Mapping
from typing import Any

import dspy

from ..errors import is_secret, remember_secrets
from ..local.lm import LocalLM
from .content import content, source
from .dspy_names import BOOKKEEPING, default_adapter

# LM settings for the connection; they decide no answer, and some are secret. They never enter a key or a file.
_CONNECTION = frozenset({"api_base", "base_url", "api_version", "model_list", "azure_ad_token", "extra_query"})
_SCALARS = (str, int, float, bool, type(None))
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def digest(value: Any) -> str:
    """Return a short digest of a value; equal values give equal digests in every process."""
    text = json.dumps(content(value), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def lm_settings(lm: dspy.BaseLM | None) -> dict[str, Any]:
    """Return the settings of an LM that decide its answers: model, type and sampling."""
    if lm is None:
        return {}
    remember_secrets(lm.kwargs)
    sampling = {
        # By name alone what is no data, such as a function that gets a token: it may hold a secret.
        key: value if _is_plain(value) or isinstance(value, type) else type(value).__qualname__
        for key, value in without_connection(lm.kwargs).items()
    }
    server = {"server": "llama.cpp"} if isinstance(lm, LocalLM) else {}  # decides how answers are constrained
    return {"model": lm.model, "type": lm.model_type, **server, **sampling}


def lm_of(program: dspy.Module, lm: dspy.BaseLM | None) -> dspy.BaseLM | None:
    """Return the first LM that is bound to a predictor, if all are bound to one; else ``lm``. Calls have its price."""
    bound = [predictor.lm for predictor in program.predictors()]
    return bound[0] if bound and all(bound) else lm


def unconnected_lm(settings: Mapping[str, Any]) -> dspy.LM:
    """Return an LM with :func:`lm_settings`: it finds stored answers, and cannot be called."""
    given = {name: value for name, value in settings.items() if name not in ("type", "server")}
    if "server" in settings:
        given["context_tokens"] = sys.maxsize  # the texts were checked before they were asked about
    return (LocalLM if "server" in settings else dspy.LM)(model_type=settings["type"], **given)


def adapter_settings(adapter: dspy.Adapter | None) -> str:
    """Return an adapter's class and plain settings as text."""
    adapter = adapter or default_adapter()
    if "__repr__" in vars(type(adapter)):
        return _ADDRESS.sub("", repr(adapter))
    settings = without_connection(vars(adapter))
    plain = {key: value for key, value in sorted(settings.items()) if isinstance(value, _SCALARS)}
    return f"{type(adapter).__qualname__}({plain})"


def program_state(program: dspy.Module, *, lm: dspy.BaseLM | None) -> dict[str, Any]:
    """Return all that decides a program's answers, by part; ``lm`` is that of predictors bound to none."""
    modules = {}
    for name, module in program.named_sub_modules(dspy.Module):
        state: dict[str, Any] = {"code": _source(type(module))}
        if not isinstance(module, dspy.Predict):
            settings = {key: value for key, value in vars(module).items() if key not in BOOKKEEPING}
            state["settings"] = {key: value for key, value in settings.items() if _is_plain(value)}
        else:  # its other attributes decide no answer; one is a random id
            state |= {
                "signature": [
                    [name, _ADDRESS.sub("", repr(info.annotation)), info.json_schema_extra]
                    for name, info in module.signature.fields.items()
                ],
                "instructions": module.signature.instructions,
                "demos": [dict(demo) for demo in module.demos],
                "config": without_connection(module.config),
                "fields": module.fields,
                "lm": lm_settings(module.lm or lm),
            }
        modules[name] = state
    return modules


def without_connection(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without those of the connection, at any depth."""
    return {
        name: without_connection(value) if isinstance(value, Mapping) else value
        for name, value in settings.items()
        if name not in _CONNECTION and not is_secret(str(name))
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return _is_plain([*value, *value.values()])
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, _SCALARS)


def _source(cls: type) -> list[str]:
    """Return a class's name and the source of a user's own classes: an edited forward() must not get old answers."""
    own = (base for base in cls.__mro__ if base is not object and not base.__module__.startswith("dspy."))
    return [cls.__qualname__, *map(source, own)]


def plain(value: Any) -> str | int | float | bool | None:
    """Return a setting as YAML and MLflow can hold it: scalars as they are, anything else by its name."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, (dict, tuple)):
        return str(value)
    return getattr(value, "__name__", None) or type(value).__name__  # never str(): it may hold an address
