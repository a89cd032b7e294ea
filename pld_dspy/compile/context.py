"""What the stages of one compile share."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ledger.ledger import Ledger
from ..run.folder import RunFolder
from ..student.evaluator import Evaluator
from ..teacher.teacher import Teacher
from .inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Job:
    """One compile under way.

    Attributes:
        inputs: the checked inputs.
        folder: where all that is found is kept.
        ledger: where every call is made, kept and counted.
        evaluator: the student as a function of its rules; it asks through the ledger.
        teacher: asks through the ledger too; None where there is none.
        seed: of every random choice.
        seconds: stage -> wall seconds, as the stages finish.
    """

    inputs: Inputs
    folder: RunFolder
    ledger: Ledger
    evaluator: Evaluator
    teacher: Teacher | None
    seed: int
    seconds: dict[str, float] = field(default_factory=dict)
