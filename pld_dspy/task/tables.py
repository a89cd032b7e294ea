"""Tables: rows of a file or a hub data set, as labelled examples, and a plain classifier for them."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import dspy

from ..errors import DataError
from ..ledger.jsonl import read_jsonl
from .labels import NO_LABEL, is_label, is_missing, label_text

Row = dict[str, Any]

RESERVED = frozenset(
    {
        *("config", "demos", "lm", "new_signature", "signature"),  # settings of a dspy.Predict call
        *("fields", "input_fields", "instructions", "model_config", "output_fields"),  # of a dspy.Signature
    }
)
"""Names that a field of a DSPy program cannot have."""

MOST_BYTES = 2**31
"""Most memory that the rows of a Parquet file may take."""
BYTES_PER_CELL = 64  # a cell as a Python object, beside its own bytes

NO_VALUE = "(none)"
"""Stands for a cell that is empty."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def read_rows(source: str, split: str | None = None) -> list[Row]:
    """Return the rows of a .csv, .jsonl or .parquet file, or of a data set on the public hub (NAMESPACE/NAME).

    CSV cells are text; empty ones are None. ``split`` is that of a hub data set, "train" where None.
    """
    path = Path(source)
    if reader := _READERS.get(path.suffix.lower()):
        try:
            rows = list(reader(path))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read {source}: {error}. Give a readable file in UTF-8.") from error
    elif _HUB_NAME.fullmatch(source) and not path.parent.exists():
        rows = _hub_rows(source, split)
    else:
        raise DataError(
            f"{source} is not a table. Give a .csv, .jsonl or .parquet file, or NAMESPACE/NAME of a hub data set."
        )
    if not rows:
        raise DataError(f"{source} has no rows. Give at least one labelled example.")
    return rows


def examples(
    rows: Sequence[Row], inputs: Sequence[str], label: str, *, source: str = "the table", separator: str | None = None
) -> list[dspy.Example]:
    """Return rows as examples with ``inputs`` marked and their ids, if any; a missing value is None.

    Labels become stripped texts. With a ``separator``, a cell holds a list of them, which "no label" leaves empty.

    Raises:
        DataError: no row has one of the columns, or its name cannot be used.
    """
    _check_columns(inputs, label)
    _check_present(rows, (*inputs, label), source)
    return [_example(row, inputs, label, separator) for row in rows]


def column_texts(rows: Sequence[Row], name: str, *, source: str = "the table") -> list[str]:
    """Return each row's value in a column as a stripped text, ``(none)`` if empty; DataError without the column."""
    _check_present(rows, (name,), source)
    cells = (row.get(name) for row in rows)
    return [("" if is_missing(cell) else label_text(cell).strip()) or NO_VALUE for cell in cells]


def label_set(examples: Sequence[dspy.Example], label: str) -> tuple[tuple[str, ...], bool]:
    """Return the gold label texts of ``examples`` in alphabetical order, and whether any label is a list."""
    golds = [example.get(label) for example in examples]
    cells = [cell for gold in golds for cell in (gold if isinstance(gold, list) else [gold]) if cell is not None]
    texts = {cell for cell in cells if isinstance(cell, str)}
    if cells and not texts:
        kind = type(cells[0]).__name__
        raise DataError(f"The column {label!r} holds a {kind} ({cells[0]!r}), no label. Give texts or whole numbers.")
    return tuple(sorted(texts)), any(isinstance(gold, list) for gold in golds)


def classifier(
    inputs: Sequence[str], label: str, labels: Sequence[str], instructions: str | None = None, *, several: bool = False
) -> dspy.Module:
    """Return a bare predictor from text ``inputs`` to one of ``labels``, or to a list of ``several``."""
    _check_columns(inputs, label)
    if not labels:
        raise DataError(f"No row has a label in {label!r}. Label the rows, or name another column.")
    kind: Any = Literal.__getitem__(tuple(labels))
    fields: dict[str, Any] = {name: (str, dspy.InputField()) for name in inputs}
    fields[label] = (list[kind] if several else kind, dspy.OutputField())
    return dspy.Predict(dspy.Signature(fields, instructions or f"Decide the {label} of the {', '.join(inputs)}."))


def _check_columns(inputs: Sequence[str], label: str) -> None:
    if not inputs:
        raise DataError("There is no input column. Name at least one.")
    if label in inputs:
        raise DataError(f"The column {label!r} is both an input and the label. Name another one.")
    if label == "id":
        raise DataError("The column 'id' holds the ids of rows and cannot be the label. Name another one.")
    for name in (*inputs, label):
        if inputs.count(name) > 1:
            raise DataError(f"The input column {name!r} is given twice. Give it once.")
        if name in RESERVED or name.startswith("_") or not name:
            raise DataError(f"DSPy programs cannot have a field {name!r}. Rename the column.")


def _check_present(rows: Sequence[Row], names: Sequence[str], source: str) -> None:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    for name in names:
        if name not in columns:
            raise DataError(f"{source} has no column {name!r}. It has {', '.join(map(repr, columns))}.")


def _example(row: Row, inputs: Sequence[str], label: str, separator: str | None) -> dspy.Example:
    gold = row.get(label)
    if separator is not None and isinstance(gold, str):
        gold = [] if gold.strip() == NO_LABEL else (gold.split(separator) if gold.strip() else None)
    fields = {
        **({"id": row["id"]} if not is_missing(row.get("id")) else {}),
        **{name: row.get(name) for name in inputs},
        label: [_label(item) for item in gold] if isinstance(gold, list) else _label(gold),
    }
    return dspy.Example(fields).with_inputs(*inputs)


def _label(cell: Any) -> Any:
    if isinstance(cell, str):
        return cell.strip() or None
    if is_missing(cell):
        return None
    return label_text(cell) if is_label(cell) else cell


def _csv_rows(path: Path) -> Iterator[Row]:
    # Not pandas: it reads labels such as "None" and "NA" as missing, and "001" as a number.
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        limit = csv.field_size_limit(2**31 - 1)  # the default, 131,072 characters, is too short for documents
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


def _parquet_rows(path: Path) -> list[Row]:
    import datasets
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        file = pyarrow.parquet.ParquetFile(path)
        schema = datasets.Features.from_arrow_schema(file.schema_arrow).arrow_schema  # without dictionaries
        # load_dataset() would leave a converted copy of the file in a cache.
        return _plain_rows(datasets.Dataset(pyarrow.concat_tables([schema.empty_table(), *_unpacked(file, schema)])))
    except DataError as error:
        raise DataError(f"{path} {error}") from error
    except (pyarrow.ArrowException, KeyError, NotImplementedError, TypeError, ValueError) as error:  # odd schemas
        raise DataError(f"{path} is not a Parquet file that can be read: {error}. Write it again.") from error


def _unpacked(file: Any, schema: Any) -> Iterator[Any]:
    """Yield a Parquet file's rows as tables; a small file may unpack to more than any memory holds (DataError)."""
    import datasets.table
    import pyarrow

    size = 0
    for batch in file.iter_batches(batch_size=64):
        table = datasets.table.table_cast(pyarrow.Table.from_batches([batch]), schema)
        size += table.nbytes + BYTES_PER_CELL * table.num_rows * table.num_columns
        if size > MOST_BYTES:
            raise DataError(f"takes more than {MOST_BYTES:,} bytes when unpacked. Give fewer rows or columns.")
        yield table


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
    """Return the rows of a ``datasets.Dataset``, with class labels by name; -1 stands for no label."""
    import datasets

    def named(value: Any, feature: Any) -> Any:
        if isinstance(value, list):  # a list's feature holds that of its items; an array's holds none
            item = feature[0] if isinstance(feature, list) else getattr(feature, "feature", None)
            return [named(one, item) for one in value]
        if isinstance(feature, datasets.ClassLabel) and value is not None:
            return feature.names[value] if value >= 0 else None
        return value

    features = dataset.features
    return [{column: named(value, features[column]) for column, value in row.items()} for row in dataset.to_list()]


_READERS: dict[str, Callable[[Path], Iterable[Row]]] = {
    ".csv": _csv_rows,
    ".jsonl": partial(read_jsonl, model=dict),
    ".parquet": _parquet_rows,
}
