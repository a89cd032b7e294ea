"""Formats: micro-rules about how to write the answer, which say nothing about what to answer.

The form of an answer is the signature's and the adapter's matter. In a prompt such rules only take room, and since
they are as good for one label as for another, a flood of them is a cluster in each.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..rules import MicroRule
from ..task.answers import label_names

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
"""A condition on answering as such, which every example meets."""


def about_format(text: str, labels: Sequence[str]) -> bool:
    """Return whether an instruction orders a form of answer, and names neither a sign nor the label to answer.

    Cautious: an instruction with a condition on the example, or with exactly one label, is about the decision.
    """
    bare = _ANSWERING.sub("", text)
    if not _ORDER.search(bare) or not _FORM.search(bare) or _CONDITION.search(bare):
        return False
    named = {re.sub(r"[\s_-]", "", name.casefold()) for name in label_names(tuple(labels)).findall(text)}
    return len(named) != 1


def without_format(micro_rules: Sequence[MicroRule], labels: Sequence[str]) -> tuple[list[MicroRule], list[str]]:
    """Return the micro-rules about the decision, and the example ids of those about the answer's format."""
    decisive, about_form = [], []
    for rule in micro_rules:
        if about_format(rule.rule, labels):
            about_form.append(rule.example_id)
        else:
            decisive.append(rule)
    return decisive, about_form
