"""The bundle ``dspy``: the program's state, with its calibration, and the lines that load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy

from ...calibrate.calibrated import Calibrated
from ...errors import RunError
from ...ledger.jsonl import write_whole
from .bundle import Manifest, digests, new_folder
from .requests import write_json


def write_program(
    folder: Path, program: dspy.Module, *, imports: Sequence[str], student: str, adapter: str, **manifest: Any
) -> None:
    """Write program.json, load.py and manifest.json.

    Args:
        folder: where the files go, empty or new.
        program: the compiled program, calibrated or not.
        imports: lines of Python that import what is needed.
        student: an expression for the unchanged program.
        adapter: an expression for the adapter that was scored.
        manifest: fields of :class:`Manifest`.

    Raises:
        DataError: the folder is not empty.
        RunError: the folder cannot be written.
    """
    new_folder(folder)
    try:
        program.save(folder / "program.json")
    except Exception as error:
        raise RunError(f"Cannot save the program: {type(error).__name__}: {error}") from error
    calibrated = isinstance(program, Calibrated)
    lines = [
        "from pathlib import Path",
        "",
        "import dspy",
        *imports,
        *(["from pld_dspy import Calibrated"] if calibrated else []),
        "",
        f"program = {f'Calibrated({student})' if calibrated else student}",
        'program.load(Path(__file__).with_name("program.json"))',
        f"# Before a call: dspy.configure(lm=..., adapter={adapter})",
    ]
    write_whole(folder / "load.py", "\n".join(lines) + "\n")
    written = Manifest(format="dspy", golden={}, digests=digests(folder), markers={}, **manifest)
    write_json(folder / "manifest.json", written.model_dump(mode="json"))
