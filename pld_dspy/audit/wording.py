"""What should not stand in a wording: quoted training texts, personal data, protected attributes, instructions.

Word lists and patterns are English; quotations and personal data are found in any language.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

QUOTED, PERSONAL, PROTECTED, INSTRUCTION = "training text", "personal data", "protected attribute", "instruction"

QUOTE, LEAST = 6, 4
"""Words in a row that stand in a training text as well; of a text with fewer than 10 words, 70% and at least 4."""
RARE = 5
"""A name of a person stands in at most this many training texts."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PERSONAL = {
    "e-mail address": re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"),
    "IBAN": re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b"),
    "card number": re.compile(r"\b\d(?:[ -]?\d){12,18}\b"),
    "phone number": re.compile(
        r"(?:\+|\b0)\d{1,4}(?:[ ./-]?\(?\d{2,}\)?){2,5}\b|\(\d{3}\) ?\d{3}-\d{4}\b|\b\d{3}-\d{3}-\d{4}\b"
    ),
    "account number": re.compile(r"\b[A-Z]{0,3}\d(?: ?\d){7,}\b|\b\d{3}-\d{2}-\d{4}\b"),
}
_TITLE = re.compile(r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme|Sr|Sra)\b\.? +[A-Z]\w+")
_PROTECTED = {
    "sex": "sex gender male female man men woman women boy boys girl girls husband wife mother father pregnant "
    "pregnancy maternity transgender feminine masculine",
    "sexual orientation": "gay lesbian homosexual heterosexual bisexual",
    "race or origin": "race racial ethnic ethnicity nationality immigrant immigrants foreigner foreigners african "
    "african-american asian hispanic latino caucasian arab roma blacks whites",
    "religion": "religion religious christian christians muslim muslims islam islamic jew jews jewish hindu hindus "
    "hinduism buddhist catholic catholics protestant atheist nun monk priest imam rabbi church mosque synagogue",
    "age": "age aged elderly pensioner pensioners retired teenager teenagers seniors",
    "disability or health": "disability disabled handicapped wheelchair blind deaf autistic depression diabetes hiv",
    "opinion or membership": "trade-union unionist republican democrat conservative socialist communist "
    "veteran veterans",
}
_ANSWER = r"(?:answer|choose|say|return|output|respond|reply|select|pick)"
_INSTRUCTIONS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:ignore|disregard|forget|override|skip|bypass)\b[^.;]{0,25}\b(?:above|previous|prior|earlier|preceding|"
        r"other|all|these|your|foregoing)\b[^.;]{0,15}\b(?:rules?|instructions?|prompts?|messages?|guidelines?)\b",
        r"\b(?:system|developer|hidden) (?:prompt|message)\b",
        r"<\|[^|<>]*\|>|\[/?INST\]|<</?SYS>>|<\s*/?\s*(?:system|user|assistant|rules?)\s*>|"
        r"^[\s#]*(?:system|assistant|user)\s*:",
        rf"\b(?:always|must|have to)\b[^.;]{{0,20}}\b{_ANSWER}\b[^.;]{{0,60}}"
        r"\b(?:regardless|no matter what|whatever (?:the|it|is|happens))\b",
        r"\b(?:regardless|irrespective) of (?:the|all|any|every) (?:\w+ )?"
        r"(?:texts?|inputs?|rules?|instructions?|messages?)\b",
        r"\byou are now\b|\bact as (?:an?|the)\b|\bpretend (?:to be|that you)\b",
        r"\bfrom (?:now|here) on\b|\bnew instructions\b|\bas an AI\b",
        r"\b(?:reveal|repeat|print|show|leak)\b[^.;]{0,20}\b(?:prompt|instructions|rules)\b",
        r"\b(?:do not|don't|never) (?:follow|obey|read|apply|use)\b[^.;]{0,20}\b(?:rules?|instructions?)\b|"
        r"\bforget (?:everything|all|what)\b",
    )
)


class WordingCheck:
    """Checks ``wordings`` against the training texts (example id -> text) and the label set."""

    def __init__(self, wordings: Iterable[str], texts: Mapping[str, str], labels: Sequence[str]) -> None:
        wanted = {gram for wording in wordings for _, gram in _grams(words_of(wording))}
        self._texts: dict[str, list[str]] = {}
        self._places: dict[tuple[str, ...], list[tuple[str, int]]] = {}  # words of a wording -> where texts have them
        for name, text in texts.items():
            words = words_of(text)
            for place, gram in _grams(words):
                if gram in wanted:
                    self._texts[name] = words
                    self._places.setdefault(gram, []).append((name, place))
        in_labels = {word for label in labels for word in words_of(label)}
        groups = {name: set(listed.split()) for name, listed in _PROTECTED.items()}
        self._names = _rare_names(texts.values()).difference(in_labels, *groups.values())
        unexpected = {name: words for name, words in groups.items() if not words & in_labels}
        # Labels of two groups: the task itself is about such attributes.
        self._unexpected = unexpected if len(groups) - len(unexpected) < 2 else {}

    def findings(self, wording: str) -> Iterator[tuple[str, str]]:
        """Yield the kind of each fault, and what was found in one line."""
        if quoted := self._quoted(words_of(wording)):
            yield QUOTED, f"{quoted[1]!r} stands in {quoted[0]}"
        for name, found in self._personal(wording):
            yield PERSONAL, f"{name}: {found}"
        words = set(re.findall(r"[\w-]+", wording.casefold()))
        for group, of_group in self._unexpected.items():
            if named := words & of_group:
                yield PROTECTED, f"check: {', '.join(sorted(named))} ({group})"
        if spoken := next(filter(None, (pattern.search(wording) for pattern in _INSTRUCTIONS)), None):
            yield INSTRUCTION, f"it speaks to the model: {spoken.group().strip()!r}"

    def _quoted(self, words: Sequence[str]) -> tuple[str, str] | None:
        """Return the example with the longest quotation, and the quoted words; None without one."""
        best: tuple[int, str, int] = (0, "", 0)
        for start, gram in _grams(words):
            for name, place in self._places.get(gram, ()):
                text, length = self._texts[name], LEAST
                while words[start + length : start + length + 1] == text[place + length : place + length + 1] != []:
                    length += 1
                enough = QUOTE if len(text) >= 10 else max(LEAST, round(0.7 * len(text)))
                if length >= enough and length > best[0]:
                    best = (length, name, start)
        length, name, start = best
        return (name, " ".join(words[start : start + length])) if length else None

    def _personal(self, wording: str) -> Iterator[tuple[str, str]]:
        left = wording  # what one pattern has found is not searched by the next
        for name, pattern in _PERSONAL.items():
            for match in pattern.finditer(left):
                if _CHECKS.get(name, bool)(match.group()):
                    yield name, match.group()
                    left = left.replace(match.group(), " ")
        capitalized = (word for word in _WORD.findall(wording) if word[0].isupper())
        known = {word for word in capitalized if word.casefold().removesuffix("'s") in self._names}
        if names := _TITLE.findall(wording) or sorted(known):
            yield "name", ", ".join(names)


def words_of(text: str) -> list[str]:
    """Return the words of a text without case and punctuation."""
    return _WORD.findall(text.casefold())


def _grams(words: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    return ((place, tuple(words[place : place + LEAST])) for place in range(len(words) - LEAST + 1))


def _rare_names(texts: Iterable[str]) -> set[str]:
    """Return words, without case, that are always capitalized, at least once within a sentence, and in few texts."""
    inside: set[str] = set()
    lower: set[str] = set()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(words_of(text)))
        for match in _WORD.finditer(text):
            word = match.group()
            if not word[0].isupper():
                lower.add(word.casefold())
            elif not word.isupper() and re.search(r"[\w,'’)]\s+$", text[max(0, match.start() - 3) : match.start()]):
                inside.add(word.casefold().removesuffix("'s"))
    return {word for word in inside - lower if counts[word] <= RARE}


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _passes_luhn(text: str) -> bool:
    digits = [int(sign) for sign in reversed(text) if sign.isdigit()]
    return sum(digits[::2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) % 10


_CHECKS: dict[str, Callable[[str], bool]] = {
    "IBAN": _is_iban,
    "card number": _passes_luhn,
    "phone number": lambda text: sum(map(str.isdigit, text)) > 8,  # a date has eight digits
}
