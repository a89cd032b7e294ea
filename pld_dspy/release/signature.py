"""signature.json: who stands for a run, and the digests of all that they stand for. A record, not cryptography."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from ..errors import DataError, RunError, Stored
from ..ledger.jsonl import write_whole
from ..local.models import CATALOGUE, DEFAULT_MODEL
from ..run.folder import RunFolder
from ..run.result import PLDResult
from .edits import unchecked
from .trail import append, file_digests, last_digest, now, read_acceptances, trail_faults


class Signature(Stored):
    """What signature.json holds."""

    by: str
    when: str
    comment: str
    files: dict[str, str]  # rules, program, calibration, precedents and figures: name of the file -> SHA-256 digest
    data: dict[str, str]  # split -> fingerprint and number of rows, as in config.yaml
    accepted: dict[str, str] = Field(default={})  # id of a rule that was accepted on the review page -> by whom
    model: dict[str, Any]  # the student's spec and settings; for a model known by name, the digest of its weights
    trail: str  # the digest of the last line of audit.jsonl before the signature's own


def sign(folder: Path, *, by: str, comment: str = "") -> Signature:
    """Sign a finished run as it is now, and return what was written into signature.json; an earlier one is replaced.

    Raises:
        DataError: ``by`` is empty, or rules.yaml or audit.jsonl cannot be read.
        RunError: the run is not finished, has edits that were not rechecked, or its program does not follow its rules.
    """
    if not by.strip():
        raise DataError("A signature needs a name. Give it with --by NAME.")
    if edits := unchecked(folder):
        raise RunError(
            f"{RunFolder(folder).rules} has edits that were not rechecked ({', '.join(one.rule_id for one in edits)}). "
            f"Run pld-dspy recheck {folder} first, or take the edits back."
        )
    check_program(folder, PLDResult.load(folder))
    accepted, last = _accepted(folder), last_digest(folder)
    signature = Signature(by=by.strip(), when=now(), comment=comment, accepted=accepted, trail=last, **_signed(folder))
    write_whole(RunFolder(folder).signature, signature.model_dump_json(indent=2) + "\n")
    append(folder, "signed", by=signature.by, comment=comment)
    return signature


def read_signature(folder: Path) -> Signature | None:
    """Return the signature of a run, whether it still holds or not; None without one, RunError if it is damaged."""
    path = RunFolder(folder).signature
    if not path.is_file():
        return None
    try:
        return Signature.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise RunError(f"{path} is damaged: {error.errors()[0]['msg']}. Sign the run again.") from error


def signature_faults(folder: Path) -> list[str]:
    """Return why the run is not validly signed, one sentence each; empty where the signature holds.

    RunError where the folder is no finished run or the signature is damaged.
    """
    PLDResult.load(folder)
    signature = read_signature(folder)
    if signature is None:
        return [f"{folder} is not signed. Read its rules and sign it: pld-dspy sign {folder} --by NAME."]
    return [*_differences(signature, _signed(folder)), *trail_faults(folder, last=signature.trail)]


def require_signature(folder: Path) -> None:
    """Return where the run is signed and nothing signed has changed since; else RunError with the reasons."""
    if faults := signature_faults(folder):
        raise RunError(" ".join(faults))


def _accepted(folder: Path) -> dict[str, str]:
    found = read_acceptances(folder)
    rules = PLDResult.load(folder).rules.rules
    return {rule.id: found[rule.id, rule.text].by for rule in rules if (rule.id, rule.text) in found}


def _signed(folder: Path) -> dict[str, Any]:
    """Return what a signature covers, as it is now."""
    settings = RunFolder(folder).settings()
    spec = ((settings.get("command") or {}).get("student") or {}).get("spec")
    name = DEFAULT_MODEL if spec == "local" else str(spec).removeprefix("local:")
    model = {"spec": spec, **((settings.get("student") or {}).get("lm") or {})}
    if name in CATALOGUE:
        model["weights"] = CATALOGUE[name].sha256
    return {"files": file_digests(folder), "data": settings.get("data") or {}, "model": model}


def _differences(signature: Signature, current: dict[str, Any]) -> Iterator[str]:
    names = {"files": "the file", "data": "the fingerprint of the data", "model": "the model's setting"}
    for field, title in names.items():
        signed, found = getattr(signature, field), current[field]
        for name in {**signed, **found}:
            if signed.get(name) != found.get(name):
                what = "is missing" if name not in found else "is new" if name not in signed else "has changed"
                yield f"{title[0].upper()}{title[1:]} {name} {what} since {signature.by} signed on {signature.when}."


def check_program(folder: Path, result: PLDResult) -> None:
    """Raise RunError where program.json does not hold the instructions of ``result``, which is that of the folder."""
    path = RunFolder(folder).program
    try:
        state = json.loads(path.read_bytes())
        held = state.get(result.predictor, state)["signature"]["instructions"]  # a bare predictor is its own state
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"Cannot load {path}: {type(error).__name__}: {error}. Compile again.") from error
    if held != result.instructions:
        raise RunError(
            f"{path} does not follow the rules in {RunFolder(folder).result.name}: it was changed by hand. Restore it, "
            "or compile again; rules are edited in rules.yaml."
        )
