"""``python -m experiments.cluster_health --size 7190 --size 100000 --rationales FILE``: a table on stdout."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..command import run_app
from .measure import DBSCAN_UP_TO, METHODS, Health, measured

HEADER = (
    "| micro-rules | method | rules | largest | in none | themes with a rule | adjusted Rand | labels lost "
    "| CPU seconds | peak MiB |\n|---|---|---|---|---|---|---|---|---|---|"
)

app = typer.Typer(add_completion=False)


@app.command()
def main(
    size: Annotated[list[int] | None, typer.Option(min=1000, help="Micro-rules to generate, once or more.")] = None,
    rationales: Annotated[list[Path] | None, typer.Option(help="Recorded micro-rules, once or more.")] = None,
    seed: Annotated[int, typer.Option(help="Of the generator.")] = 0,
    embedder: Annotated[
        Literal["auto", "encoder", "tfidf"], typer.Option(help="What compares micro-rules; each method encodes anew.")
    ] = "tfidf",
    dbscan_up_to: Annotated[int, typer.Option(help="Most micro-rules to run plain DBSCAN on.")] = DBSCAN_UP_TO,
) -> None:
    """Compare induction, with and without its check of clusterings, to plain DBSCAN over all labels."""
    sources: list[int | Path] = [*(size or ([] if rationales else [7190, 100_000])), *(rationales or [])]
    rows, notes = [HEADER], []
    seconds: list[tuple[int, float]] = []
    for source in sources:
        name = source.stem if isinstance(source, Path) else f"{source:,} generated"
        for method in METHODS:
            if method == "DBSCAN" and isinstance(source, int) and source > dbscan_up_to:
                notes.append(f"{name}, {method}: not run, {source**2 / 2:.0e} pairs. See --dbscan-up-to.")
                continue
            health = measured(method, source, seed, embedder)
            rows.append(_row(name, method, health))
            if health.note:
                notes.append(f"{name}, {method}: {health.note}")
            if method == "checked" and isinstance(source, int):
                seconds.append((source, health.seconds))
    typer.echo("\n".join([*rows, "", *notes, *_growth(seconds)]))


def _row(name: str, method: str, health: Health) -> str:
    themes = f"{health.recovered} of {health.themes}" if health.themes else "-"
    rand = f"{health.rand:.2f}" if health.themes else "-"
    return (
        f"| {name} | {method} | {health.groups} | {health.largest} | {health.unplaced} | {themes} | {rand} "
        f"| {health.labels_lost} | {health.seconds:.1f} | {health.peak:.0f} |"
    )


def _growth(seconds: list[tuple[int, float]]) -> list[str]:
    """Say how time grows between the smallest and the largest size: 1 is linear, 2 quadratic."""
    (small, before), (large, after) = min(seconds, default=(0, 0.0)), max(seconds, default=(0, 0.0))
    if small == large:
        return []
    return [f"Time with the check grows with the power {math.log(after / before) / math.log(large / small):.2f} of n."]


if __name__ == "__main__":
    run_app(app)
