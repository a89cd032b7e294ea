"""pld-dspy lint: what to look at in a run's rules before they go out."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .options import AsJson, RunArgument
from .streams import escape_control_characters


def lint(
    run: RunArgument,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is found.")] = False,
    as_json: AsJson = False,
) -> None:
    """List what a person should look at in the rules of a run's rules.yaml; no model is asked."""
    from ..audit.lint import lint_learned
    from ..errors import RunError
    from ..ledger.jsonl import read_jsonl
    from ..rules import MicroRule, RuleSet
    from ..run.folder import RunFolder
    from ..run.result import PLDResult

    folder, labels = RunFolder(run), PLDResult.load(run).labels
    try:
        rules = RuleSet.from_yaml(folder.rules.read_text(encoding="utf-8")).rules
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"Cannot read {folder.rules}: {error}. Compile again.") from error
    findings = lint_learned(rules, labels, read_jsonl(folder.micro_rules, MicroRule))
    if as_json:
        typer.echo(json.dumps([finding.model_dump() for finding in findings], ensure_ascii=False))
    else:
        for one in findings:
            typer.echo(escape_control_characters(f"{one.rule_id or 'all rules'}: {one.kind}: {one.text}"))
        typer.echo(f"Findings: {len(findings)}, rules: {len(rules)}.")
    if strict and findings:
        raise typer.Exit(1)
