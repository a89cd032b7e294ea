"""pld-dspy verify: ask the golden examples of a bundle again, through the exported files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from ..errors import DataError
from .options import address_option, key_option
from .streams import escape_control_characters, silence_libraries


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder of pld-dspy export.", show_default=False)],
    *,
    api_base: Annotated[str | None, address_option()] = None,
    api_key_env: Annotated[str | None, key_option()] = None,
    model: Annotated[str | None, typer.Option(help="Its name there.", show_default="the one that was scored")] = None,
    student: Annotated[str | None, typer.Option(metavar="SPEC", help="Instead: a local model to serve.")] = None,
    n: Annotated[int | None, typer.Option("--n", min=1, help="How many examples.", show_default="all")] = None,
) -> None:
    """Ask the examples of an exported prompt again by plain HTTP, and list the answers and the files that differ."""
    from ..release.export.bundle import changed_files, read_bundle
    from ..release.export.verify import golden_of, server, verify
    from .run_spec import ModelSpec

    silence_libraries()
    if (api_base is None) == (student is None):
        raise DataError("Give the address of a server with --api-base, or a local model with --student.")
    key = os.environ.get(api_key_env) if api_key_env else None
    if api_key_env and not key:
        raise DataError(f"The environment variable {api_key_env} is not set. Put the API key in it.")
    golden = golden_of(bundle, n)
    typer.echo(f"Calls to make: {len(golden)}.", err=True)
    changed = changed_files(bundle, read_bundle(bundle)[0])
    if student is not None:
        served = ModelSpec(spec=student)
        served.check()
        if not served.is_local:
            raise DataError(f"{student} is no local model. Give the address of its server with --api-base.")
        lm = served.lm()
        api_base, key, model = lm.kwargs["api_base"], None, model or lm.model.split("/", 1)[-1]
    asked = verify(bundle, golden, server(str(api_base), key), model=model)
    found = list(tqdm(asked, total=len(golden), desc="verify", unit="call", disable=None, leave=False))
    differing = [one for one in found if not one.is_same]
    for one in differing:
        line = f"{one.split} {one.id}: scored {one.scored}, now {one.answer} ({one.text[:80]!r})"
        typer.echo(escape_control_characters(line))
    typer.echo(f"{len(found) - len(differing)} of {len(found)} answers are as scored.")
    if changed:
        typer.echo(escape_control_characters(f"Changed since the export: {', '.join(changed)}."))
    if differing or changed:
        raise typer.Exit(1)
