"""pld-dspy lint: what to look at in a run's rules before they go out."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from .options import RunArgument
from .streams import escape_control_characters


def lint(
    run: RunArgument,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list of findings and nothing else.")] = False,
) -> None:
    """List what a person should look at in the rules of a run's rules.yaml; no model is asked."""
    from ..audit.lint import lint_learned
    from ..ledger.jsonl import read_jsonl
    from ..release.edits import read_edits
    from ..rules import MicroRule
    from ..run.folder import RunFolder
    from ..run.result import PLDResult

    rules = read_edits(run)[0].rules
    findings = lint_learned(rules, PLDResult.load(run).labels, read_jsonl(RunFolder(run).micro_rules, MicroRule))
    if as_json:
        typer.echo(json.dumps([finding.model_dump() for finding in findings], ensure_ascii=False))
    else:
        for one in findings:
            typer.echo(escape_control_characters(f"{one.rule_id or 'all rules'}: {one.kind}: {one.text}"))
        typer.echo(f"Findings: {len(findings)}, rules: {len(rules)}.")
    if strict and findings:
        raise typer.Exit(1)
