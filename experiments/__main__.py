"""``python -m experiments run CONFIG.yaml``, table, ...; ``stages RUN``, speed, ...; ``spread RUN RUN``, students."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer
from tqdm.contrib.logging import logging_redirect_tqdm

from pld_dspy.cli.app import FAILED, INTERRUPTED
from pld_dspy.cli.streams import silence_libraries, stdout_to_stderr

from .classifiers import classifiers as compare_classifiers
from .command import run_app
from .compare import compare as compare_runs
from .config import Experiment
from .effects import effects
from .estimate import estimate
from .ladder import ladder
from .latency import latency
from .nearest import nearest
from .plain_search import plain_search
from .plot import plot
from .results import write_results
from .runner import run_experiment
from .seeds import read_seeds
from .speed import speed
from .spread import draw, spread
from .stages import stages
from .students import missing_calls, students
from .table import markdown

app = typer.Typer(add_completion=False, help="Compare optimizers on a program, under one budget and one objective.")
Config = Annotated[Path, typer.Argument(help="The experiment's YAML file.")]
Data = Annotated[Path | None, typer.Option(metavar="FOLDER", help="The published data; overrides the file's.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of pld-dspy compile or demo.")]
BUDGETS = (100, 200, 400, 800)
NEAREST = (4,)
TIMES = (1, 2, 4)
Rationales = Annotated[Path | None, typer.Option(metavar="FILE", help="Recorded micro-rules; overrides the file's.")]


@app.command()
def run(config: Config, *, data: Data = None, rationales: Rationales = None) -> None:
    """Run the cells that have not finished yet, then print the table; exit with 1 if a cell failed."""
    experiment = Experiment.load(config, data=data, rationales=rationales)
    _log_progress()
    try:
        with stdout_to_stderr(), logging_redirect_tqdm():
            failed = run_experiment(experiment)
    except KeyboardInterrupt as error:
        typer.echo("Interrupted. Finished cells are kept: the same command goes on from there.", err=True)
        raise typer.Exit(INTERRUPTED) from error
    typer.echo(markdown(experiment))
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def classifiers(runs: list[Path]) -> None:
    """Print what students, rules, precedents and classifiers have on test in finished runs."""
    typer.echo(compare_classifiers(runs))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Run folders, the two of a pair in turn.")],
) -> None:
    """Compare finished runs in pairs on their test examples, paired by example; calls no model."""
    typer.echo(compare_runs(runs))


@app.command("estimate")
def estimate_command(
    config: Config,
    seconds: Annotated[
        float | None, typer.Option(min=0, show_default="the finished cells' median", help="Of one student call.")
    ] = None,
    *,
    data: Data = None,
    rationales: Rationales = None,
) -> None:
    """Print how many student calls and hours the cells that have not finished take at most; calls no model."""
    silence_libraries()
    typer.echo(estimate(Experiment.load(config, data=data, rationales=rationales), seconds))


@app.command()
def table(config: Config, *, data: Data = None, rationales: Rationales = None) -> None:
    """Print the table of the finished cells from the MLflow store; give the same options as for ``run``."""
    silence_libraries()
    typer.echo(markdown(Experiment.load(config, data=data, rationales=rationales)))


@app.command("results")
def results_command(
    config: Config,
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Gets NAME.md, NAME.csv and NAME.svg.")] = Path(
        "experiments/results"
    ),
    *,
    data: Data = None,
    rationales: Rationales = None,
) -> None:
    """Write the finished cells' table, answers and picture from the MLflow store, as files to keep."""
    silence_libraries()
    typer.echo(write_results(Experiment.load(config, data=data, rationales=rationales), config, out))


@app.command("latency")
def latency_command(
    config: Config,
    n: Annotated[int, typer.Option(min=1, help="Number of test examples.")] = 60,
    *,
    data: Data = None,
    rationales: Rationales = None,
) -> None:
    """Time the finished cells' programs in turn: seconds per call and tokens of each."""
    silence_libraries()
    typer.echo(latency(Experiment.load(config, data=data, rationales=rationales), n))


@app.command("plot")
def plot_command(
    config: Config,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A .svg or .png file.")],
    *,
    data: Data = None,
    rationales: Rationales = None,
) -> None:
    """Draw the finished cells from the MLflow store: every optimizer's test score with its interval."""
    silence_libraries()
    typer.echo(plot(Experiment.load(config, data=data, rationales=rationales), out))


@app.command("speed")
def speed_command(
    run: RunArgument,
    n: Annotated[int, typer.Option(help="Number of test examples.")] = 100,
) -> None:
    """Time LabelAdapter against ChatAdapter, and the compiled student against the unchanged one."""
    typer.echo(speed(run, n))


@app.command("nearest")
def nearest_command(
    run: RunArgument,
    k: Annotated[list[int] | None, typer.Option(min=1, help="Nearest examples to show; repeatable.")] = None,
    n: Annotated[int, typer.Option(min=2, help="Number of test examples to time.")] = 30,
) -> None:
    """Show the student the 4 nearest labelled examples below the rules: scores on test, and seconds per call."""
    _log_progress()
    typer.echo(nearest(run, k or NEAREST, n))


@app.command("ladder")
def ladder_command(
    run: RunArgument,
    tokens: Annotated[list[int] | None, typer.Option(min=1, help="Prompt tokens for rules; repeatable.")] = None,
) -> None:
    """Score on the test split the best rules that fit into 100, 200, 400 and 800 prompt tokens."""
    typer.echo(ladder(run, tokens or BUDGETS))


@app.command("effects")
def effects_command(
    run: RunArgument,
    calls: Annotated[
        int | None, typer.Option(min=1, show_default="a quarter of one by one", help="Calls of random lists.")
    ] = None,
) -> None:
    """Compare rules' effects by random lists with those of leaving rules out one by one."""
    _log_progress()
    typer.echo(effects(run, calls))


@app.command("plain")
def plain_command(
    run: RunArgument,
    times: Annotated[
        list[int] | None, typer.Option(min=1, help="Calls, as a multiple of those of the run's search; repeatable.")
    ] = None,
) -> None:
    """Search the run's rules again, every trial on all validation examples, with 1, 2 and 4 times the calls."""
    typer.echo(plain_search(run, times or TIMES))


@app.command("stages")
def stages_command(
    run: RunArgument,
    *,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also what the search chose, by itself: rules, wordings, order.")
    ] = False,
) -> None:
    """Score on the test split all rules, those that the search chose, and those after resolving."""
    typer.echo(stages(run, parts=parts))


@app.command("spread")
def spread_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders that differ in the seed alone.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw one line per seed into this .png or .svg file.")
    ] = None,
) -> None:
    """Compare the seeds of one program: test scores, their mean, standard deviation and range; calls no model."""
    seeds = read_seeds(runs)
    if out is not None:
        draw(seeds, out)
    typer.echo(spread(seeds))


@app.command("students")
def students_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, one per student.")],
) -> None:
    """Score every student on the test split under the rules that were chosen for each."""
    typer.echo(f"Student calls that this takes: {missing_calls(runs):,}.", err=True)
    typer.echo(students(runs))


def _log_progress() -> None:
    """Log progress on standard error, with the time."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for name in ("experiments", "pld_dspy"):
        logging.getLogger(name).setLevel(logging.INFO)
    silence_libraries()


if __name__ == "__main__":
    run_app(app)
