"""The finished run among whose rules a compile for another student chooses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..audit.labels import Audit
from ..errors import DataError
from ..induce.induce import Induction
from ..rules import PEOPLE
from ..run.folder import RunFolder
from ..run.result import PLDResult
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

    def check_data(self, data: Mapping[str, str]) -> None:
        """Raise DataError if a split, given as name -> fingerprint, is not the one that the run has."""
        known = self.folder.settings()["data"]
        for name, given in data.items():
            if known.get(name) != given:
                raise DataError(
                    f"The {name} split is not the one that {self.folder.path} was compiled with, by whose data its "
                    "rules were made. Give the same examples in the same order; where validation is split off "
                    "training, the same seed too."
                )

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
