"""The commands of ``pld-dspy models``: what can be served locally, and fetching it."""

from __future__ import annotations

from typing import Annotated

import typer

models_app = typer.Typer(help="The local models: which there are, and fetching one ahead of its first use.")


@models_app.callback(invoke_without_command=True)
def models(ctx: typer.Context) -> None:
    """The local models: which there are, and fetching one ahead of its first use."""
    if ctx.invoked_subcommand is None:
        list_models()


@models_app.command("list")
def list_models() -> None:
    """List the models that can be fetched by name, and where those are that are here."""
    from ..local.models import CATALOGUE, find
    from .printing import console, models_table

    console().print(models_table([(model, find(name)) for name, model in CATALOGUE.items()]))


@models_app.command("pull")
def pull(name: Annotated[str, typer.Argument(metavar="NAME", show_default=False)]) -> None:
    """Fetch a model, verify it, and print its path."""
    from ..local.fetch import fetch
    from .run_spec import Model

    Model(spec=f"local:{name}").check()
    typer.echo(fetch(name))
