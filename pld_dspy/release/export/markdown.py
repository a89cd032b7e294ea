"""The bundle ``text``: the prompt as Markdown, one fenced block per message."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...ledger.jsonl import write_whole
from .requests import read_json, write_json
from .template import Template

_BLOCK = re.compile(r"^## (\w+)\n\n(`{3,})text\n(.*?)\n\2$", re.MULTILINE | re.DOTALL)


def write_markdown(folder: Path, template: Template) -> None:
    """Write prompt.md, and the settings of the request beside it."""
    parts = [f"# Prompt\n\nPut the example in place of {' and '.join(template.markers.values())} in the last message."]
    for message in template.messages:
        longest = max(map(len, re.findall("`+", message["content"])), default=0)
        fence = "`" * max(3, longest + 1)
        parts.append(f"## {message['role']}\n\n{fence}text\n{message['content']}\n{fence}")
    write_whole(folder / "prompt.md", "\n\n".join(parts) + "\n")
    write_json(folder / "settings.json", template.settings)


def read_markdown(folder: Path, markers: Mapping[str, str]) -> Template:
    """Return the template in prompt.md."""
    found = _BLOCK.findall((folder / "prompt.md").read_bytes().decode("utf-8"))
    messages = [{"role": role, "content": content} for role, _, content in found]
    return Template(messages=messages, markers=dict(markers), settings=read_json(folder / "settings.json"))
