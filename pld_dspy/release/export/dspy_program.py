"""The bundle ``dspy``: the program's state, with its calibration, and the lines that load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy

from ...calibrate.calibrated import Calibrated
from ...errors import RunError
from ...ledger.jsonl import new_folder, write_whole
from .bundle import write_manifest


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
        manifest: fields of :class:`~pld_dspy.release.export.bundle.Manifest`.

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
    write_manifest(folder, "dspy", **manifest)
