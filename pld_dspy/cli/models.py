"""pld-dspy models: list the models that run locally, and fetch one before its first use."""

from __future__ import annotations

from typing import Annotated

import typer

models_app = typer.Typer()


@models_app.callback(invoke_without_command=True)
def models(ctx: typer.Context) -> None:
    """Local models: list them, or fetch one before its first use."""
    if ctx.invoked_subcommand is None:
        list_models()


@models_app.command("list")
def list_models() -> None:
    """List the models that can be fetched by name, and the paths of those that are cached."""
    from ..local.models import CATALOGUE, find
    from .printing import console, table_of

    table = table_of(["name", "size", "licence", "cached"])
    table.add_column("path", overflow="fold")
    for name, model in CATALOGUE.items():
        path = find(name)
        table.add_row(name, f"{model.size / 1e9:.2f} GB", model.license, "yes" if path else "no", str(path or ""))
    console().print(table)


@models_app.command("pull")
def pull(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Fetch a model, verify it, and print its path."""
    from ..local.fetch import fetch
    from .run_spec import ModelSpec

    ModelSpec(spec=f"local:{name}").check()
    typer.echo(fetch(name))
