"""pld-dspy update: more labelled examples for a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..ledger.patience import PATIENCE
from .options import (
    Estimate,
    Fresh,
    Patience,
    RunArgument,
    RunOptions,
    Storage,
    StudentServer,
    TeacherOptions,
    Threads,
    Tracking,
    calls_option,
    data_option,
    with_option_groups,
)
from .streams import escape_control_characters

if TYPE_CHECKING:
    from .finished_run import FinishedRun
    from .run_spec import RunSpec


@with_option_groups
def update(
    run: RunArgument,
    *,
    data: Annotated[str, data_option(metavar="FILE", help="Table of new examples, columns as in the run.")],
    rationales: Annotated[str | None, data_option(metavar="FILE", help="Micro-rules for them, JSONL.")] = None,
    teacher: TeacherOptions,
    server: StudentServer,
    trials: Annotated[
        int | None, calls_option(help="Rule sets compared.", show_default="what 8 sets of validation calls allow")
    ] = None,
    max_student_calls: Annotated[int | None, calls_option(help="Most student calls.")] = None,
    max_teacher_calls: Annotated[int | None, calls_option(help="Most teacher calls.")] = None,
    threads: Threads = None,
    patience: Patience = PATIENCE,
    storage: Storage = None,
    tracking: Tracking = "mlflow",
    out: Annotated[Path | None, typer.Option(help="The new run folder.", show_default="RUN-updated")] = None,
    fresh: Fresh = False,
    estimate: Estimate = False,
) -> None:
    """Go on from a finished run with more labelled examples: they join its rules, or make new ones to choose from."""
    from ..ledger.budget import Budget
    from ..pld import PLD
    from ..release import signature
    from ..release.edits import unchecked
    from ..resolve.resolve_config import ResolveConfig
    from .finished_run import FinishedRun
    from .run_compile import run_compile
    from .run_spec import ModelSpec

    found = FinishedRun.open(run)
    if edits := ", ".join(one.rule_id for one in unchecked(run)):
        said = f"rules.yaml has edits that were not rechecked ({edits}): the update takes them over."
        typer.echo(escape_control_characters(said), err=True)
    spec, n = _with_more(found, data, rationales), found.result.counts["validation"]
    spec = spec.model_copy(update={"student": spec.student.at(server.student_api_base, server.student_api_key_env)})
    pld = spec.make(
        PLD,
        found.folder,
        frames=False,  # the frame is that of the run
        resolve=None,
        run_dir=out or Path(f"{run}-updated"),
        tracking=None if tracking == "none" else tracking,
    )
    most = ResolveConfig().sets * n
    calls = {**pld.search.continued(most - 2 * n, n), "calls": most}  # two more sets than there come first
    given = {} if trials is None else {"trials": trials, "calls": None}
    pld.search = pld.search.model_copy(update={**calls, **given})
    pld.budget = Budget(student_calls=max_student_calls, teacher_calls=max_teacher_calls, prices=pld.budget.prices)
    pld.num_threads, pld.teacher_threads = threads, teacher.teacher_threads
    pld.patience, pld.storage = patience, storage
    asked = None if teacher.teacher is None else ModelSpec(spec=teacher.teacher)
    asked = asked and asked.at(teacher.teacher_api_base, teacher.teacher_api_key_env)
    run_compile(spec, pld, teacher=asked, run=RunOptions(fresh=fresh, estimate=estimate), student=found.framed())
    if not estimate and signature.read_signature(run) is not None:
        typer.echo(f"{run} stays as it was signed. {pld.run_dir} is signed by nobody yet.")


def _with_more(found: FinishedRun, data: str, rationales: str | None) -> RunSpec:
    """Return what a run was given, and one more table of examples; DataError where these cannot be used."""
    from ..task.checks import check_examples
    from .data_source import More

    spec, task = found.spec, found.task
    separator = getattr(spec.source, "separator", None)
    more = spec.more or More(inputs=task.inputs, label=task.label_field, separator=separator, target=task.predictor)
    more = more.model_copy(update={"files": (*more.files, data), "rationales": rationales})
    check_examples(task, more.examples(data), split="new")
    return spec.model_copy(update={"rules": None, "rules_of": str(found.folder.path), "more": more})
