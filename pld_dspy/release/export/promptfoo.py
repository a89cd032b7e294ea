"""The bundle ``promptfoo``: a configuration, the prompt as a Nunjucks template in JSON, and the golden examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...ledger.jsonl import write_whole
from ...rules import read_yaml, write_yaml
from .requests import read_json, write_json
from .template import Golden, Template, fill

_OPENS = re.compile(r"\{[{%#]|\{\Z")  # the last one may stand before a variable
_ESCAPED = re.compile(r'\{\{ "(\{[{%#]?)" \}\}')


def escape(text: str) -> str:
    """Return ``text`` as a Nunjucks template that renders to it."""
    return _OPENS.sub(r'{{ "\g<0>" }}', text)


def write_promptfoo(folder: Path, template: Template, golden: Sequence[Golden], *, model: str) -> None:
    """Write promptfooconfig.yaml, prompt.json and tests.yaml.

    DataError where an input's name is no name in Nunjucks.
    """
    if odd := [name for name in template.markers if not name.isidentifier()]:
        raise DataError(f"The input {odd[0]!r} is no name for promptfoo. Rename it, or export in another format.")
    *before, last = template.messages
    # Escaped around the markers, which may stand side by side with braces of the text.
    parts = re.split(f"({'|'.join(re.escape(marker) for marker in template.markers.values())})", last["content"])
    names = {marker: f"{{{{ {name} }}}}" for name, marker in template.markers.items()}
    content = "".join(names.get(part) or escape(part) for part in parts)
    messages = [*({**one, "content": escape(one["content"])} for one in before), {**last, "content": content}]
    write_json(folder / "prompt.json", messages)
    settings = {**template.settings}
    config: dict[str, Any] = {
        name: settings.pop(name) for name in ("temperature", "max_tokens", "response_format") if name in settings
    }
    document = {
        "description": "Exported prompt and its golden examples",
        "prompts": ["file://prompt.json"],
        "providers": [{"id": f"openai:chat:{model}", "config": {**config, "passthrough": settings}}],
        "tests": "file://tests.yaml",
    }
    write_whole(folder / "promptfooconfig.yaml", write_yaml(document, width=100))
    tests = [
        {
            "description": f"{one.split} {one.id}",
            "vars": {name: escape(value) for name, value in one.inputs.items()},
            "assert": [{"type": "equals", "value": escape(one.answer), "transform": "output.trim()"}],
        }
        for one in golden
        if one.answer is not None
    ]
    write_whole(folder / "tests.yaml", write_yaml(tests, width=100))


def read_promptfoo(folder: Path, markers: Mapping[str, str]) -> Template:
    """Return the template in prompt.json, with the settings of the configuration's provider."""
    [provider] = read_yaml((folder / "promptfooconfig.yaml").read_text(encoding="utf-8"))["providers"]
    config = dict(provider["config"])
    passthrough = config.pop("passthrough", None) or {}
    *before, last = read_json(folder / "prompt.json")
    own = {name: f"{{{{ {name} }}}}" for name in markers}
    # In one pass: what an escape stands for is no marker.
    named = {f'{{{{ "{opens}" }}}}': opens for opens in ("{{", "{%", "{#", "{")}
    texts = {**{place: markers[name] for name, place in own.items()}, **named}
    content = fill(last["content"], {place: place for place in texts}, texts)
    plain = [{**one, "content": _ESCAPED.sub(r"\1", one["content"])} for one in before]
    messages = [*plain, {**last, "content": content}]
    return Template(messages=messages, markers=dict(markers), settings={**config, **passthrough})
