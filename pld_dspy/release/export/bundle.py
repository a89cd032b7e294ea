"""A bundle: the files of one format, the golden examples, the manifest that says what was exported, and a README."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import DataError, RunError, Stored
from ...ledger.jsonl import new_folder, write_jsonl, write_whole
from ...local.models import file_sha256
from ...student.decision import Decision
from . import Format
from .labels import as_constraints, decision_of
from .markdown import read_markdown, write_markdown
from .ollama import read_modelfile, write_modelfile
from .promptfoo import read_promptfoo, write_promptfoo
from .requests import read_request, settings_for, write_json, write_request
from .template import Golden, Template

_READERS: dict[str, Callable[[Path, Mapping[str, str]], Template]] = {
    "text": read_markdown,
    "openai": read_request,
    "llama.cpp": read_request,
    "vllm": read_request,
    "ollama": read_modelfile,
    "promptfoo": read_promptfoo,
}
_CURL = (
    "curl URL/v1/chat/completions -H 'Content-Type: application/json' -d @example.json. For others, put the input in "
    "place of its marker, escaped as JSON, or let client.py do so: python client.py BASE_URL MODEL NAME=VALUE."
)
_HOW = {
    "text": "prompt.md holds the messages, settings.json the settings of the request.",
    "openai": "request.json is the body of a request, client.py fills it: python client.py BASE_URL MODEL NAME=VALUE.",
    "llama.cpp": "request.json is the body of a request with a grammar. Serve the model: llama-server -m FILE.gguf. "
    f"One example: {_CURL}",
    "vllm": f"request.json is the body of a request with structured outputs. One example: {_CURL}",
    "ollama": "Set FROM in Modelfile, then: ollama create NAME -f Modelfile. A Modelfile has no place for what stands "
    "around the example: send turn.txt as the user's message, with the example in it. It has no place for a grammar "
    "either: send the schema in labels.json as the request's format, or let the answer be free.",
    "promptfoo": "Run: promptfoo eval -c promptfooconfig.yaml, with OPENAI_BASE_URL set to the server's address; "
    "without it, the examples go to OpenAI. The tests expect the answers that were scored, right or wrong: they tell "
    "whether the prompt still answers alike, not whether it is right.",
}


class Manifest(Stored):
    """What was exported: manifest.json."""

    format: Format
    model: str  # as the student's server knows it
    markers: dict[str, str]  # input -> what stands for it in the last message
    label_field: str
    labels: tuple[str, ...]
    several: bool
    notes: tuple[str, ...]
    golden: dict[str, int]  # split -> examples
    run: str  # the run's fingerprint
    signature: dict[str, Any] | None
    versions: dict[str, str]
    digests: dict[str, str]  # file -> SHA-256, as written

    @property
    def decision(self) -> Decision:
        """What is decided."""
        return decision_of(self.label_field, self.labels, several=self.several)


def write_bundle(
    folder: Path,
    kind: Format,
    template: Template,
    golden: Sequence[Golden],
    *,
    decision: Decision,
    bare: bool,
    **manifest: Any,
) -> None:
    """Write a bundle into ``folder``, which must be empty or new.

    Args:
        folder: where the files go.
        kind: the format.
        template: the prompt as scored, with the settings of its requests.
        golden: examples to compare with.
        decision: between label texts.
        bare: whether an answer is the bare label.
        manifest: the other fields of :class:`Manifest`.

    Raises:
        DataError: the folder is not empty, or the format cannot hold the prompt.
        RunError: the folder cannot be written.
    """
    new_folder(folder)
    model: str = manifest["model"]
    if kind in ("openai", "llama.cpp", "vllm"):
        template = template.model_copy(update={"settings": settings_for(kind, template, decision, bare=bare)})
        write_request(folder, template, model=model, example=golden[0].inputs if golden else None)
    elif kind == "text":
        write_markdown(folder, template)
    elif kind == "ollama":
        write_modelfile(folder, template, model=model)
    else:
        write_promptfoo(folder, template, golden, model=model)
    write_json(folder / "labels.json", as_constraints(decision))
    write_jsonl(folder / "golden.jsonl", golden)
    signed = manifest["signature"]
    said = f"Signed by {signed['by']} on {signed['when']}." if signed else "Signed by nobody."
    notes = "".join(f"\n- {note}" for note in (f"Scored with {model}.", said, *manifest["notes"]))
    write_whole(folder / "README.md", f"# Exported prompt for {kind}\n\n{_HOW[kind]}\n{notes}\n")
    counts = {split: sum(one.split == split for one in golden) for split in dict.fromkeys(one.split for one in golden)}
    write_manifest(
        folder,
        kind,
        markers=template.markers,
        label_field=decision.field,
        labels=decision.labels,
        several=decision.several,
        golden=counts,
        **manifest,
    )


def read_bundle(folder: Path) -> tuple[Manifest, Template]:
    """Return the manifest and the template of a bundle, read from the files that its format's users read.

    Raises:
        RunError: the folder is no bundle, or a file of it is damaged.
        DataError: a bundle for DSPy or MLflow, which holds a program and no prompt.
    """
    path = folder / "manifest.json"
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
        read = _READERS.get(manifest.format)
        template = read and read(folder, manifest.markers)
    except OSError as error:
        raise RunError(f"{folder} is no bundle: {error}. Make one with pld-dspy export.") from error
    except (ValidationError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"The bundle {folder} is damaged: {str(error).splitlines()[0]}. Export again.") from error
    if template is None:
        raise DataError(
            f"{folder} holds a program for {manifest.format}, not a prompt. Score it with pld-dspy evaluate RUN."
        )
    return manifest, template


def changed_files(folder: Path, manifest: Manifest) -> list[str]:
    """Return the files that are not as they were exported, the missing ones too; further files do not matter."""
    now = _digests(folder)
    return [name for name, digest in manifest.digests.items() if now.get(name) != digest]


def write_manifest(folder: Path, kind: Format, **fields: Any) -> None:
    """Write manifest.json, with the digests of all files in the folder and the other fields of :class:`Manifest`."""
    written = Manifest(format=kind, digests=_digests(folder), **{"golden": {}, "markers": {}, **fields})
    write_json(folder / "manifest.json", written.model_dump(mode="json"))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}
