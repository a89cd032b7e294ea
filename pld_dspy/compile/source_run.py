"""The finished run among whose rules a compile chooses, for another student or with further training examples."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import dspy

from ..audit.labels import Audit
from ..errors import DataError
from ..induce.induce import Induction
from ..rules import PEOPLE
from ..run.folder import RunFolder
from ..run.result import PLDResult
from ..task.shared import Duplicates
from ..task.splits import Splits
from ..task.task import example_id, inputs_key
from .fingerprint import fingerprint, rows_in
from .policy import Policy


@dataclass(frozen=True)
class SourceRun:
    """A finished run; its explanations, doubts and rules stand in for those of a compile."""

    folder: RunFolder
    result: PLDResult

    @classmethod
    def of(cls, run: Path | str) -> SourceRun:
        """Open a run folder; RunError where the run is not finished."""
        folder = RunFolder(run)
        return cls(folder, PLDResult.load(folder.path))

    def new_examples(self, splits: Splits, labels: tuple[str, ...], duplicates: Duplicates) -> list[dspy.Example]:
        """Return the training examples behind those of the run, each with an id.

        DataError where a split, up to there, or the label set is not what the run has, or a text is there twice.
        """
        known = self.folder.settings()["data"]
        old = splits.train[: rows_in(str(known.get("train")))]
        for name, examples in replace(splits, train=old).non_empty():
            if known.get(name) != fingerprint(examples):
                raise DataError(
                    f"The {name} split is not the one that {self.folder.path} was compiled with, by whose data its "
                    "rules were made. Give the same examples in the same order, new ones for training behind them; "
                    "where validation is split off training, the same seed too."
                )
        if more := sorted({*labels} - {*self.result.labels}):
            raise DataError(
                f"The label {more[0]!r} is not in the label set of {self.folder.path} "
                f"({', '.join(self.result.labels)}). Correct the examples; another label takes a new compile."
            )
        names = [example_id(one, row) for row, one in enumerate(splits.train)]
        texts = {inputs_key(dict(one.inputs())): row for row, one in enumerate(old)}
        new = [one.copy(id=name) for one, name in zip(splits.train, names, strict=True)][len(old) :]
        again = [(one.id, texts[key]) for one in new if (key := inputs_key(dict(one.inputs()))) in texts]
        if again and duplicates == "refuse":
            raise DataError(
                f"{len(again)} new examples have the text of an old one, the first {again[0][0]!r} that of training "
                f"row {again[0][1]}. Remove them; a run with duplicates='keep' or 'drop' counts them twice."
            )
        if new and self.result.rules.demos:
            raise DataError(
                f"{self.folder.path} chose demonstrations (demos=N): drawn from more examples they would be others. "
                "Compile anew with all of them."
            )
        return new

    @property
    def audit(self) -> Audit:
        """The labels in doubt."""
        return Audit(self.result.suspects)

    def induction(self, policy: Policy) -> Induction:
        """Return the chosen rules and the bench, as far as rules.yaml, of which ``policy`` is made, still has them.

        Rules that people alone wrote are left to the policy, which gives them all their wordings.
        """
        kept = {rule.id for rule in policy.rules}
        listed = (*self.result.rules.rules, *self.result.bench)
        return Induction(
            rules=[rule for rule in listed if rule.id in kept and {*rule.origins} != {PEOPLE}],
            noise=[],
            fallbacks=[],
            dropped=[],
            brief=None,
            counts=self.result.counts,
            diagnosis="",
        )
