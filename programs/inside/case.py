"""The task that an example runs on: a signature, its data and a PLD; by default the demo task and the local model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import dspy
import typer

from pld_dspy import demo
from pld_dspy.compile.inputs import Rationales
from pld_dspy.local.connect import local_lm
from pld_dspy.pld import PLD
from pld_dspy.search.search_config import SearchConfig
from pld_dspy.student.adapter import LabelAdapter
from pld_dspy.task.splits import Splits

SEARCH = SearchConfig(screen_calls=144, trials=4)
"""A short search: the examples show how the parts fit together, within minutes."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A task to run an example on.

    Attributes:
        decision: a signature with the input ``text`` and one labelled output.
        splits: its examples.
        folder: the run folder, for one compile.
        pld: returns a ``PLD`` for this folder; takes more of its settings.
        rationales: recorded micro-rules, or None.
    """

    decision: type[dspy.Signature]
    splits: Splits
    folder: Path
    pld: Callable[..., PLD]
    rationales: Rationales = None

    @property
    def label(self) -> str:
        """Name of the labelled output."""
        return str(next(iter(self.decision.output_fields)))

    @property
    def data(self) -> dict[str, Any]:
        """The arguments of ``PLD.compile`` except the student."""
        splits = self.splits
        return {
            "trainset": splits.train,
            "valset": splits.val,
            "testset": splits.test,
            "rationales": self.rationales,
        }

    def right(self, gold: dspy.Example, prediction: dspy.Prediction, trace: Any = None) -> bool:
        """Return whether the label is right: the per-example metric that DSPy's own optimizers need."""
        return bool(gold[self.label] == prediction.get(self.label))


def main(name: str, example: Callable[[Case], dspy.Module]) -> None:
    """Run an example on the demo task with the local model; print its predictors and its answer to a test example."""
    folder = Path("runs") / f"inside-{name}"
    case = Case(
        decision=demo.Claim,
        splits=demo.load(),
        folder=folder,
        pld=partial(PLD, search=SEARCH, run_dir=folder, tracking=None),
        rationales=demo.rationales_file(),
    )
    with dspy.context(lm=local_lm(), adapter=LabelAdapter()):
        program = example(case)
        for path, predictor in program.named_predictors():
            typer.echo(f"{path}, {len(predictor.demos)} demonstrations:\n{predictor.signature.instructions}\n")
        unseen = case.splits.test[0]
        typer.echo(f"{unseen.text}\n{program(**unseen.inputs())}")
