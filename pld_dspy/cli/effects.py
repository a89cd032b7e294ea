"""pld-dspy effects: what each rule of a finished run does for its student."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .options import AsJson, RunArgument, StudentServer, with_option_groups
from .streams import escape_control_characters, silence_libraries, stdout_to_stderr

if TYPE_CHECKING:
    from rich.table import Table

    from ..search.effects import Effects


@with_option_groups
def effects(
    run: RunArgument,
    *,
    calls: Annotated[
        int | None,
        typer.Option(min=1, help="Most calls, those of earlier ones included.", show_default="a quarter of one by one"),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Ask training examples too, under the rules not made from them.")
    ] = False,
    as_json: AsJson = False,
    server: StudentServer,
) -> None:
    """Measure what each chosen rule does for the student, from lists with some of the rules left out."""
    from ..ledger.jsonl import write_whole
    from ..release.plots import plot_effects
    from ..run.progress import bar
    from ..search.effects import STAGE, measure_effects, usual_calls
    from .finished_run import FinishedRun
    from .printing import console

    with stdout_to_stderr():
        silence_libraries()
        finished = FinishedRun.open(run)
        model = finished.model(server)
        rules = finished.result.rules
        with finished.opened(model.lm()) as context:
            val, more = context.splits.val, context.splits.train if train else []
            calls = calls or usual_calls(len(rules), len(val) + len(more))
            with bar(STAGE, "call", total=calls) as shown:
                found = measure_effects(
                    context.evaluator,
                    rules,
                    val,
                    calls=calls,
                    train=more,
                    calibrated=finished.calibrated,
                    seed=finished.spec.seed,
                    on_answers=shown.update,
                )
    write_whole(finished.folder.effects, found.model_dump_json(indent=2) + "\n")
    write_whole(finished.folder.effects_plot, str(plot_effects(found)))
    if as_json:
        typer.echo(found.model_dump_json())
        return
    out = console()
    out.print(f"Effect in {found.unit}; negative: the list is better without the rule.", soft_wrap=True)
    out.print(_table(found))
    if never := sum(not one.asked for one in found.effects):
        out.print(f"Rules that no list has left out yet: {never} of {len(found.effects)}. Give more --calls.")
    typer.echo(f"{found.calls} calls under {found.lists} lists; {finished.folder.effects_plot}")


def _table(found: Effects) -> Table:
    """Return the rules in the list's order; a rule whose interval includes 0 says so."""
    from .printing import table_of

    table = table_of(["rule", "95% interval", ""], ["effect", "answers without it"])
    for one in found.effects:
        low, high = one.interval
        figures = f"[{low:+.3f}, {high:+.3f}]", "" if one.clear else "includes 0", f"{one.effect:+.3f}", str(one.asked)
        if not one.asked:  # what the model expects of a rule that it knows nothing about
            figures = "", "not measured", "", "0"
        table.add_row(escape_control_characters(one.rule), *figures)
    return table
