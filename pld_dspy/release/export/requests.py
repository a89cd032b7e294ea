"""Bundles that hold the body of a request to an OpenAI-compatible server: openai, llama.cpp and vllm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...errors import RunError
from ...ledger.jsonl import write_whole
from ...student.constraints import label_grammar, label_schema
from ...student.decision import Decision
from .template import Template

CONSTRAINTS = ("grammar", "structured_outputs", "guided_choice", "guided_json")
"""Settings of a request's body that hold answers to labels as bare text."""


def settings_for(kind: str, template: Template, decision: Decision, *, bare: bool) -> dict[str, Any]:
    """Return the settings of a body for the server ``kind``, whose own constraint holds ``bare`` answers to labels.

    A JSON schema that was scored stays: all three servers know it.
    """
    own = {name: value for name, value in template.settings.items() if name not in CONSTRAINTS}
    if not bare or "response_format" in own or kind == "openai":
        return own
    if kind == "llama.cpp":
        return {**own, "grammar": label_grammar(decision.labels, several=decision.several)}
    name, value = ("json", label_schema(decision)) if decision.several else ("choice", list(decision.labels))
    return {**own, "structured_outputs": {name: value}, f"guided_{name}": value}  # from vLLM 0.11, and before


def write_request(folder: Path, template: Template, *, model: str, example: Mapping[str, str] | None) -> None:
    """Write request.json, example.json (the same for one example) and the client."""
    body = {"model": model, "messages": template.messages, **template.settings}
    write_json(folder / "request.json", body)
    client = files(__package__).joinpath("client.py.txt")  # a text here: it is a program of the bundle's reader
    write_whole(folder / "client.py", client.read_text(encoding="utf-8"))
    if example is not None:
        write_json(folder / "example.json", {**body, "messages": template.filled(example)})


def read_request(folder: Path, markers: Mapping[str, str]) -> Template:
    """Return the template in request.json."""
    body = read_json(folder / "request.json")
    settings = {name: value for name, value in body.items() if name not in ("model", "messages")}
    return Template(messages=body["messages"], markers=dict(markers), settings=settings)


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON that people can read."""
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """Return what a JSON file of a bundle holds; RunError where it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"Cannot read {path}: {error}. Export again.") from error
