"""pld-dspy export: a finished run's prompt as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RunError
from ..release.export import Format
from .options import RequireSignature, RunArgument
from .streams import escape_control_characters, silence_libraries

if TYPE_CHECKING:
    from ..compile.context import CompileContext
    from .finished_run import FinishedRun


def export(
    run: RunArgument,
    *,
    to: Annotated[Format, typer.Option("--to", help="Who will read the files.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder for the files.", show_default=False)],
    require_signature: RequireSignature = False,
) -> None:
    """Write a finished run's prompt as files for other programs, with examples to compare answers; nothing is asked."""
    from ..release import signature
    from ..release.edits import unchecked
    from ..release.trail import append
    from .finished_run import FinishedRun

    silence_libraries()
    finished = FinishedRun.open(run)
    if require_signature:
        signature.require_signature(run)
    if unchecked(run):
        raise RunError(f"{finished.folder.rules} has edits that were not scored. Run pld-dspy recheck {run} first.")
    faults = signature.signature_faults(run)
    signed = None if faults else signature.read_signature(run)
    manifest: dict[str, Any] = {
        "model": Path(finished.spec.student.spec).name,
        "run": finished.folder.fingerprint,
        "signature": signed and signed.model_dump(mode="json"),
        "versions": finished.result.versions,
        "notes": ["Without the run's calibration, which --to dspy has."]
        if finished.calibrated and to != "dspy"
        else [],
    }
    if to in ("dspy", "mlflow"):
        task = finished.task
        manifest |= {"label_field": task.label_field, "labels": task.labels, "several": task.several}
        (_write_program if to == "dspy" else _write_model)(finished, out, manifest)
    else:
        with finished.opened() as context:
            _write_prompt(finished, context, to, out, manifest)
    for note in (*manifest["notes"], *faults):
        typer.echo(escape_control_characters(note))
    append(run, "exported", to=to)
    typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write_prompt(
    finished: FinishedRun, context: CompileContext, to: Format, out: Path, manifest: dict[str, Any]
) -> None:
    import dspy

    from ..release.export.bundle import write_bundle
    from ..release.export.golden import golden_examples
    from ..release.export.labels import decision_of
    from ..release.export.template import RequestRecorder, template_of
    from ..student.adapter import LabelAdapter
    from ..student.compose import with_rules
    from ..student.decision import Decision

    task, rules, lm, adapter = context.task, finished.result.rules, dspy.settings.lm, dspy.settings.adapter
    program = with_rules(context.student, task, rules or None)
    recorder = RequestRecorder(program, task, lm, adapter)
    template = template_of(recorder, task)
    golden = golden_examples(context, rules, recorder, template)
    if left_out := len(context.splits.val) + len(context.splits.test) - len(golden):
        manifest["notes"].append(
            f"{left_out} validation and test examples are left out: no answer under these rules (on test, after a "
            "recheck without --test), or one that took two calls."
        )
    asks_label = Decision.of(dict(program.named_predictors())[task.predictor].signature) is not None
    write_bundle(
        out,
        to,
        template,
        golden,
        decision=decision_of(task.label_field, task.labels, several=task.several),
        bare=asks_label and isinstance(adapter, LabelAdapter),
        **{**manifest, "model": lm.model.split("/", 1)[-1]},
    )


def _write_model(finished: FinishedRun, out: Path, manifest: dict[str, Any]) -> None:
    from ..release.export.bundle import write_manifest
    from ..release.registry import save_model

    save_model(finished.folder.path, out)
    write_manifest(out, "mlflow", **manifest)


def _write_program(finished: FinishedRun, out: Path, manifest: dict[str, Any]) -> None:
    from ..release.export.dspy_program import write_program

    source, spec = finished.spec.source, finished.spec
    if source.kind == "program":
        imports, student = [f"from {source.module} import student"], "student()"
        if source.module.endswith(".py"):
            path = Path(source.module).resolve()
            imports = ["import sys", f"sys.path.insert(0, {str(path.parent)!r})", f"from {path.stem} import student"]
    else:
        imports = ["from pld_dspy.task.tables import classifier"]
        student = (
            f"classifier({source.inputs!r}, {source.label!r}, {source.labels!r}, {source.instructions!r}, "
            f"several={source.several})"
        )
    label = spec.adapter == "label"
    imports.append("from pld_dspy import LabelAdapter" if label else "")
    write_program(
        out,
        finished.program(),
        imports=list(filter(None, imports)),
        student=student,
        adapter=f"LabelAdapter(constrain={spec.constrain!r})"
        if label
        else f"dspy.{type(spec.dspy_adapter()).__name__}()",
        **manifest,
    )
