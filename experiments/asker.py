"""The student of a finished run, to be asked again under other rules."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dspy

from pld_dspy.adapter import asking_for_logprobs
from pld_dspy.evaluation import Evaluation, Evaluator
from pld_dspy.ledger import Ledger
from pld_dspy.progress import bar
from pld_dspy.reload import Run
from pld_dspy.rules import RuleSet

STAGE = "asked again"


@dataclass(frozen=True)
class Asker:
    """A finished run's student under any of its rules; answers are kept with the run's own."""

    opened: Run
    evaluator: Evaluator
    val: list[dspy.Example]

    @classmethod
    @contextmanager
    def of(cls, run: Path) -> Iterator[Asker]:
        """Serve the run's student, on the ledger of its compile: what was asked there costs nothing here."""
        opened = Run.open(run)
        model, command = opened.command.student, opened.command
        threads = 1 if model.is_local else dspy.settings.num_threads
        with dspy.context(lm=model.lm(cache=False), adapter=command.prompting()):
            evaluator = Evaluator(
                student=command.source.student(),
                task=opened.task,
                ledger=Ledger(opened.folder.predictions, num_threads=threads),
                adapter=asking_for_logprobs(None),
                seed=command.seed,
            )
            yield cls(opened, evaluator, command.loaded()[1]["valset"])

    def ask(self, rules: RuleSet | None, examples: Sequence[dspy.Example]) -> Evaluation:
        """Ask all of ``examples``; a bar shows how far it is."""
        with bar(STAGE, "call", total=len(examples)) as shown:
            return self.evaluator.evaluate(rules, examples, stage=STAGE, on_answer=shown.update)
