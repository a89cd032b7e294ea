"""What the command line prints: a compile's estimate and outcome, a score, and rules."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ..calibrate.result import Abstention, Answered, Calibration
from ..compile.estimate import Estimate
from ..local.models import LocalModel
from ..rules import MicroRule, Rule, RuleSet, by_example
from ..run.result import PLDResult
from ..run.tracking import Recorder
from ..scoring.difference import Difference
from ..scoring.score import Score
from .terminal import shown

PIPE_WIDTH = 120
"""Columns of a table that is not printed on a terminal."""

_PASSWORD = re.compile(r"(?<=://)([^/@:\s]*):[^/\s]*(?=@)")


def console() -> Console:
    """Return a console on standard output that takes texts as they are: rules and data are no markup."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(width=width, markup=False, highlight=False, emoji=False)


def print_result(out: Console, result: PLDResult) -> None:
    """Print baseline against compiled, the rules in order, costs by stage, and notes."""
    out.print(_comparison_table(result))
    for line in _accuracy_lines(result):
        out.print(line, soft_wrap=True)
    if result.improved:  # where nothing improved, a note says so
        tokens = "" if result.rule_tokens is None else f", {result.rule_tokens:.0f} prompt tokens a call"
        out.print(f"{len(result.rules)} of {result.counts['rules']} rules, in order{tokens}:\n")
        out.print("\n".join(rule_lines(result.rules.rules)), end="\n\n", soft_wrap=True)
    if result.calibration is not None:
        _print_calibration(out, result.calibration)
    out.print(_cost_table(result))
    for note in result.notes:
        out.print(f"Note: {shown(note)}", soft_wrap=True)


def calibration_line(student: str, *, used: bool) -> str:
    """Return whether a score is with the run's calibration."""
    if used:
        return "With the run's calibration (calibration.json)."
    return f"Without the run's calibration, which was fitted for {shown(student)}."


def abstention_line(wanted: float | None, threshold: float | None, found: Answered) -> str:
    """Return what is answered with a threshold, and how often that is wrong; and how often without one."""
    rate = "No error rate was wanted" if wanted is None else f"Wanted error rate {wanted:g}"
    where = "no confidence promises it, so all is answered" if threshold is None else f"threshold {threshold:.3f}"
    wrong = "" if found.error_rate is None else f", error rate {found.error_rate:.3f} ({found.wrong} wrong)"
    return (
        f"{rate}, {where}: {found.answered} of {found.n} answered, coverage {found.coverage:.3f}{wrong}; if all are "
        f"answered, error rate {found.n_wrong / found.n:.3f} ({found.n_wrong} wrong)."
    )


def print_score(out: Console, score: Score) -> None:
    """Print macro-F1 and accuracy, and the figures of each label."""
    out.print(f"macro-F1 {_rate(score)}, accuracy {score.accuracy:.3f}, {score.n} examples, {score.failures} failed")
    table = _table("label", precision="right", recall="right", F1="right", examples="right")
    for label, row in score.per_label.items():
        table.add_row(shown(label), f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", str(row.n))
    out.print(table)


def print_estimate(out: Console, estimate: Estimate) -> None:
    """Print the upper bounds of calls and tokens by stage."""
    table = _table("stage", role="left", calls="right", prompt_tokens="right", answer_tokens="right")
    for stage in estimate.stages:
        counts = (f"{count:,}" for count in (stage.calls, stage.tokens_in, stage.tokens_out))
        table.add_row(stage.stage, stage.role, *counts)
    out.print(table)
    budget = estimate.budget
    capped = budget.student_calls is not None or budget.teacher_calls is not None
    caps = ", with the caps, which end all stages but the test" if capped else ""
    out.print(f"At most {estimate.student_calls:,} student and {estimate.teacher_calls:,} teacher calls{caps}.")
    if estimate.money is not None:
        out.print(f"At most {estimate.money:.2f} in the currency of the prices.")


def rule_lines(rules: Sequence[Rule]) -> Iterator[str]:
    """Yield two lines a rule: its number and text, then its id, labels, effect and support."""
    for number, rule in enumerate(rules, start=1):
        effect = "" if rule.effect is None else f", effect {rule.effect:+.3f}"
        labels = ", ".join(rule.labels)
        yield f"{number:>3}. {shown(rule.text)}"
        count = f"{len(rule.support)} example{'' if len(rule.support) == 1 else 's'}"
        yield f"     {shown(rule.id)}: {shown(labels)}{effect}, from {count}"


def why_lines(rule: Rule, micro_rules: Sequence[MicroRule]) -> Iterator[str]:
    """Yield a rule's text and the examples, rationales and micro-rules that support it."""
    yield shown(rule.text)
    by_id = by_example(rule, micro_rules)
    for example_id in rule.support:
        micro_rule = by_id.get(example_id)
        if micro_rule is None:
            continue
        yield ""
        yield f"{shown(example_id)}: {shown(micro_rule.label)}"
        yield from (f"  {name}: {shown(str(value))}" for name, value in micro_rule.inputs.items())
        yield f"  why: {shown(micro_rule.rationale)}"
        yield f"  rule: {shown(micro_rule.rule)}"


def why_yaml(rule: Rule, micro_rules: Sequence[MicroRule]) -> str:
    """Return what :func:`why_lines` tells as YAML: the rule as rules.yaml has it, and the examples that support it."""
    by_id = by_example(rule, micro_rules)
    document = {
        "rules": yaml.safe_load(RuleSet(rules=(rule,)).to_yaml())["rules"],
        "examples": [by_id[one].model_dump(mode="json") for one in rule.support if one in by_id],
    }
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))


def models_table(models: Sequence[tuple[LocalModel, Path | None]]) -> Table:
    """Return a table of models, each with the path of its weights where they are on this machine."""
    table = _table("name", size="right", licence="left", cached="left")
    table.add_column("path", overflow="fold")
    for model, path in models:
        size = f"{model.size / 1e9:.2f} GB"
        table.add_row(model.name, size, model.license, "yes" if path else "no", str(path or ""))
    return table


def mlflow_line(tracking: str | Recorder | None) -> str | None:
    """Return how to look at the run in MLflow; None where it was not recorded in a store that needs opening."""
    if not isinstance(tracking, str):
        return None
    import mlflow

    uri = mlflow.get_tracking_uri() if tracking == "mlflow" else tracking
    if uri.startswith("http"):
        return None
    return "MLflow: mlflow ui --backend-store-uri " + _PASSWORD.sub(r"\1:***", uri)


def _print_calibration(out: Console, found: Calibration) -> None:
    """Print both students with calibration beside them without, and what is answered with a threshold."""
    offsets = found.compiled.offsets
    kept = "no offsets pay" if offsets.gain is None else f"offsets win {_gain(offsets.gain)} out of fold"
    out.print(
        f"Calibrated on {found.n} training and validation examples; compiled, {kept}, temperature "
        f"{offsets.temperature:.2f}.",
        soft_wrap=True,
    )
    if found.difference is not None and found.difference_to_baseline is not None:
        out.print(_calibration_table(found))
        out.print(
            f"Difference by calibration {_gain(found.difference)}; compiled and calibrated against the unchanged "
            f"student {_gain(found.difference_to_baseline)}.",
            soft_wrap=True,
        )
    for line in _abstention_lines(found.compiled.abstention):
        out.print(line, soft_wrap=True)
    out.print()


def _calibration_table(found: Calibration) -> Table:
    headings = dict.fromkeys(("as it is", "calibrated", "calibration error", "error at 80% coverage"), "left")
    table = _table("test macro-F1", **headings, n="right")
    for name, side in (("unchanged", found.baseline), ("compiled", found.compiled)):
        if side.plain is not None and side.calibrated is not None:
            before, after = side.plain, side.calibrated
            table.add_row(
                name,
                _rate(before.score),
                _rate(after.score),
                f"{before.calibration_error:.3f} -> {after.calibration_error:.3f}",
                f"{before.error_at_80:.3f} -> {after.error_at_80:.3f}",
                str(after.score.n),
            )
    return table


def _abstention_lines(found: Abstention | None) -> Iterator[str]:
    """A line a split on what is answered; none where no error rate was wanted."""
    if found is not None:
        for name, split in (("Validation, out of fold", found.validation), ("Test", found.test)):
            if split is not None:
                yield f"{name}: {abstention_line(found.error_rate, found.threshold, split)}"


def _comparison_table(result: PLDResult) -> Table:
    table = _table("macro-F1", unchanged="left", compiled="left", difference="left", accuracy="left", n="right")
    for name, found in (("validation", result.validation), ("test", result.test)):
        if found is not None:
            before, after = found.baseline, found.compiled
            accuracy = f"{before.accuracy:.3f} -> {after.accuracy:.3f}"
            table.add_row(name, _rate(before), _rate(after), _gain(found.difference), accuracy, str(after.n))
    return table


def _accuracy_lines(result: PLDResult) -> Iterator[str]:
    """The paired difference of accuracy, on test where there is one; a table with it would outgrow a terminal."""
    name, found = ("validation", result.validation) if result.test is None else ("test", result.test)
    if (right := found.difference.accuracy) is not None:
        low, high = right.interval
        gain = f"{right.value:+.3f} [{low:+.2f}, {high:+.2f}], p = {right.p_value:.4f}"
        yield f"Difference in accuracy on {name} {gain}.\n"


def _cost_table(result: PLDResult) -> Table:
    table = _table(
        "stage", seconds="right", student_calls="right", teacher_calls="right", failed="right", tokens="right"
    )
    for stage, seconds in result.wall_times():
        costs = [stages[stage] for stages in result.costs.values() if stage in stages]
        calls = {role: f"{stages[stage].calls:,}" for role, stages in result.costs.items() if stage in stages}
        table.add_row(
            stage,
            f"{seconds:.1f}",
            calls.get("student", ""),
            calls.get("teacher", ""),
            str(sum(cost.failures for cost in costs)) if costs else "",
            f"{sum(cost.tokens_in + cost.tokens_out for cost in costs):,}" if costs else "",
        )
    return table


def _table(first: str, **columns: str) -> Table:
    """A table whose first column is text; the others are given with how they are aligned."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    for name, justify in columns.items():
        table.add_column(name.replace("_", " "), justify="right" if justify == "right" else "left")
    return table


def _rate(score: Score) -> str:
    low, high = score.interval
    return f"{score.macro_f1:.3f} [{low:.2f}, {high:.2f}]"


def _gain(difference: Difference) -> str:
    low, high = difference.interval
    return f"{difference.macro_f1:+.3f} [{low:+.2f}, {high:+.2f}], p = {difference.p_value:.4f}"
