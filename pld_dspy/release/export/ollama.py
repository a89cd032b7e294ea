"""The bundle ``ollama``: a Modelfile with the system message, the demonstrations and the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import DataError
from ...ledger.jsonl import write_whole
from .template import Template

PARAMETERS = {"temperature": "temperature", "max_tokens": "num_predict", "top_p": "top_p", "seed": "seed"}
_QUOTED = re.compile(r'^(SYSTEM|MESSAGE user|MESSAGE assistant) """(.*?)"""$', re.MULTILINE | re.DOTALL)


def write_modelfile(folder: Path, template: Template, *, model: str) -> None:
    """Write Modelfile, and turn.txt with the last turn; DataError where the format cannot hold a text."""
    *before, last = template.messages
    lines = [f"# Replace this by the model that was scored, {' '.join(model.split())}:", "FROM ./model.gguf"]
    for message in before:
        text, name = message["content"], "SYSTEM" if message["role"] == "system" else f"MESSAGE {message['role']}"
        if '"""' in text or text.endswith('"'):
            raise DataError(
                f"The {message['role']} message holds three quotes in a row or ends with a quote, which a Modelfile "
                "cannot hold. Export it in another format."
            )
        lines.append(f'{name} """{text}"""')
    settings = template.settings
    lines += [f"PARAMETER {own} {settings[name]}" for name, own in PARAMETERS.items() if name in settings]
    write_whole(folder / "Modelfile", "\n".join(lines) + "\n")
    write_whole(folder / "turn.txt", last["content"])


def read_modelfile(folder: Path, markers: Mapping[str, str]) -> Template:
    """Return the template in Modelfile and turn.txt."""
    text, turn = ((folder / name).read_bytes().decode("utf-8") for name in ("Modelfile", "turn.txt"))
    quoted = [(name.removeprefix("MESSAGE ").lower(), content) for name, content in _QUOTED.findall(text)]
    messages = [{"role": role, "content": content} for role, content in (*quoted, ("user", turn))]
    found = dict(re.findall(r"^PARAMETER (\w+) (.+)$", _QUOTED.sub("", text), re.MULTILINE))
    settings = {name: json.loads(found[own]) for name, own in PARAMETERS.items() if own in found}
    return Template(messages=messages, markers=dict(markers), settings=settings)
