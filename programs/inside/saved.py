"""A compiled program saved as JSON, and loaded where ``pld_dspy`` is not installed: ``load`` needs only DSPy.

The rules are part of the instructions, so they are in the file. The adapter is not: compile with an adapter that exists
there, such as DSPy's own ChatAdapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import dspy

if TYPE_CHECKING:
    from .case import Case


def load(path: Path, decision: type[dspy.Signature]) -> dspy.Module:
    """Return the program saved in the file ``path``."""
    program = dspy.Predict(decision)
    program.load(path)
    return program


def compiled(case: Case) -> dspy.Module:
    """Compile, save, and load again."""
    program = case.pld(adapter=dspy.ChatAdapter()).compile(dspy.Predict(case.decision), **case.data)
    program.save(case.folder / "saved.json")
    return load(case.folder / "saved.json", case.decision)


if __name__ == "__main__":
    from .case import main

    main("saved", compiled)
