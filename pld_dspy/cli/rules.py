"""pld-dspy rules: show the rules of a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..errors import DataError
from .options import RunArgument
from .streams import escape_control_characters

if TYPE_CHECKING:
    from ..rules import MicroRule, Rule
    from ..search.search_result import Rung


def rules(
    run: RunArgument,
    *,
    style: Annotated[
        Literal["text", "yaml", "prompt"],
        typer.Option("--format", help="prompt: the compiled predictor's full instructions."),
    ] = "text",
    bench: Annotated[bool, typer.Option("--bench", help="Show the rules left out as well.")] = False,
    why: Annotated[str | None, typer.Option(metavar="RULE_ID", help="Show the examples behind one rule.")] = None,
    tokens: Annotated[
        int | None, typer.Option(min=0, help="Show the best list of at most so many prompt tokens instead.")
    ] = None,
) -> None:
    """Show the rules of a finished run, in order, with their labels and support."""
    from ..ledger.jsonl import read_jsonl
    from ..rules import MicroRule, supporting
    from ..run.folder import RunFolder
    from ..run.result import PLDResult
    from .printing import print_unchecked, rule_lines

    if why is not None and style == "prompt":
        raise DataError(
            "--format prompt shows all rules, and --why the examples behind one rule. Leave out one, or give --format "
            "text or yaml."
        )
    if tokens is not None and (why is not None or style == "prompt"):
        raise DataError("--tokens shows a shorter list. Leave out --why, and give --format text or yaml.")
    result = PLDResult.load(run)
    print_unchecked(run)
    by_id = {rule.id: rule for rule in (*result.rules.rules, *result.bench)}
    if why is not None:
        if why not in by_id:
            raise DataError(f"{run} has no rule {why!r}. It has {', '.join(by_id)}.")
        examples = supporting(by_id[why], read_jsonl(RunFolder(run).micro_rules, MicroRule))
        show = _why_yaml if style == "yaml" else _why_text
        typer.echo(show(by_id[why], examples))
        return
    if style == "prompt":
        typer.echo(result.instructions)
        return
    chosen = result.rules if tokens is None else result.at_budget(tokens=tokens)
    used = {rule.id for rule in chosen.rules}
    left = [rule for name, rule in by_id.items() if name not in used]
    if style == "yaml":
        typer.echo(chosen.to_yaml(left if bench else ()), nl=False)
        return
    whose = "These rules do not" if result.rules.rules else "No rule set could"
    lines = [] if result.improved else [f"{whose} beat the unchanged student on validation."]
    lines += [] if tokens is None else [_about_shorter(result.rung(tokens=tokens), tokens)]
    if tokens is not None and (pinned := [rule.id for rule in chosen.rules if rule.pin]):
        lines.append(f"Pinned, so kept at any limit: {', '.join(pinned)}.")
    lines += rule_lines(chosen.rules)
    lines += ["", "On the bench:" if left else "Nothing is on the bench.", *rule_lines(left)] if bench else []
    typer.echo("\n".join(lines))


def _about_shorter(rung: Rung | None, tokens: int) -> str:
    """Say what the figure of a list of at most ``tokens`` prompt tokens rests on."""
    if rung is None:
        return f"The search knows no list of rules within {tokens} tokens that is worth its place, or fitted no model."
    rests = (
        "the student was asked all examples under it" if rung.asked else "by the search's model: never asked in full"
    )
    return f"{rung.tokens} prompt tokens, expected {rung.expected:.3f} on validation; {rests}."


def _why_text(rule: Rule, examples: Sequence[MicroRule]) -> str:
    """Return a rule's text, and the examples, rationales and micro-rules that support it."""
    lines = [rule.text]
    for one in examples:
        lines += ["", f"{one.example_id}: {one.label}", *(f"  {name}: {value}" for name, value in one.inputs.items())]
        lines += [f"  why: {one.rationale}", f"  rule: {one.rule}"]
    return "\n".join(map(escape_control_characters, lines))


def _why_yaml(rule: Rule, examples: Sequence[MicroRule]) -> str:
    """Return the same as YAML: the rule as in rules.yaml, and the examples that support it."""
    from ..rules import RuleSet, write_yaml

    document = {
        "rules": RuleSet(rules=(rule,)).document()["rules"],
        "examples": [one.model_dump(mode="json") for one in examples],
    }
    return write_yaml(document, width=100).rstrip()
