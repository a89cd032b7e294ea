"""pld-dspy export: a finished run's prompt as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..errors import RunError
from .open_recheck import open_recheck
from .options import RunArgument
from .streams import silence_libraries

if TYPE_CHECKING:
    import dspy

    from ..release.recheck import Recheck
    from .finished_run import FinishedRun

To = Literal["dspy", "text", "openai", "llama.cpp", "vllm", "ollama", "promptfoo"]


def export(
    run: RunArgument,
    *,
    to: Annotated[To, typer.Option("--to", help="Who will read the files.", show_default=False)],
    out: Annotated[Path, typer.Option(help="A new folder for the files.", show_default=False)],
    signed: Annotated[
        bool, typer.Option("--require-signature", help="Refuse a run that is not validly signed.")
    ] = False,
) -> None:
    """Write a finished run's prompt as files for other programs, with examples to compare answers; nothing is asked."""
    import dspy

    from ..release.edits import listed, unchecked
    from ..release.signature import read_signature, require_signature
    from ..release.trail import append
    from .finished_run import FinishedRun

    silence_libraries()
    finished = FinishedRun.open(run)
    if signed:
        require_signature(run)
    if unchecked(run):
        raise RunError(f"{finished.folder.rules} has edits that were not scored. Run pld-dspy recheck {run} first.")
    signature = read_signature(run)
    manifest = {
        "model": Path(finished.spec.student.spec).name,
        "run": finished.folder.fingerprint,
        "signature": signature and signature.model_dump(mode="json"),
        "versions": finished.result.versions,
    }
    if to == "dspy":
        _write_program(finished, out, manifest)
    else:
        model = finished.spec.student
        model.check()
        lm, adapter = model.lm(), finished.spec.dspy_adapter()
        with dspy.context(lm=lm, adapter=adapter):
            opened = open_recheck(finished, listed(finished.result), [])
            _write_prompt(opened, to, out, lm, adapter, {**manifest, "model": lm.model.split("/", 1)[-1]})
    append(run, "exported", to=to)
    typer.echo(f"{out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def _write_prompt(
    opened: Recheck, to: To, out: Path, lm: dspy.LM, adapter: dspy.Adapter, manifest: dict[str, Any]
) -> None:
    from ..release.export.bias import logit_bias
    from ..release.export.bundle import write_bundle
    from ..release.export.golden import golden_examples, kept_answers
    from ..release.export.labels import decision_of
    from ..release.export.template import Recorder, template_of
    from ..student.adapter import LabelAdapter
    from ..student.compose import with_rules
    from ..student.decision import Decision

    context, rules, offsets = opened.context, opened.after, opened.offsets
    task, notes = context.task, list[str]()
    bias: dict[str, float] = {}
    program = with_rules(context.student, task, rules or None)
    recorder = Recorder(program, task, lm, adapter)
    template = template_of(recorder, task)
    if offsets is not None and any(offsets.values):
        cause = "precedents are weighed too" if opened.precedents else "this format has no place for them"
        if opened.precedents is None and to in ("openai", "llama.cpp", "vllm"):
            bias, cause = logit_bias(offsets, lm)
        notes.append(
            "The offsets of the labels are added to the tokens that begin them (logit_bias). That comes near what was "
            "scored, and is not the same: run pld-dspy verify."
            if bias
            else f"Without the run's calibration: {cause}."
        )
    kept = kept_answers(context, rules, offsets if bias else None)
    golden = golden_examples(context, kept, recorder, template)
    if left_out := len(context.splits.val) + len(context.splits.test) - len(golden):
        notes.append(f"{left_out} validation and test examples are left out: no answer, or one that took two calls.")
    asks_label = Decision.of(dict(program.named_predictors())[task.predictor].signature) is not None
    write_bundle(
        out,
        to,
        template,
        golden,
        decision=decision_of(task.label_field, task.labels, several=task.several),
        bare=asks_label and isinstance(adapter, LabelAdapter),
        bias=bias,
        notes=notes,
        **manifest,
    )


def _write_program(finished: FinishedRun, out: Path, manifest: dict[str, Any]) -> None:
    from ..release.export.dspy_program import write_program

    source, task, spec = finished.spec.source, finished.task, finished.spec
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
        label_field=task.label_field,
        labels=task.labels,
        several=task.several,
        notes=(),
        **manifest,
    )
