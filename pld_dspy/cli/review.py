"""pld-dspy review: a page on this machine on which a person works with a finished run's rules."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import PLDError
from .options import By, RunArgument
from .streams import silence_libraries, stdout_to_stderr

if TYPE_CHECKING:
    from pathlib import Path

    from ..release.flips import Flips
    from ..rules import RuleSet


def review(
    run: RunArgument,
    *,
    by: By = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the address only.")] = False,
) -> None:
    """Read, edit and accept a finished run's rules on a local page; Ctrl+C ends it."""
    import webbrowser
    from contextlib import suppress

    from ..release.review import ReviewServer
    from ..release.review_page import Review
    from ..release.trail import login

    with stdout_to_stderr():
        silence_libraries()
        page = Review(run, by=by or login(), find_flips=partial(_flips, run))
    with ReviewServer(page, port) as server:
        typer.echo(server.url)
        typer.echo("Edits are saved in rules.yaml at once. Ctrl+C ends the page.", err=True)
        if not no_browser:
            webbrowser.open(server.url)
        with suppress(KeyboardInterrupt):  # nothing is unsaved
            server.serve_forever()


def _flips(path: Path, rules: RuleSet) -> tuple[Flips | None, str]:
    """Return what the rules turned on validation; None, with the reason, where the answers are not at hand."""
    from ..release.flips import find_flips
    from .finished_run import FinishedRun

    try:
        with FinishedRun.open(path).opened() as context:
            found = find_flips(context, rules)
    except PLDError as error:
        return None, f"They are not known: {error}"
    return found, "" if found is not None else "They are not known: predictions.jsonl lacks some of the answers."
