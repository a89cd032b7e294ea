"""Formats: micro-rules about how to write the answer, which say nothing about what to answer.

Signature and adapter give the format of an answer. In a prompt such rules only take up room, and since they fit every
label, many of them would form a cluster in each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..task.answers import label_names
from ..teacher.signatures import is_unfilled

_FLAGS = re.IGNORECASE | re.VERBOSE

_ORDER = re.compile(
    r"""
    (?: ^ | [.;:!]\s+ )
    (?: (?: please | always | never | only | just | simply | still | do\ not | don't | you\ (?:must|should)
          | (?:make|be)\ sure\ to )\s+ )*
    (?: answer | respond | reply | output | return | write | print | give | produce | state | provide | format | wrap
      | keep | add | include | append | explain | justify | avoid | no | use(?!\ of) )\b
    |
    \b (?: answers? | outputs? | responses? | repl(?:y|ies) | results? | labels? ) \s+
    (?: must | should | shall | ha(?:s|ve)\ to | needs?\ to | is\ to | may\ not | can(?:not|\ only) )\b
    """,
    _FLAGS,
)
"""An order that concerns the answer: "Always respond with ...", "The output must ..."."""

_FORM = re.compile(
    r"""\b(?:
      (?:one|single|1)[ -](?:word|letter|token|line|label)s?
    | (?:only|exactly)\ (?:the|one)\ (?:label|answer|word|name|category|option|letter)
    | (?:exactly\ )?one\ of\ the\ (?:\w+\ )?(?:labels?|options?|categor(?:y|ies)|answers?|choices?)
    | (?:full|complete|extra)\ sentences? | (?:extra|additional|other)\ (?:text|words) | concise | brief | short
    | nothing\ (?:else|more) | anything\ else | preamble | explanations? | explain | reasoning | justif\w+
    | lower[ -]?case | upper[ -]?case | capital(?:s|i[sz]ed?)? | verbatim | spell(?:ed|ing|t)
    | punctuation | quot(?:es|ation\ marks?) | full\ stops? | periods? | brackets? | prefix | suffix | new\ ?lines?
    | json | xml | yaml | html | markdown | bullets? | bold | format(?:ted|ting)?
    )\b""",
    _FLAGS,
)
_CONDITION = re.compile(
    r"\b(?: if | when(?:ever)? | where(?:ver)? | unless | once | whose | since | because )\b", _FLAGS
)
_ANSWERING = re.compile(
    r"""\b(?: if | when(?:ever)? )\s+ (?: you(?:\ are|'re)?\s+ )?
    (?: answer | respond | reply | unsure | in\ doubt )\w* ,?\s*""",
    _FLAGS,
)
"""A condition on answering itself, which every example meets."""


def about_format(text: str, labels: Sequence[str]) -> bool:
    """Return whether an instruction is about the format of the answer, and names neither a sign nor a label.

    In doubt it is not: a condition on the example, or exactly one label, makes an instruction one about the decision.
    """
    bare = _ANSWERING.sub("", text)
    if not _ORDER.search(bare) or not _FORM.search(bare) or _CONDITION.search(bare):
        return False
    named = {re.sub(r"[\s_-]", "", name.casefold()) for name in label_names(tuple(labels)).findall(text)}
    return len(named) != 1


def usable_line(text: str, labels: Sequence[str]) -> str:
    """Return a teacher's wording as one line; an empty text where it fills nothing in, or is about the format."""
    line = " ".join(text.split())
    return "" if is_unfilled(line) or about_format(line, labels) else line
