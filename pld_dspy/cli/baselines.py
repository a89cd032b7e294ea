"""pld-dspy baselines: what the labels alone give, before anything is compiled."""

from __future__ import annotations

import typer

from .options import AsJson, DataOptions, Seed, Target, with_option_groups
from .streams import silence_libraries, stdout_to_stderr


@with_option_groups
def baselines(*, data: DataOptions, target: Target = None, seed: Seed = 0, as_json: AsJson = False) -> None:
    """Score simple classifiers on the labels that compile would have: no model, nothing compiled, some seconds."""
    from ..pld import PLD
    from .data_source import chosen_source
    from .printing import console, print_baselines
    from .run_spec import ModelSpec, RunSpec

    with stdout_to_stderr():
        silence_libraries()
        source = chosen_source(data)
        # The student is named since a run has one; no model is looked up.
        spec = RunSpec(source=source, rationales=data.rationales, student=ModelSpec(spec="local"), seed=seed)
        spec, arguments = spec.load()
        del arguments["rules"]
        pld = PLD(target=target, duplicates=data.duplicates, seed=seed, tracking=None)
        found = pld.baselines(spec.source.student(), **arguments)
    if as_json:
        typer.echo(found.model_dump_json(exclude_none=True, exclude={"rows": {"__all__": {"answers"}}}))
        return
    print_baselines(console(), found)
