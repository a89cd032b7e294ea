"""pld-dspy compile and demo: from options to a PLD, and its compile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from ..ledger.patience import PATIENCE
from .options import (
    DataOptions,
    Embedding,
    Patience,
    RunOptions,
    SearchOptions,
    Storage,
    Student,
    StudentServer,
    Target,
    TeacherOptions,
    Threads,
    model_option,
    with_option_groups,
)

if TYPE_CHECKING:
    from ..search.search_config import SearchConfig


@with_option_groups
def compile_command(
    *,
    data: DataOptions,
    student: Student = "local",
    server: StudentServer,
    teacher: TeacherOptions,
    adapter: Annotated[Literal["label", "chat", "json"], model_option(help="How the student is prompted.")] = "label",
    constrain: Annotated[
        Literal["auto", "grammar", "json_schema", "choice", "none"],
        model_option(help="How the server is made to answer with a label, under --adapter label."),
    ] = "auto",
    embedder: Embedding = "auto",
    target: Target = None,
    search: SearchOptions,
    threads: Threads = None,
    patience: Patience = PATIENCE,
    storage: Storage = None,
    run: RunOptions,
) -> None:
    """Find the rules that make a small model better at a labelled decision, from a program or from tables."""
    from ..induce.induce_config import InduceConfig
    from ..ledger.budget import Budget
    from ..pld import PLD
    from ..resolve.resolve_config import ResolveConfig
    from .data_source import chosen_source
    from .run_compile import run_compile
    from .run_spec import ModelSpec, RunSpec

    source = chosen_source(data)
    model = ModelSpec(spec=student).at(server.student_api_base, server.student_api_key_env)
    spec = RunSpec(
        source=source,
        rationales=data.rationales,
        rules=search.rules,
        student=model,
        adapter=adapter,
        constrain=constrain,
        duplicates=data.duplicates,
        seed=run.seed,
    )
    teaching = ModelSpec(spec=teacher.teacher or "").at(teacher.teacher_api_base, teacher.teacher_api_key_env)
    pld = PLD(
        auto=search.auto,
        objective=search.objective,
        target=target,
        duplicates=data.duplicates,
        embedder=embedder,
        induce=InduceConfig(
            wordings=search.wordings, drafts=search.drafts, suspects=search.suspects, audit=search.audit
        ),
        search=_search_config(search),
        resolve=None if search.resolve_rounds is None else ResolveConfig(max_rounds=search.resolve_rounds),
        budget=Budget(student_calls=search.max_student_calls, teacher_calls=search.max_teacher_calls),
        num_threads=threads,
        teacher_threads=teacher.teacher_threads,
        patience=patience,
        storage=storage,
        **run.of_pld(source.name),
    )
    run_compile(spec, pld, teacher=teaching if teacher.teacher else None, run=run)


def _search_config(search: SearchOptions) -> SearchConfig:
    from ..search.search_config import SearchConfig

    calls = {"screen_calls": search.screen_calls, "trials": search.trials}
    given: Any = {name: number for name, number in calls.items() if number is not None}  # else a default, or --auto's
    return SearchConfig(**given, demos=search.demos, style=search.style)


@with_option_groups
def demo(*, student: Student = "local", embedder: Embedding = "auto", run: RunOptions) -> None:
    """Compile the packaged demo task: claims at an expense desk, with written rationales and no teacher."""
    from ..pld import PLD
    from ..search.search_config import SearchConfig
    from .data_source import Program
    from .run_compile import run_compile
    from .run_spec import ModelSpec, RunSpec

    source = Program(module="pld_dspy.demo")
    spec = RunSpec(source=source, student=ModelSpec(spec=student), seed=run.seed)
    search = SearchConfig(screen_calls=144, trials=4)  # to show one: the default for so few claims is none
    run_compile(spec, PLD(search=search, embedder=embedder, **run.of_pld(source.name)), teacher=None, run=run)
