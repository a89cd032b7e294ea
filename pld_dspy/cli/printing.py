"""What commands print: a compile's estimate and result, a score, and rules."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from ..calibrate.calibration import Abstention, Answered, Calibration, SavedCalibration
from ..errors import PLDError
from ..release.edits import unchecked
from ..rules import MICRO_RULE, Rule
from ..run.result import PLDResult
from ..scoring.baselines import Baselines
from ..scoring.score import NO_ANSWER, Score
from ..scoring.slices import LEAST, Slice
from ..task.task import cut
from .streams import escape_control_characters

if TYPE_CHECKING:
    from ..compile.estimate import Estimate
    from ..release.recheck import SplitRecheck
    from .finished_run import Wrong

SHOWN, LONG = 70, 400
"""Characters of an example's text that a table shows."""


def console() -> Console:
    """Return a console on standard output that prints texts as they are: no markup in rules or data takes effect."""
    return Console(width=None if sys.stdout.isatty() else 120, markup=False, highlight=False, emoji=False)


def print_result(out: Console, result: PLDResult) -> None:
    """Print unchanged against compiled student, the rules in order, costs by stage, and notes."""
    table = table_of(["macro-F1", "unchanged", "compiled", "difference", "accuracy"], ["n"])
    for name, found in (("validation", result.validation), ("test", result.test)):
        if found is not None:
            before, after = found.baseline, found.compiled
            accuracies = f"{before.accuracy:.3f} -> {after.accuracy:.3f}"
            table.add_row(name, _rate(before), _rate(after), str(found.difference), accuracies, str(after.n))
    out.print(table)
    name, found = ("validation", result.validation) if result.test is None else ("test", result.test)
    accuracy = found.difference.accuracy  # in the table, it would not fit on a terminal
    out.print(f"Difference in accuracy on {name} {accuracy}.\n", soft_wrap=True)
    if result.rules:  # otherwise a note says that nothing improved
        tokens = "" if result.rule_tokens is None else f", {result.rule_tokens:.0f} prompt tokens per call"
        demos = f" and {len(result.rules.demos)} demonstrations" if result.rules.demos else ""
        out.print(f"{len(result.rules)} of {result.counts['rules']} rules, in order{demos}{tokens}:\n")
        out.print("\n".join(rule_lines(result.rules.rules)), end="\n\n", soft_wrap=True)
        for demo in result.rules.demos:
            out.print(escape_control_characters(f"     shown: {demo.example_id}, {demo.label}"), soft_wrap=True)
    if result.calibration is not None:
        _print_calibration(out, result.calibration)
    if result.baselines is not None:
        out.print(_baseline_table(result.baselines))
    out.print(_cost_table(result))
    for note in result.notes:
        out.print(f"Note: {escape_control_characters(note)}", soft_wrap=True)


def print_estimate(out: Console, estimate: Estimate) -> None:
    """Print the upper bounds of calls and tokens by stage, and what they cannot tell."""
    table = table_of(["stage", "role"], ["calls", "prompt tokens", "answer tokens"])
    for stage in estimate.stages:
        table.add_row(stage.stage, stage.role, f"{stage.calls:,}", f"{stage.tokens_in:,}", f"{stage.tokens_out:,}")
    out.print(table)
    out.print(str(estimate), soft_wrap=True)


def print_baselines(out: Console, found: Baselines) -> None:
    """Print what simple ways make of the labels, the learning curve, and how to read both."""
    out.print(f"Learned from {found.labels} labelled examples; texts to vectors by {found.embedder}.", soft_wrap=True)
    out.print(_baseline_table(found))
    curve = table_of([], ["labels", f"classifier's {found.split} macro-F1"])
    for size, figure in found.curve:
        curve.add_row(f"{size:,}", f"{figure:.3f}")
    out.print(curve)
    for sentence in found.advice:
        out.print(sentence, soft_wrap=True)


def print_score(out: Console, score: Score) -> None:
    """Print macro-F1 and accuracy, and the figures of each label."""
    out.print(f"macro-F1 {_rate(score)}, accuracy {score.accuracy:.3f}, {score.n} examples, {score.failures} failed")
    table = table_of(["label"], ["precision", "recall", "F1", "examples"])
    for label, row in score.per_label.items():
        figures = (f"{value:.3f}" for value in (row.precision, row.recall, row.f1))
        table.add_row(escape_control_characters(label), *figures, str(row.n))
    out.print(table)


def print_slices(out: Console, column: str, slices: Sequence[Slice]) -> None:
    """Print the figures of each value of a column."""
    table = table_of([escape_control_characters(column), "macro-F1"], ["accuracy", "examples"])
    table.add_column("labels")
    for row in slices:
        pooled = f" ({len(row.pooled)} with fewer than {LEAST} examples)" if row.pooled else ""
        labels = ", ".join(f"{label} {n}" for label, n in row.labels.items())
        cells = (row.value + pooled, _rate(row), f"{row.accuracy:.3f}", str(row.n), labels)
        table.add_row(*map(escape_control_characters, cells))
    out.print(table)


def print_wrong(out: Console, wrong: Sequence[Wrong]) -> None:
    """Print the examples that were answered wrong."""
    table = table_of(["example", "gold", "answer", "text"])
    for one in wrong:
        cells = (one.example, one.gold, one.answer or NO_ANSWER, cut(one.text, LONG))
        table.add_row(*map(escape_control_characters, cells))
    out.print(table)


def print_recheck(out: Console, split: str, found: SplitRecheck) -> None:
    """Print what edits of the rules did on one split: the difference, the answers that changed, large changes of F1."""
    before, after = found.before.score, found.after.score
    out.print(
        f"\n{split}: macro-F1 {_rate(before)} -> {_rate(after)}, difference {found.difference}; accuracy "
        f"{before.accuracy:.3f} -> {after.accuracy:.3f}; {after.n} examples, {after.failures} failed.",
        soft_wrap=True,
    )
    if found.difference.rests_on_few:
        out.print("So few answers changed that the interval is too narrow: go by the p-value.")
    if not found.flips:
        out.print("No answer changed.")
    else:
        verdicts = Counter(flip.verdict for flip in found.flips)
        right, wrong = verdicts["now right"], verdicts["now wrong"]
        out.print(f"Changed answers: {len(found.flips)}, {right} now right, {wrong} now wrong.")
        for flip in found.flips:
            answers = f"{flip.before or NO_ANSWER} -> {flip.after or NO_ANSWER}, gold {flip.gold}"
            rules = f"edited rules about these labels: {', '.join(flip.rules) or 'none'}"
            head = f"{flip.example}: {', '.join(filter(None, (answers, flip.verdict)))}; {rules}"
            for line in (head, f"    {cut(flip.text, LONG)}"):
                out.print(escape_control_characters(line), soft_wrap=True)
    for label, (old, new) in found.large.items():
        out.print(escape_control_characters(f"F1 of {label}: {old:.3f} -> {new:.3f}"), soft_wrap=True)


def print_unchecked(run: Path) -> None:
    """Say on stderr that rules.yaml has edits that were not rechecked, or cannot be read: what is shown is without."""
    try:
        edits = ", ".join(one.rule_id for one in unchecked(run))
    except PLDError as error:
        typer.echo(escape_control_characters(str(error)), err=True)
        return
    if edits:
        said = f"rules.yaml has edits that were not rechecked ({edits}); this is without them."
        typer.echo(escape_control_characters(said), err=True)


def rule_lines(rules: Sequence[Rule]) -> Iterator[str]:
    """Yield a rule's number and text, then its id, labels and support, then its reason if it has one."""
    for number, rule in enumerate(rules, start=1):
        count = f"{len(rule.support)} example{'' if len(rule.support) == 1 else 's'}"
        yield escape_control_characters(f"{number:>3}. {rule.text}")
        if len(rule.support) > 1 and rule.origins and rule.origins[rule.chosen] == MICRO_RULE:
            count += ", in the words of one"
        settled = ", pinned" if rule.pin else ", banned" if rule.ban else ""
        yield escape_control_characters(f"     {rule.id}: {', '.join(rule.labels)}, from {count}{settled}")
        if rule.reason:
            yield escape_control_characters(f"     why: {rule.reason}")


def abstention_line(settings: Abstention | SavedCalibration, found: Answered) -> str:
    """Return how much is answered with a threshold, and the error rates with and without it."""
    wanted, threshold = settings.error_rate, settings.threshold
    rate = "No error rate was wanted" if wanted is None else f"Wanted error rate {wanted:g}"
    where = "no threshold can promise it, so all are answered" if threshold is None else f"threshold {threshold:.3f}"
    wrong = "" if found.error_rate is None else f", error rate {found.error_rate:.3f} ({found.wrong} wrong)"
    return (
        f"{rate}, {where}: {found.answered} of {found.n} answered, coverage {found.coverage:.3f}{wrong}; if all are "
        f"answered, error rate {found.n_wrong / found.n:.3f} ({found.n_wrong} wrong)."
    )


def table_of(left: Sequence[str], right: Sequence[str] = ()) -> Table:
    """Return an empty table with these headings: columns of text on the left, columns of numbers on the right."""
    numbers = [Column(name, justify="right") for name in right]
    return Table(*left, *numbers, box=SIMPLE_HEAD, pad_edge=False)


def _print_calibration(out: Console, found: Calibration) -> None:
    """Print both students with and without calibration, and what they answer with a threshold."""
    offsets, n = found.compiled.offsets, found.n
    gain = "offsets do not pay" if offsets.gain is None else f"offsets gain {offsets.gain} out of fold"
    line = f"Calibrated on {n} training and validation examples; compiled student: {gain}, temperature "
    out.print(f"{line}{offsets.temperature:.2f}.", soft_wrap=True)
    if found.difference is not None and found.difference_to_baseline is not None:
        table = table_of(
            ["test macro-F1", "as it is", "calibrated", "calibration error", "error at 80% coverage"], ["n"]
        )
        for name, student in found.students.items():
            if (before := student.plain) is not None and (after := student.calibrated) is not None:
                errors = f"{before.calibration_error:.3f} -> {after.calibration_error:.3f}"
                at_80 = f"{before.error_at_80:.3f} -> {after.error_at_80:.3f}"
                table.add_row(name, _rate(before.score), _rate(after.score), errors, at_80, str(after.score.n))
        out.print(table)
        line = f"Difference by calibration {found.difference}; compiled and calibrated against the unchanged "
        out.print(f"{line}student {found.difference_to_baseline}.", soft_wrap=True)
        if (weighed := found.compiled_weighed) is not None and weighed.gain and weighed.difference:
            used = "used" if found.weighs else "not used, since they do harm out of fold"
            line = f"Precedents, {used}: {weighed.gain} out of fold, {weighed.difference} on test; "
            line += "" if weighed.by_rules is None else f"beside them rules add {weighed.by_rules}; "
            weights = ", ".join(f"{value:.2f} ({side})" for side, value in weighed.weights)
            out.print(f"{line}weights {weights}.", soft_wrap=True)
    if (abstention := found.used.abstention) is not None:
        for name, split in (("Validation, out of fold", abstention.validation), ("Test", abstention.test)):
            if split is not None:
                out.print(f"{name}: {abstention_line(abstention, split)}", soft_wrap=True)
    out.print()


def _baseline_table(found: Baselines) -> Table:
    """Return the simple ways, below the student where there is one, with its lead over each."""
    student = found.student
    table = table_of([f"{found.split} macro-F1", ""], ["accuracy", "n"])
    if student is not None:
        table.add_column("student minus this")
        table.add_row("student", _rate(student), f"{student.accuracy:.3f}", str(student.n), "")
    for row in found.rows:
        lead = [str(row.difference)] if row.difference is not None else []
        table.add_row(row.name, _rate(row.score), f"{row.score.accuracy:.3f}", str(row.score.n), *lead)
    return table


def _cost_table(result: PLDResult) -> Table:
    table = table_of(["stage"], ["seconds", "student calls", "teacher calls", "failed", "tokens"])
    for stage, seconds in result.wall_times():
        costs = {role: stages[stage] for role, stages in result.costs.items() if stage in stages}
        calls = {role: f"{cost.calls:,}" for role, cost in costs.items()}
        failures = str(sum(cost.failures for cost in costs.values())) if costs else ""
        tokens = f"{sum(cost.tokens_in + cost.tokens_out for cost in costs.values()):,}" if costs else ""
        table.add_row(stage, f"{seconds:.1f}", calls.get("student", ""), calls.get("teacher", ""), failures, tokens)
    return table


def _rate(score: Score | Slice) -> str:
    if score.interval is None:
        return "no labels"
    low, high = score.interval
    return f"{score.macro_f1:.3f} [{low:.2f}, {high:.2f}]"
