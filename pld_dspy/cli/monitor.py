"""pld-dspy monitor: whether new inputs and answers are like those that a run was scored on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import DataError
from .options import AsJson, RunArgument, StudentServer, with_option_groups
from .streams import escape_control_characters, say_calls, silence_libraries, stdout_to_stderr

if TYPE_CHECKING:
    from ..compile.context import CompileContext
    from ..release.monitor import Monitored
    from .finished_run import FinishedRun
    from .new_inputs import NewInputs


@with_option_groups
def monitor(
    run: RunArgument,
    *,
    data: Annotated[
        str,
        typer.Option(
            metavar="FILE", help="Table of new inputs; answers and confidences may stand beside.", show_default=False
        ),
    ],
    label_next: Annotated[int, typer.Option(min=0, metavar="N", help="Choose N inputs to label next.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="CSV file for these, to fill in for update.", show_default=False)
    ] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask the program about the inputs first.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is unusual.")] = False,
    as_json: AsJson = False,
    server: StudentServer,
) -> None:
    """Compare new inputs, and what the program answers to them, with those that a run was scored on."""
    from ..task.task import cut, example_id
    from .finished_run import FinishedRun
    from .new_inputs import NewInputs
    from .printing import SHOWN

    if out is not None and (not label_next or out.exists()):
        why = f"{out} exists. Give a new file." if label_next else "--out is for the inputs of --label-next. Give both."
        raise DataError(why)
    with stdout_to_stderr():
        silence_libraries()
        finished = FinishedRun.open(run)
        new = NewInputs.read(finished, data)
        if ask:
            new = _asked(finished, new, server)
        found, chosen = _compared(finished, new, label_next)
    if out is not None:
        _write(out, finished, new, chosen)
    right = [gold == label for gold, label in zip(new.golds, new.labels, strict=False) if gold is not None]
    if as_json:
        dumped = {**found.model_dump(), "unusual": found.unusual, "verdict": found.verdict}
        dumped |= {"labelled": len(right), "right": sum(right), "label_next": chosen}
        typer.echo(json.dumps(dumped, ensure_ascii=False))
    else:
        _print(found)
        if found.labels and not ask:
            typer.echo(
                f"The column {finished.task.label_field} is taken for what the program answered. If people gave these "
                "labels, add --ask."
            )
        if right:
            typer.echo(f"Of the inputs with a label, {sum(right)} of {len(right)} are answered right.")
        for row in chosen:
            example = new.examples[row]
            text = cut(finished.task.text(example), SHOWN)
            typer.echo(escape_control_characters(f"Label next: {example_id(example, row)}: {text}"))
    if strict and found.unusual:
        raise typer.Exit(1)


def _asked(finished: FinishedRun, new: NewInputs, server: StudentServer) -> NewInputs:
    """Return the inputs with the program's own answers, which are kept in the run folder."""
    from ..run.progress import bar
    from .finished_run import EVALUATE, confidences_of

    with (
        finished.asking(finished.program(), new.examples, finished.model(server), say_calls) as evaluator,
        bar("ask", "call", total=len(new.examples)) as shown,
    ):
        answers = evaluator.answers(None, new.examples, stage=EVALUATE, on_answer=shown.update)
    labels = [finished.task.read(answer.outputs) for answer in answers]
    return replace(new, golds=new.labels, labels=labels, confidences=confidences_of(answers))


def _compared(finished: FinishedRun, new: NewInputs, count: int) -> tuple[Monitored, list[int]]:
    """Compare the inputs with the run's own, and choose ``count`` rows to label; no model is asked."""
    import numpy as np

    from ..local.embedding import embed, embedder_of, fitted
    from ..release.label_next import choose_to_label
    from ..release.monitor import Served, compare

    with finished.opened() as context:
        splits, texts = context.splits, context.texts
        training, own, given = texts(splits.train), texts([*splits.val, *splits.test]), texts(new.examples)
        answers = _own_answers(finished, context)
    embedder = embedder_of(finished.folder.settings()["settings"]["embedder"], len(training) + len(own) + len(given))
    known, further = fitted(embedder, training)
    before = Served(own, embed(own, further), *answers)
    now = Served(given, embed(given, further), new.labels, new.confidences)
    threshold = finished.calibration.threshold if finished.calibrated else None
    rows = now.distinct
    doubts = [new.confidences[row] for row in rows] if new.confidences else []
    chosen = choose_to_label(now.vectors[rows], np.concatenate([known, before.vectors]), doubts, count)
    return compare(known, before, now, threshold=threshold, seed=finished.spec.seed), [rows[row] for row in chosen]


def _own_answers(finished: FinishedRun, context: CompileContext) -> tuple[list[str | None], list[float]]:
    """Return the labels and confidences that the program gave to the run's validation and test examples.

    They come from the answers that the run keeps; a split of which some are missing is left out. No call is made.
    """
    from .finished_run import confidences_of

    found = [one for split in ("validation", "test") if (one := finished.kept(context, split)) is not None]
    confidences = [value for one in found for value in confidences_of(one.answers)] if finished.calibrated else []
    return [label for one in found for label in one.labels], confidences


def _write(out: Path, finished: FinishedRun, new: NewInputs, chosen: list[int]) -> None:
    """Write the chosen inputs with an empty label column, in the form that compile takes."""
    from ..run.folder import write_csv

    names = finished.task.inputs
    examples = [new.examples[row] for row in chosen]
    ids = ["id"] if any("id" in one for one in examples) else []
    rows = [[*(one.get(name) for name in (*ids, *names)), None] for one in examples]
    write_csv(out, [*ids, *names, finished.task.label_field], rows)


def _print(found: Monitored) -> None:
    from ..release.monitor import ALPHA
    from .printing import console, table_of

    out = console()
    out.print(f"{found.n} new inputs against {found.n_before} validation and test examples of the run:\n")
    table = table_of(["comparison", "", "p", ""])
    for check in found.checks:
        p = "< 0.001" if check.p_value < 0.001 else f"{check.p_value:.3f}"
        table.add_row(check.name, check.text, p, "unusual" if check.name in found.unusual else "")
    out.print(table)
    if found.labels:
        totals = [sum(counts) for counts in zip(*found.labels.values(), strict=True)]
        heads = (f"{when} (n = {total})" for when, total in zip(("in the run", "now"), totals, strict=True))
        table = table_of(["label"], [head for name in heads for head in (name, "share")])
        for label, counts in found.labels.items():
            cells = (str(part) for n, total in zip(counts, totals, strict=True) for part in (n, f"{n / total:.0%}"))
            table.add_row(escape_control_characters(label), *cells)
        out.print(table)
        if totals[0] < found.n_before:
            out.print(f"The run keeps the program's answers to {totals[0]} of its examples.")
    level = ALPHA / len(found.checks)
    out.print(
        f"Unusual is p < {level:.4f}: {ALPHA} shared among {len(found.checks)} comparisons, so that about one look in "
        f"{1 / ALPHA:.0f} is a false alarm.",
        soft_wrap=True,
    )
    out.print(found.verdict, soft_wrap=True)
