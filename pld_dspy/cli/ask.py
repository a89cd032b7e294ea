"""pld-dspy ask: what a finished run's program answers to one input, and what speaks for it."""

from __future__ import annotations

import json
import math
from typing import Annotated, Any

import typer

from ..errors import DataError, ModelError
from .options import AsJson, RunArgument, StudentServer, with_option_groups
from .streams import escape_control_characters, silence_libraries, stdout_to_stderr


@with_option_groups
def ask(
    run: RunArgument,
    texts: Annotated[
        list[str], typer.Argument(metavar="TEXT", help="The input; of several, each in the program's order.")
    ],
    *,
    as_json: AsJson = False,
    server: StudentServer,
) -> None:
    """Ask a finished run's program about one input."""
    import dspy

    from ..task.labels import LABEL_LOGPROBS
    from .finished_run import EVALUATE, FinishedRun
    from .printing import print_unchecked

    with stdout_to_stderr():
        silence_libraries()
        finished = FinishedRun.open(run)
        print_unchecked(run)
        names = finished.task.inputs
        if len(texts) != len(names):
            raise DataError(f"The program's inputs are {', '.join(names)}. Give as many texts, in this order.")
        model = finished.model(server)
        example = dspy.Example(dict(zip(names, texts, strict=True))).with_inputs(*names)
        with finished.asking(finished.program(), [example], model) as evaluator:
            [answer] = evaluator.answers(None, [example], stage=EVALUATE)
        if answer.outputs is None:
            raise ModelError(f"No answer: {answer.error}")
    if as_json:
        typer.echo(json.dumps(answer.outputs, ensure_ascii=False))
        return
    found: dict[str, Any] = answer.outputs
    lines = [f"{finished.task.label_field}: {finished.task.read(found)}"]
    if found.get("confidence") is not None:
        lines.append(f"confidence: {found['confidence']:.2f}{', abstained' if found.get('abstained') else ''}")
    said = found.get(LABEL_LOGPROBS) or {}
    if said:
        ranked = sorted(said, key=said.__getitem__, reverse=True)
        lines.append(
            "the student's probabilities: " + ", ".join(f"{label} {math.exp(said[label]):.2f}" for label in ranked)
        )
    lines += [
        f"precedent {near['id']}: {near['label']}, similarity {near['similarity']:.2f}"
        + "".join(f": {note}" for note in near.get("notes", [])[-1:])  # the rationale, which stands behind the rule
        for near in found.get("precedents") or ()
    ]
    typer.echo(escape_control_characters("\n".join(lines)))
