"""pld-dspy transfer: choose among the rules of a finished run for another student."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..ledger.patience import PATIENCE
from .options import (
    Estimate,
    Fresh,
    Patience,
    RunArgument,
    RunOptions,
    Storage,
    Student,
    StudentServer,
    Threads,
    Tracking,
    calls_option,
    search_option,
    with_option_groups,
)

AS_THERE = "as in the run"


@with_option_groups
def transfer(
    run: RunArgument,
    *,
    student: Student,
    server: StudentServer,
    auto: Annotated[
        Literal["light", "medium", "heavy"] | None,
        search_option(help="Calls that suit rules and examples; other options win.", show_default=AS_THERE),
    ] = None,
    screen_calls: Annotated[
        int | None, calls_option(help="Student calls that learn what each rule does.", show_default=AS_THERE)
    ] = None,
    trials: Annotated[int | None, calls_option(help="Rule sets compared after that.", show_default=AS_THERE)] = None,
    max_student_calls: Annotated[int | None, calls_option(help="Most student calls.", show_default=AS_THERE)] = None,
    threads: Threads = None,
    patience: Patience = PATIENCE,
    storage: Storage = None,
    tracking: Tracking = "mlflow",
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="RUN-STUDENT")] = None,
    fresh: Fresh = False,
    estimate: Estimate = False,
) -> None:
    """Choose among the rules of a finished run for another student; no teacher is asked, and all else is as there."""
    from ..pld import PLD
    from ..run.folder import RunFolder
    from ..search.search_config import SearchConfig
    from .run_compile import run_compile
    from .run_spec import ModelSpec, RunSpec

    short = re.sub(r"\W+", "-", re.split(r"[/:]", student.removesuffix(".gguf"))[-1])
    folder = RunFolder(run)
    spec = RunSpec.read(folder)
    pld = spec.make(
        PLD,
        folder,
        resolve=None,
        rules_of=run,
        run_dir=out or Path(f"{run}-{short}"),
        tracking=None if tracking == "none" else tracking,
    )
    calls = {"screen_calls": screen_calls, "trials": trials}
    given = {name: number for name, number in calls.items() if number is not None}
    as_there = pld.search.model_dump(exclude=set(calls) if auto else None)
    pld.auto, pld.search = auto, SearchConfig(**{**as_there, **given})
    if max_student_calls is not None:
        pld.budget = pld.budget.model_copy(update={"student_calls": max_student_calls})
    pld.num_threads, pld.patience, pld.storage = threads, patience, storage
    model = ModelSpec(spec=student).at(server.student_api_base, server.student_api_key_env)
    spec = spec.model_copy(update={"student": model, "rules": None, "rules_of": str(run)})
    run_compile(spec, pld, teacher=None, run=RunOptions(fresh=fresh, estimate=estimate))
