"""``python -m experiments.search_cost synthetic --out FOLDER``, collect-run RUN, replay TABLE."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from tqdm.contrib.logging import logging_redirect_tqdm

from pld_dspy.errors import DataError

from ..command import run_app
from . import replay as replays
from .benchmark import SIZES, cells, run_cells
from .collect_run import collect_run
from .methods import METHODS, REFERENCE
from .students import FAMILIES
from .summary import by_method, compare, markdown
from .table import Table

app = typer.Typer(add_completion=False, help="How many calls a search for rules costs, and how good its rules are.")


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option(help="Folder of the cells and the table.")],
    seeds: Annotated[int, typer.Option(min=1, help="Students per family and size.")] = 20,
    jobs: Annotated[int, typer.Option(min=1, help="Processes at once.")] = 1,
    family: Annotated[list[str] | None, typer.Option(help="Family; repeatable; all if not given.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="Method; repeatable; all if not given.")] = None,
    size: Annotated[list[str] | None, typer.Option(help="RULESxEXAMPLES, such as 30x200; repeatable.")] = None,
) -> None:
    """Run the cells that have not run yet; then write and print the summary."""
    _log()
    families = _known(family or list(FAMILIES), FAMILIES, "family")
    methods = list(dict.fromkeys([REFERENCE, *_known(method or list(METHODS), METHODS, "method")]))
    wanted = list(cells(families, _sizes(size or []) or SIZES, range(seeds), methods))
    text = markdown(compare(by_method(run_cells(wanted, out, jobs=jobs))))
    (out / "summary.md").write_text(text + "\n", encoding="utf-8")
    typer.echo(text)


@app.command("collect-run")
def collect_run_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of pld-dspy compile or demo.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="The table to make or to continue.")],
    test: Annotated[int, typer.Option(min=1, help="Number of test examples, stratified by label.")] = 150,
    candidates: Annotated[int, typer.Option(min=4, help="Most rule sets; up to three of them are guards.")] = 60,
) -> None:
    """Score the fully evaluated rule sets of a finished run on some test examples too."""
    _log()
    with logging_redirect_tqdm():
        collect_run(run, out, test=test, candidates=candidates)


@app.command()
def replay(
    table: Annotated[Path, typer.Argument(help="A table made by collect-run.")],
    seeds: Annotated[int, typer.Option(min=1, help="Replays per method and budget.")] = 20,
    budget: Annotated[list[float] | None, typer.Option(help="Share of the calls for everything; repeatable.")] = None,
) -> None:
    """Let every method choose among a table's candidates, and print calls and quality."""
    typer.echo(replays.markdown(replays.replay(Table.load(table), seeds=seeds, budgets=budget or None)))


def _log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    logging.getLogger("experiments").setLevel(logging.INFO)


def _known(names: list[str], allowed: Iterable[str], what: str) -> list[str]:
    for name in names:
        if name not in allowed:
            raise DataError(f"There is no {what} {name!r}. Choose one of {', '.join(allowed)}.")
    return names


def _sizes(texts: Sequence[str]) -> list[tuple[int, int]]:
    found = []
    for text in texts:
        match = re.fullmatch(r"(\d+)x(\d+)", text)
        if match is None:
            raise DataError(f"The size {text!r} is not RULESxEXAMPLES. Write it like 30x200.")
        found.append((int(match[1]), int(match[2])))
    return found


if __name__ == "__main__":
    run_app(app)
