"""pld-dspy demo: compile the packaged demo task."""

from __future__ import annotations

from .options import RunOptions, Student, with_option_groups


@with_option_groups
def demo(*, student: Student = "local", run: RunOptions) -> None:
    """Compile the packaged demo task: claims at an expense desk, with written rationales and no teacher."""
    from ..pld import PLD
    from ..search.search_config import SearchConfig
    from .data_source import Program
    from .run_compile import run_compile
    from .run_spec import ModelSpec, RunSpec

    source = Program(module="pld_dspy.demo")
    spec = RunSpec(source=source, student=ModelSpec(spec=student), seed=run.seed)
    search = SearchConfig(screen_calls=144, trials=4)  # some minutes on two CPU cores
    run_compile(spec, PLD(search=search, **run.of_pld(source.name)), teacher=None, run=run)
