"""Label log-probabilities, from the log-probabilities of tokens that a server lists beside its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from ..ledger.completion import thought_end
from ..ledger.recorded import part_of

Fold = Callable[[bytes], bytes]

_UNLISTED = -9999.0  # OpenAI's figure for a token outside its list
_SEPARATORS = bytes.maketrans(b"_-", b"  ")


def label_logprobs(logprobs: Any, *, labels: Sequence[str], answer: str) -> dict[str, float] | None:
    """Return label -> natural log-probability, in the order of ``labels``, from the tokens listed beside the answer.

    A listed token counts for the label that it begins, in any case, with or without a leading space, and with any
    separator of words; the probabilities of several tokens of one label add up. A token that begins several labels is
    divided among them: by the lists at the following tokens if the answer went on with this token, else equally,
    except that a complete label weighs twice. At a label's end, any token that continues no other label counts for
    it. A label that no token begins gets the smallest figure of the list, or an equal part of the probability that
    the list leaves if that is less. The result is normalized over the label set.

    ``logprobs`` is OpenAI's ``{"content": [{"token", "bytes", "logprob", "top_logprobs"}, ...]}``, as mappings or
    objects; llama.cpp gives the same, of the distribution before a grammar. The result is None if nothing is listed,
    or ``answer`` (the answered label) is not spelled out in the tokens.
    """
    steps = [_step(entry) for entry in part_of(logprobs, "content") or ()]
    fold = _fold if len({_fold(label.encode()) for label in labels}) == len(labels) else bytes
    deciding = _from_label(steps, fold, answer)
    if not deciding:
        return None
    return _divide(deciding, {label: fold(label.encode()) for label in labels}, b"")


def lists_tokens(logprobs: Any) -> bool:
    """Return whether a server's log-probabilities list any token."""
    return bool(part_of(logprobs, "content"))


@dataclass(frozen=True)
class _Step:
    """One token of the answer, and the (token, log-probability) pairs it was chosen from, its own among them."""

    token: bytes
    choices: tuple[tuple[bytes, float], ...]

    def with_tokens(self, change: Fold) -> _Step:
        """Return this step with all tokens changed."""
        return _Step(change(self.token), tuple((change(token), logprob) for token, logprob in self.choices))


def _step(entry: Any) -> _Step:
    listed = [(_bytes(other), float(part_of(other, "logprob"))) for other in part_of(entry, "top_logprobs") or ()]
    listed = [(token, logprob) for token, logprob in listed if logprob > _UNLISTED]
    token, logprob = _bytes(entry), float(part_of(entry, "logprob"))
    if logprob <= _UNLISTED:
        logprob = min((logprob for _, logprob in listed), default=0.0)
    own = () if token in dict(listed) else ((token, logprob),)  # a grammar may force a token that is not listed
    return _Step(token, (*listed, *own))


def _from_label(steps: Sequence[_Step], fold: Fold, answer: str) -> list[_Step]:
    """Return the folded steps from the one that begins the answered label, without the text before the label."""
    written = b"".join(step.token for step in steps)
    begin = thought_end(written)
    # In JSON the label is last, after the field's name.
    find = bytes.rfind if written[begin:].lstrip().startswith(b"{") else bytes.find
    place = find(fold(written), fold(answer.encode()), begin)
    ends = accumulate(len(step.token) for step in steps)
    first = next((number for number, end in enumerate(ends) if 0 <= place < end), None)
    if first is None:
        return []
    lead = written[sum(len(step.token) for step in steps[:first]) : place]
    deciding = steps[first].with_tokens(lambda token: fold(token.removeprefix(lead).lstrip()))
    return [deciding, *(step.with_tokens(fold) for step in steps[first + 1 :])]


def _divide(steps: Sequence[_Step], spelled: Mapping[str, bytes], written: bytes) -> dict[str, float]:
    """Divide a probability of 1 among labels that all begin with ``written``; as natural logarithms."""
    if not steps:  # the answer ended here: a complete label is likelier than one that goes on
        return _normalized({label: math.log(1 + (text == written)) for label, text in spelled.items()})
    step, *rest = steps
    shares: dict[str, float] = {}
    for token, logprob in step.choices:
        begun = _begun(spelled, written, token)
        further = rest if token == step.token else ()
        inner = _divide(further, begun, written + token) if len(begun) > 1 else dict.fromkeys(begun, 0.0)
        for label, share in inner.items():
            shares[label] = float(np.logaddexp(shares.get(label, -math.inf), logprob + share))
    if absent := [label for label in spelled if label not in shares]:
        left = max(1.0 - sum(math.exp(logprob) for _, logprob in step.choices), 1e-12)
        floor = min(*(logprob for _, logprob in step.choices), math.log(left / len(absent)))
        shares |= dict.fromkeys(absent, floor)
    return _normalized({label: shares[label] for label in spelled})


def _begun(spelled: Mapping[str, bytes], written: bytes, token: bytes) -> dict[str, bytes]:
    """Return the labels that begin with ``written`` and ``token``; else the longest one that these complete."""
    text = written + token
    begun = {label: whole for label, whole in spelled.items() if whole.startswith(text)}
    if begun and token:  # an end of text is an empty token
        return begun
    done = {
        label: whole
        for label, whole in spelled.items()
        if text.startswith(whole) and not text[len(whole) : len(whole) + 1].isalnum()
    }
    longest = max(done, key=lambda label: len(done[label]), default=None)
    return {} if longest is None else {longest: done[longest]}


def _normalized(shares: Mapping[str, float]) -> dict[str, float]:
    total = float(np.logaddexp.reduce(list(shares.values())))
    return {label: share - total for label, share in shares.items()}


def _fold(text: bytes) -> bytes:
    return text.translate(_SEPARATORS).lower()


def _bytes(entry: Any) -> bytes:
    # A token may be a part of a character, which has bytes but no text.
    raw = part_of(entry, "bytes")
    return str(part_of(entry, "token")).encode() if raw is None else bytes(raw)
