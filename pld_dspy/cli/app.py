"""The pld-dspy command. Heavy modules are imported inside the commands, so that --help is there at once."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from ..errors import DataError
from .models import models_app
from .options import (
    AdapterName,
    Audit,
    AuditName,
    Calibrate,
    Draws,
    ErrorRate,
    Estimate,
    Fresh,
    LabelSeparator,
    ObjectiveOption,
    ProgramModule,
    ResolveRounds,
    RulesFormat,
    RunArgument,
    Seed,
    Storage,
    Student,
    StudentBase,
    StudentKey,
    Suspects,
    SuspectsName,
    Teacher,
    TeacherBase,
    TeacherKey,
    Threads,
    Tracking,
    data_option,
    model_option,
    search_option,
)
from .terminal import FAILED, CommandGroup, clean_stdout, hush_libraries, log_to_stderr, shown

if TYPE_CHECKING:
    from ..pld import PLD
    from .run_spec import Command, Model

DEMO_SCREEN_CALLS, DEMO_TRIALS = 144, 4

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Prompt-Level Distillation: labelled examples and reasons in, a short list of rules for a small model out.",
)
app.add_typer(models_app, name="models")


@app.callback()
def global_options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Log warnings only.")] = False,
) -> None:
    """Take the options of all commands; --debug is read where errors are met."""
    log_to_stderr(quiet=quiet)


@app.command("compile")
def compile_command(
    *,
    program: ProgramModule = None,
    data: Annotated[str | None, data_option(metavar="PATH", help="What the program loads its data from.")] = None,
    train: Annotated[str | None, data_option(metavar="FILE", help="Instead: CSV, JSONL, Parquet or hub table.")] = None,
    val: Annotated[str | None, data_option(metavar="FILE", help="To choose rules by; else split off --train.")] = None,
    test: Annotated[str | None, data_option(metavar="FILE", help="To report on.")] = None,
    inputs: Annotated[list[str] | None, data_option("--input", metavar="COL", help="Input column; repeatable.")] = None,
    label: Annotated[str | None, data_option(metavar="COL", help="Label column.")] = None,
    label_separator: LabelSeparator = None,
    instructions: Annotated[str | None, data_option(metavar="TEXT", help="What the student is to decide.")] = None,
    rationales: Annotated[str | None, data_option(metavar="FILE", help="Recorded micro-rules, JSONL.")] = None,
    student: Student = "local",
    student_api_base: StudentBase = None,
    student_api_key_env: StudentKey = None,
    teacher: Teacher = None,
    teacher_api_base: TeacherBase = None,
    teacher_api_key_env: TeacherKey = None,
    adapter: Annotated[AdapterName, model_option(help="How the student is prompted.")] = AdapterName.label,
    target: Annotated[str | None, model_option(help="The deciding predictor, where several could be.")] = None,
    objective: ObjectiveOption = "macro_f1",
    screen_calls: Annotated[int, search_option(help="Student calls that learn the rules' effects.")] = 960,
    trials: Annotated[int, search_option(help="Rule sets raced after that.")] = 10,
    wordings: Annotated[int, search_option(help="Wordings a rule, at most.")] = 5,
    draws: Draws = 1,
    suspects: Suspects = SuspectsName.keep,
    audit: Audit = AuditName.data,
    resolve_rounds: ResolveRounds = 0,
    calibrate: Calibrate = False,
    error_rate: ErrorRate = None,
    max_student_calls: Annotated[int | None, search_option(min=0, help="Stop there; a fifth is for resolving.")] = None,
    max_teacher_calls: Annotated[int | None, search_option(min=0, help="Ask the teacher no more than this.")] = None,
    threads: Threads = None,
    storage: Storage = None,
    tracking: Tracking = "mlflow",
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME")] = None,
    seed: Seed = 0,
    fresh: Fresh = False,
    estimate: Estimate = False,
) -> None:
    """Find the rules that make a small model better at a labelled decision, from a program or from tables."""
    from ..induce.config import InduceConfig
    from ..ledger.budget import Budget
    from ..pld import PLD
    from ..resolve.config import ResolveConfig
    from ..search.config import SearchConfig
    from .data_source import chosen_source
    from .run_spec import Command, Model

    columns = {"inputs": inputs, "label": label, "separator": label_separator, "instructions": instructions}
    source = chosen_source(program, data, {"train": train, "val": val, "test": test, **columns})
    model = Model(spec=student, api_base=student_api_base, api_key_env=student_api_key_env)
    command = Command(source=source, rationales=rationales, student=model, adapter=adapter.value, seed=seed)
    pld = PLD(
        objective=objective,
        target=target,
        induce=InduceConfig(wordings=wordings, draws=draws, suspects=suspects.value, audit=audit.value),
        search=SearchConfig(screen_calls=screen_calls, trials=trials),
        resolve=ResolveConfig(max_rounds=resolve_rounds) if resolve_rounds else None,
        calibrate=calibrate,
        error_rate=error_rate,
        budget=Budget(student_calls=max_student_calls, teacher_calls=max_teacher_calls),
        run_dir=out or Path("runs") / source.name,
        tracking=tracking,
        num_threads=threads,
        storage=storage,
        seed=seed,
    )
    _compile(command, pld, _told(teacher, teacher_api_base, teacher_api_key_env), fresh=fresh, estimate=estimate)


@app.command("search")
def search_command(
    run: RunArgument,
    *,
    storage: Storage = None,
    student_api_base: StudentBase = None,
    student_api_key_env: StudentKey = None,
    threads: Threads = None,
) -> None:
    """Help a compile that is under way: make trials of its search, from this process or machine."""
    import dspy

    from .finished_run import unfinished

    hush_libraries()
    command, pld = unfinished(run)
    model = command.student.reached_by(api_base=student_api_base, api_key_env=student_api_key_env)
    model.check()
    command, data = command.loaded()
    pld.storage, pld.num_threads = storage, threads
    with dspy.context(lm=model.lm(cache=False), adapter=command.prompting()):
        made = pld.join(command.source.student(), **data)
    typer.echo(f"{made} trials made.")


@app.command()
def demo(
    *,
    student: Student = "local",
    calibrate: Calibrate = False,
    error_rate: ErrorRate = None,
    tracking: Tracking = "mlflow",
    out: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/demo"),
    seed: Seed = 0,
    fresh: Fresh = False,
    estimate: Estimate = False,
) -> None:
    """Compile the packaged demo task: claims at an expense desk, with written rationales and no teacher."""
    from ..pld import PLD
    from ..search.config import SearchConfig
    from .data_source import Program
    from .run_spec import Command, Model

    command = Command(source=Program(module="pld_dspy.demo"), student=Model(spec=student), seed=seed)
    search = SearchConfig(screen_calls=DEMO_SCREEN_CALLS, trials=DEMO_TRIALS)
    pld = PLD(search=search, calibrate=calibrate, error_rate=error_rate, run_dir=out, tracking=tracking, seed=seed)
    _compile(command, pld, None, fresh=fresh, estimate=estimate)


@app.command()
def evaluate(
    run: RunArgument,
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Table with the program's fields as columns.", show_default="the run's test split"
        ),
    ] = None,
    baseline: Annotated[bool, typer.Option("--baseline", help="Score the unchanged student.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object, alone.")] = False,
    student: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Another model.", show_default="the run's own")
    ] = None,
    student_api_base: StudentBase = None,
    student_api_key_env: StudentKey = None,
) -> None:
    """Score a finished run's program, on labelled rows or on its own test split."""
    from .finished_run import Run
    from .printing import abstention_line, calibration_line, console, print_score
    from .run_spec import Model

    with clean_stdout():
        hush_libraries()
        opened = Run.open(run)
        model = Model(spec=student) if student else opened.command.student
        model = model.reached_by(api_base=student_api_base, api_key_env=student_api_key_env)
        model.check()
        # Offsets are of the student that they were fitted for.
        calibrated = opened.calibrated and not baseline and model.spec == opened.command.student.spec
        program = opened.command.source.student() if baseline else opened.program(calibrated=calibrated)
        examples = opened.examples(data)
        with tqdm(total=len(examples), desc="evaluate", unit="call", disable=None, leave=False) as bar:
            scored = opened.score(program, examples, model=model, on_answer=bar.update)
    if as_json:
        found = scored.score.model_dump(include={"macro_f1", "accuracy", "n", "failures", "per_label"})
        found |= {"calibrated": calibrated, **scored.abstention, "seconds": round(scored.seconds, 2)}
        typer.echo(json.dumps(found))
    else:
        if opened.calibrated and not baseline:
            typer.echo(calibration_line(opened.command.student.spec, used=calibrated))
        print_score(console(), scored.score)
        if scored.applied is not None and scored.answered is not None:
            typer.echo(abstention_line(scored.applied.error_rate, scored.applied.threshold, scored.answered))


@app.command()
def rules(
    run: RunArgument,
    *,
    style: Annotated[
        RulesFormat, typer.Option("--format", help="prompt: the compiled predictor's full instructions.")
    ] = RulesFormat.text,
    bench: Annotated[bool, typer.Option("--bench", help="The rules left out as well.")] = False,
    why: Annotated[str | None, typer.Option(metavar="RULE_ID", help="Show what one rule rests on.")] = None,
) -> None:
    """Show the rules of a finished run, in order, with their effects and support."""
    from ..ledger.jsonl import read_jsonl
    from ..rules import MicroRule
    from ..run.folder import RunFolder
    from ..run.result import PLDResult
    from .printing import rule_lines, why_lines, why_yaml

    if why is not None and style is RulesFormat.prompt:
        raise DataError(
            "--format prompt gives the instructions with all rules, and --why what one rule rests on. Leave out one, "
            "or give --format text or yaml."
        )
    result = PLDResult.load(run)
    known = {rule.id: rule for rule in (*result.rules.rules, *result.bench)}
    if why is not None:
        if why not in known:
            raise DataError(f"{run} has no rule {why!r}. It has {', '.join(known)}.")
        given = known[why], read_jsonl(RunFolder(run).micro_rules, MicroRule)
        typer.echo(why_yaml(*given).rstrip() if style is RulesFormat.yaml else "\n".join(why_lines(*given)))
    elif style is RulesFormat.prompt:
        typer.echo(result.instructions)
    elif style is RulesFormat.yaml:
        typer.echo(result.rules.to_yaml(result.bench if bench else ()), nl=False)
    else:
        if not result.improved:
            typer.echo("No rule set beat the unchanged student on validation.")
        for line in rule_lines(result.rules.rules):
            typer.echo(line)
        if bench:
            typer.echo("\n".join(["", "On the bench:", *rule_lines(result.bench)]))


@app.command()
def report(run: RunArgument) -> None:
    """Write report.html of a finished run anew."""
    from ..report.page import write_report

    typer.echo(write_report(run))


def _told(spec: str | None, api_base: str | None, api_key_env: str | None) -> Model | None:
    from .run_spec import Model

    return None if spec is None else Model(spec=spec, api_base=api_base, api_key_env=api_key_env)


def _compile(command: Command, pld: PLD, teacher: Model | None, *, fresh: bool, estimate: bool) -> None:
    """Compile as told, leave the report and what ``evaluate`` needs in the run folder, and print the outcome."""
    import dspy

    from ..report.page import write_report
    from ..run.folder import RunFolder
    from ..run.result import PLDResult
    from .printing import console, mlflow_line, print_estimate, print_result

    hush_libraries()
    for model in filter(None, (command.student, teacher)):
        model.check()
    command, given = command.loaded()
    if teacher is None and not given["rationales"]:
        raise DataError("There is nothing to make rules from. Give --rationales, or a --teacher.")
    student, out = command.source.student(), console()
    pld.origin = command.model_dump(mode="json", exclude_none=True)
    # Data is checked here, before any weights are fetched for nothing.
    most = pld.estimate(student, teacher=teacher and teacher.stand_in(), **given)
    if estimate:
        print_estimate(out, most)
        return
    with dspy.context(lm=command.student.lm(cache=False), adapter=command.prompting()):
        pld.compile(student, teacher=teacher and teacher.lm(), resume=not fresh, **given)
    folder = RunFolder(pld.run_dir)
    page = write_report(folder.path)
    print_result(out, PLDResult.load(folder.path))
    for line in filter(None, (f"Run folder: {folder.path}", f"Report: {page}", mlflow_line(pld.tracking))):
        out.print(line, soft_wrap=True)


def main() -> None:
    """Run the command; an error that nobody foresaw is one line as well, unless --debug is given."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        message = shown(" ".join(f"Unexpected {type(error).__name__}: {error}".split()))
        typer.echo(f"{message}. Add --debug for the traceback.", err=True)
        raise SystemExit(FAILED) from error
