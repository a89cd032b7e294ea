"""Files as they arrive broken: bytes cut, swapped or added anywhere, and values of another kind than expected."""

import copy
import csv
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import yaml

SNIPPETS = (
    *(b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n\n", b'"', b"'", b",", b"{", b"}", b"[", b"]", b"\\", b"\t"),
    *(b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"null", b'"\\ud800"', b'"\\u0000"', "\u2028\u202e\u00e9".encode()),
    *(b"[" * 2000, b'{"a":' * 2000, b"&a [*a, *a]", b"*nowhere", b"!!python/object/apply:os.getcwd []", b"!!bool x"),
    *(b"!!timestamp x", b"2020-13-45", b"? [a]\n: b\n", b"<script>alert(1)</script>", b"{{ 7*7 }}", b"%s", b"=1+1"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, 0, -1, 10**30, 1e308, float("nan"), "", " ", "x" * 3000, "\x00", "\x1b[2J", "\u2028", "<b>"),
    *([], {}, [None], [[]], {"": None}, {"a": {"b": [1, "x"]}}, "$\\frac{", "food", "../..", "{{ 7*7 }}"),
)


def mutated(path: Path, rng: random.Random) -> str:
    """Change the file in one place or a few, and say how."""
    structured = _STRUCTURED.get(path.suffix)
    change = rng.choice(_BYTES) if structured is None or rng.random() < 0.5 else structured
    path.write_bytes(change(path.read_bytes(), rng))
    return f"{path.name} {change.__name__}"


def _cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _without_slice(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 10, 100)) :]


def _with_slice_twice(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 10, 100, 1000))]
    return data[:start] + part + data[start:]


def _with_snippet(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + rng.choice(SNIPPETS) + data[start:]


def _with_value_for_snippet(data: bytes, rng: random.Random) -> bytes:
    words = data.split(b" ")
    words[rng.randrange(len(words))] = rng.choice(SNIPPETS)
    return b" ".join(words)


def _with_other_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 5, 50)) if data else 0):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return bytes(changed)


def _with_lines_moved(data: bytes, rng: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    rng.shuffle(lines)
    return b"".join(lines)


def _changed_value(document: Any, rng: random.Random) -> Any:
    """Put an odd value in place of one, take one away, or add one, somewhere in the document."""
    document = copy.deepcopy(document)
    if not isinstance(document, (dict, list)) or not document or rng.random() < 0.02:
        return rng.choice(VALUES)
    part = document
    while True:
        place = rng.choice(list(part) if isinstance(part, dict) else range(len(part)))
        if isinstance(part[place], (dict, list)) and part[place] and rng.random() < 0.85:
            part = part[place]
            continue
        kind = rng.random()
        if kind < 0.2:
            del part[place]
        elif kind < 0.3 and isinstance(part, dict):
            part["another"] = rng.choice(VALUES)
        else:
            part[place] = rng.choice(VALUES)
        return document


def _json_value(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(_changed_value(json.loads(data), rng)).encode()


def _json_line(data: bytes, rng: random.Random) -> bytes:
    lines = [json.loads(line) for line in data.splitlines()]
    for _ in range(rng.choice((1, 3))):
        place = rng.randrange(len(lines))
        lines[place] = _changed_value(lines[place], rng)
    return "\n".join(map(json.dumps, lines)).encode()


def _yaml_value(data: bytes, rng: random.Random) -> bytes:
    return yaml.safe_dump(_changed_value(yaml.safe_load(data), rng), sort_keys=False).encode()


def _csv_cell(data: bytes, rng: random.Random) -> bytes:
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    for _ in range(rng.choice((1, 3))):
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = str(rng.choice(VALUES))
    table = io.StringIO(newline="")
    csv.writer(table).writerows(rows)
    return table.getvalue().encode()


def _parquet_column(data: bytes, rng: random.Random) -> bytes:
    table = pyarrow.parquet.read_table(io.BytesIO(data))
    name, n = rng.choice(table.column_names), table.num_rows
    column = rng.choice(
        (
            pyarrow.nulls(n),
            pyarrow.array([rng.choice((0, 1, None)) for _ in range(n)]),
            pyarrow.array([rng.choice((0.5, 1.0, float("nan"))) for _ in range(n)]),
            pyarrow.array([b"\xff\xfe"] * n),
            pyarrow.array([{"a": 1, "b": None}] * n),
            pyarrow.array([["food"], []] * (n // 2)),
            pyarrow.array([row for row in range(n)], pyarrow.timestamp("ns")),
            pyarrow.array(["2", "3"] * (n // 2)).cast(pyarrow.decimal128(5, 2)),
            pyarrow.array(["food", None] * (n // 2)).dictionary_encode(),
            pyarrow.array([[("a", 1)]] * n, pyarrow.map_(pyarrow.string(), pyarrow.int64())),
            pyarrow.array([row for row in range(n)], pyarrow.duration("s")),
        )
    )
    table = table.set_column(table.column_names.index(name), name, column)
    if rng.random() < 0.1:
        table = table.append_column(rng.choice(table.column_names), column)  # two columns of one name
    out = io.BytesIO()
    pyarrow.parquet.write_table(table, out)
    return out.getvalue()


_BYTES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _cut,
    _without_slice,
    _with_slice_twice,
    _with_snippet,
    _with_value_for_snippet,
    _with_other_bytes,
    _with_lines_moved,
)
_STRUCTURED: dict[str, Callable[[bytes, random.Random], bytes]] = {
    ".csv": _csv_cell,
    ".json": _json_value,
    ".jsonl": _json_line,
    ".yaml": _yaml_value,
    ".log": _json_line,
    ".parquet": _parquet_column,
}
