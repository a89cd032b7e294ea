"""A table of new inputs, with what a deployed program answered to them, if that is there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from ..errors import DataError
from ..task.checks import check_examples
from ..task.labels import is_missing
from ..task.tables import examples, read_rows

if TYPE_CHECKING:
    from .finished_run import FinishedRun

CONFIDENCE = "confidence"


@dataclass(frozen=True)
class NewInputs:
    """Rows of a table as examples, which need no label, and the answers beside them."""

    examples: list[dspy.Example]
    labels: Sequence[str | None] = ()  # one per row, None where it is empty or unknown; none without such a column
    confidences: Sequence[float] = ()  # the same; NaN where empty
    golds: Sequence[str | None] = ()  # what stood in the label column, where the program was asked anew

    @classmethod
    def read(cls, finished: FinishedRun, source: str) -> NewInputs:
        """Read the table ``source``, whose columns are the program's fields; DataError if it cannot be used."""
        task, rows = finished.task, read_rows(source)
        found = examples(
            [{task.label_field: None, **row} for row in rows],
            task.inputs,
            task.label_field,
            source=source,
            separator=getattr(finished.spec.source, "separator", None),
        )
        bare = [one.without("id") if "id" in one else one for one in found]  # an id may come again in a log
        check_examples(task, bare, split="new", labelled=False)
        answered = any(one[task.label_field] is not None for one in found)
        sure = CONFIDENCE not in task.inputs and any(not is_missing(row.get(CONFIDENCE)) for row in rows)
        return cls(
            found,
            [task.read(dict(one)) for one in found] if answered else (),
            [_confidence(row.get(CONFIDENCE), number) for number, row in enumerate(rows)] if sure else (),
        )


def _confidence(cell: Any, row: int) -> float:
    if is_missing(cell):
        return math.nan
    try:
        value = float(cell)
    except (TypeError, ValueError):
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise DataError(f"new row {row}: the confidence {cell!r} is no number from 0 to 1. Correct it or leave it out.")
    return value
