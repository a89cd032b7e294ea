"""pld-dspy search: help with the search of a compile that is running elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .options import RunArgument, Storage, StudentServer, Threads, with_option_groups
from .streams import silence_libraries

if TYPE_CHECKING:
    from ..pld import PLD
    from .run_spec import RunSpec


@with_option_groups
def search_command(
    run: RunArgument, *, storage: Storage = None, server: StudentServer, threads: Threads = None
) -> None:
    """Help a compile that is running elsewhere: evaluate trials of its search in this process or on this machine."""
    import dspy

    silence_libraries()
    spec, pld = unfinished_compile(run)
    model = spec.student.at(server.student_api_base, server.student_api_key_env)
    model.check()
    spec, arguments = spec.load()
    pld.storage, pld.num_threads = storage, threads
    with dspy.context(lm=model.lm(), adapter=spec.dspy_adapter()):
        made = pld.join(spec.source.student(), **arguments)
    typer.echo(f"{made} trials made.")


def unfinished_compile(path: Path) -> tuple[RunSpec, PLD]:
    """Return what the compile in the folder ``path`` was given, and a PLD of its settings and its caps.

    Raises:
        RunError: there is none, it was not started on the command line, or config.yaml is damaged.
    """
    from ..pld import PLD
    from ..run.folder import RunFolder
    from .run_spec import RunSpec

    folder = RunFolder(path)
    spec = RunSpec.read(folder)
    return spec, spec.make(PLD, folder, run_dir=path, tracking=None)
