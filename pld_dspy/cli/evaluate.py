"""pld-dspy evaluate: score a finished run's program."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import AsJson, RequireSignature, RunArgument, StudentServer, with_option_groups
from .streams import escape_control_characters, say_calls, silence_libraries, stdout_to_stderr

if TYPE_CHECKING:
    import dspy

    from ..calibrate.calibration import Answered, SavedCalibration
    from ..student.evaluator import Evaluation
    from .finished_run import FinishedRun
    from .run_spec import ModelSpec

LabelledRows = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Table with the program's fields as columns.", show_default="the test split"),
]
SliceColumns = Annotated[
    list[str] | None, typer.Option("--slice", metavar="COL", help="Also score each value of this column; repeatable.")
]


@with_option_groups
def evaluate(
    run: RunArgument,
    *,
    data: LabelledRows = None,
    slices: SliceColumns = None,
    wrong: Annotated[bool, typer.Option("--wrong", help="List the examples that are answered wrong.")] = False,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="Score the unchanged student, under the chosen frame.")
    ] = False,
    require_signature: RequireSignature = False,
    as_json: AsJson = False,
    student: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Another model.", show_default="the run's own")
    ] = None,
    server: StudentServer,
) -> None:
    """Score a finished run's program, on labelled rows or on its own test split."""
    from ..release import signature
    from .finished_run import FinishedRun
    from .printing import abstention_line, console, print_score, print_slices, print_unchecked, print_wrong
    from .run_spec import ModelSpec

    with stdout_to_stderr():
        silence_libraries()
        if require_signature:
            signature.require_signature(run)
        finished = FinishedRun.open(run)
        print_unchecked(run)
        own = finished.spec.student
        model = (ModelSpec(spec=student) if student else own).at(server.student_api_base, server.student_api_key_env)
        model.check()
        calibrated = finished.calibrated and not baseline and model.spec == own.spec  # offsets are fitted per student
        program = finished.framed() if baseline else finished.program(calibrated=calibrated)
        examples = finished.examples(data)
        columns = finished.columns(slices or (), data, examples)
        is_own = data is None and not baseline and model == own
        evaluation = _evaluated(finished, program, examples, model, is_own=is_own)
        by_value = finished.slices(columns, examples, evaluation)
        answered = finished.answered(examples, evaluation) if calibrated else None
        missed = finished.wrong(examples, evaluation) if wrong else []
    if as_json:
        found = _figures(
            evaluation,
            calibrated=calibrated,
            abstention=answered and _abstention(finished.calibration, answered),
            slices={name: [row.model_dump() for row in rows] for name, rows in by_value.items()} or None,
            wrong=[dataclasses.asdict(one) for one in missed] if wrong else None,
        )
        typer.echo(json.dumps(found))
        return
    if finished.calibrated and not baseline:
        other = f"Without the run's calibration, which was fitted for {escape_control_characters(own.spec)}."
        typer.echo("With the run's calibration (calibration.json)." if calibrated else other)
    print_score(console(), evaluation.score)
    for column, rows in by_value.items():
        print_slices(console(), column, rows)
    if wrong:
        print_wrong(console(), missed)
    if answered is not None:
        typer.echo(abstention_line(finished.calibration, answered))


def _evaluated(
    finished: FinishedRun, program: dspy.Module, examples: list[dspy.Example], model: ModelSpec, *, is_own: bool
) -> Evaluation:
    """Score the program; where it is the run's own on its own test split, by the answers that the run keeps."""
    from ..run.progress import bar
    from .finished_run import EVALUATE

    if is_own and (kept := finished.kept_test()) is not None:
        say_calls(0)
        return kept
    with (
        finished.asking(program, examples, model, say_calls) as evaluator,
        bar("evaluate", "call", total=len(examples)) as shown,
    ):
        return evaluator.evaluate(None, examples, stage=EVALUATE, on_answer=shown.update)


def _figures(evaluation: Evaluation, **more: Any) -> dict[str, Any]:
    """Return the figures of a score, what more is given but for None, and the seconds that its calls took."""
    found = evaluation.score.model_dump(include={"macro_f1", "accuracy", "n", "failures", "per_label"})
    given = {name: value for name, value in more.items() if value is not None}
    return {**found, **given, "seconds": round(sum(answer.seconds for answer in evaluation.answers), 2)}


def _abstention(saved: SavedCalibration, answered: Answered) -> dict[str, Any]:
    return {"wanted": saved.error_rate, "threshold": saved.threshold, **answered.model_dump()}
