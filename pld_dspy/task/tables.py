"""Tables: rows of a file or a hub data set to labelled examples, and the plain classifier that fits them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import dspy

from ..errors import DataError
from ..ledger.jsonl import read_jsonl
from .labels import NO_LABEL

Row = dict[str, Any]

RESERVED = frozenset(
    {
        *("config", "demos", "lm", "new_signature", "signature"),  # settings of a dspy.Predict call
        *("fields", "input_fields", "instructions", "model_config", "output_fields"),  # of a dspy.Signature
    }
)
"""Names that a column of a DSPy program cannot have."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_LONGEST_CELL = 2**31 - 1


def read_rows(source: str, split: str | None = None) -> list[Row]:
    """Read a table.

    Args:
        source: a CSV, JSONL or Parquet file, told by its ending, or NAMESPACE/NAME of a data set on the public hub.
            CSV cells are text of any length, and an empty one is None. Numbered class labels are given by their names.
        split: which split of a hub data set; a file holds one.

    Returns:
        At least one row, each a dict from column to value.

    Raises:
        DataError: the source cannot be read; the message names the line.
    """
    path = Path(source)
    reader = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}.get(path.suffix.lower())
    if reader is not None:
        try:
            rows = list(reader(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read {source}: {error}. Give a readable file in UTF-8.") from error
    elif _HUB_NAME.fullmatch(source) and not path.parent.exists():
        rows = _hub_rows(source, split)
    else:
        raise DataError(
            f"{source} is no table: give a .csv, .jsonl or .parquet file, or NAMESPACE/NAME of a hub data set."
        )
    if not rows:
        raise DataError(f"{source} has no rows. Give at least one labelled example.")
    return rows


def examples(
    rows: Sequence[Row],
    inputs: Sequence[str],
    label: str,
    *,
    source: str = "the table",
    separator: str | None = None,
) -> list[dspy.Example]:
    """Return rows as examples with ``inputs`` marked; other columns but ``id`` are left out.

    Args:
        rows: n rows. A cell that a row lacks is None, which the check of the examples refuses by row.
        inputs: names of the input columns.
        label: name of the label column; text without the blanks around it, whole numbers and truth values become label
            texts, also in a list of several labels. A blank text is no label: None.
        source: where the rows are from, for messages.
        separator: what parts several labels in one cell of text, which then becomes a list; "no label" is an empty
            list, an empty cell is missing. None where a text is one label.

    Raises:
        DataError: a column is in none of the rows, or cannot be used.
    """
    _check_columns([*inputs, label])
    there = list(dict.fromkeys(column for row in rows for column in row))
    for name in (*inputs, label):
        if name not in there:
            raise DataError(f"{source} has no column {name!r}. It has {', '.join(map(repr, there))}.")
    return [_example(row, inputs, label, separator) for row in rows]


def label_set(examples: Sequence[dspy.Example], label: str) -> tuple[str, ...]:
    """Return the gold label texts of ``examples``, each once, in alphabetical order."""
    golds = [example.get(label) for example in examples]
    listed = (one for gold in golds for one in (gold if isinstance(gold, list) else [gold]))
    return tuple(sorted({one for one in listed if isinstance(one, str)}))


def has_several(examples: Sequence[dspy.Example], label: str) -> bool:
    """Tell whether the label column of ``examples`` holds lists of labels."""
    return any(isinstance(example.get(label), list) for example in examples)


def classifier(
    inputs: Sequence[str],
    label: str,
    labels: Sequence[str],
    instructions: str | None = None,
    *,
    several: bool = False,
) -> dspy.Module:
    """Return a bare predictor from text ``inputs`` to one of ``labels``, or to a list of them.

    Args:
        inputs: names of the input fields.
        label: name of the output field.
        labels: the label set.
        instructions: what to decide; a plain sentence made of the names where None.
        several: whether its output is a list of labels.

    Raises:
        DataError: there is no label, or a field name cannot be used.
    """
    _check_columns([*inputs, label])
    if not labels:
        raise DataError(f"No row has a label in {label!r}. Label the rows, or name another column.")
    fields: dict[str, Any] = {name: (str, dspy.InputField()) for name in inputs}
    kind: Any = Literal.__getitem__(tuple(labels))
    fields[label] = (list[kind] if several else kind, dspy.OutputField())
    return dspy.Predict(dspy.Signature(fields, instructions or f"Decide the {label} of the {', '.join(inputs)}."))


def _check_columns(names: Sequence[str]) -> None:
    *inputs, label = names
    if not inputs:
        raise DataError("No input column is named. Name at least one.")
    if label in inputs:
        raise DataError(f"The column {label!r} is both an input and the label. Name another one.")
    if label == "id":
        raise DataError("The column 'id' tells rows apart and cannot be the label. Name another one.")
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"The column {name!r} is named twice. Name it once.")
        if name in RESERVED or name.startswith("_") or not name:
            raise DataError(f"DSPy programs cannot have a field {name!r}. Rename the column.")


def _example(row: Row, inputs: Sequence[str], label: str, separator: str | None) -> dspy.Example:
    gold = row.get(label)
    if separator is not None and isinstance(gold, str):
        gold = [] if gold.strip() == NO_LABEL else (gold.split(separator) if gold.strip() else None)
    fields = {
        **({"id": row["id"]} if row.get("id") is not None else {}),
        **{name: row.get(name) for name in inputs},
        label: [_text(one) for one in gold] if isinstance(gold, list) else _text(gold),
    }
    return dspy.Example(fields).with_inputs(*inputs)


def _text(label: Any) -> Any:
    if isinstance(label, str):
        return label.strip() or None
    return str(label) if isinstance(label, int) else label


def _csv_rows(path: Path) -> Iterator[Row]:
    # Not pandas: it takes labels such as "None" and "NA" for missing, and "001" for a number.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        limit = csv.field_size_limit(_LONGEST_CELL)  # 131,072 characters by default: documents are longer
        try:
            header = reader.fieldnames or []
            if len(set(header)) < len(header):
                raise DataError(f"{path}: two columns have the same name ({', '.join(header)}). Rename one.")
            for row in reader:
                if None in row or None in row.values():
                    raise DataError(
                        f"{path} line {reader.line_num} has {'more' if None in row else 'fewer'} cells than the "
                        f"header's {len(header)}. Quote cells that hold commas or line breaks."
                    )
                yield {column: cell or None for column, cell in row.items()}
        except csv.Error as error:
            raise DataError(f"{path} line {reader.reader.line_num} is not CSV: {error}. Correct it.") from error
        finally:
            csv.field_size_limit(limit)


def _json_rows(path: Path) -> list[Row]:
    return read_jsonl(path, dict)


def _parquet_rows(path: Path) -> list[Row]:
    import datasets
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        # load_dataset() would leave a converted copy of the file in a cache.
        return _plain_rows(datasets.Dataset(pyarrow.parquet.read_table(path)))
    except pyarrow.ArrowException as error:
        raise DataError(f"{path} is not a Parquet file: {error}. Write it again.") from error


def _hub_rows(name: str, split: str | None) -> list[Row]:
    import datasets

    try:
        return _plain_rows(datasets.load_dataset(name, split=split or "train"))
    except (OSError, ValueError, RuntimeError) as error:  # what the hub's client raises, ConnectionError included
        raise DataError(
            f"Cannot read the {split or 'train'} split of {name!r} from the hub: {error}. Check name, split and "
            "network, or give a file."
        ) from error


def _plain_rows(dataset: Any) -> list[Row]:
    """Rows of a ``datasets.Dataset``, with class labels as names; an unlabelled row is numbered -1."""
    import datasets

    rows: list[Row] = dataset.to_list()
    for column, feature in dataset.features.items():
        if isinstance(feature, datasets.ClassLabel):
            for row in rows:
                number = row[column]
                row[column] = feature.names[number] if number is not None and number >= 0 else None
    return rows
