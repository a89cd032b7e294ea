"""What the form of one rule on the review page does to the rules and the bench."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import DataError
from ..rules import PEOPLE, UNKNOWN, Rule
from .edits import Listed

Form = Mapping[str, str]


class StaleForm(DataError):
    """A form was made from a rules.yaml that is no longer there."""


def edited(lists: Listed, form: Form) -> Listed:
    """Return rules and bench after the form of one rule was sent: its fields first, then what its button does.

    ``form`` holds ``rule`` (the id) and, as far as they are to change, ``text``, ``reason``, ``comment`` and
    ``wording`` (the text of the one to use); ``do`` is the button: save, up, down, place (at ``to``, from 0), bench,
    list, pin, unpin, ban or unban.

    Raises:
        DataError: there is no such rule, button, place or wording, or the text is empty.
    """
    chosen, bench = list(lists[0].rules), list(lists[1])
    name, do = form.get("rule"), form.get("do", "save")
    here = next((place for place in (chosen, bench) for rule in place if rule.id == name), None)
    if here is None or do not in {*_MOVES, *_FLAGS}:
        raise DataError(f"There is no rule {name!r}, or no button {do!r}. Load the page again.")
    at = next(number for number, rule in enumerate(here) if rule.id == name)
    rule = here.pop(at)
    typed = {field: _plain(form[field]) for field in ("reason", "comment") if field in form}
    update: dict[str, Any] = {field: text for field, text in typed.items() if text != _plain(getattr(rule, field))}
    rule = _reworded(rule, form).model_copy(update={**update, **_FLAGS.get(do, {})})
    if do in ("bench", "ban"):
        bench.insert(at if here is bench else 0, rule)
    elif do == "place":
        chosen.insert(_place(form, len(chosen)), rule)
    elif do == "list":
        chosen.append(rule)
    else:
        here.insert(max(at + {"up": -1, "down": 1}.get(do, 0), 0), rule)
    return lists[0].with_rules(chosen), tuple(bench)


_FLAGS: dict[str, dict[str, bool]] = {
    "pin": {"pin": True},
    "unpin": {"pin": False},
    "ban": {"ban": True, "pin": False},  # and to the bench: a banned rule does not stand among the rules
    "unban": {"ban": False},
    "bench": {"pin": False},
    "list": {"ban": False},
}
_MOVES = ("save", "up", "down", "place")


def _place(form: Form, last: int) -> int:
    to = form.get("to", "")
    if not to.isdecimal() or int(to) > last:
        raise DataError(f"There is no place {to!r}. Give to as a number from 0 to {last}.")
    return int(to)


def _plain(text: str) -> str:
    """Return a text as it was before a browser sent it."""
    return text.replace("\r\n", "\n").strip()


def _reworded(rule: Rule, form: Form) -> Rule:
    """Return the rule with the wording that the form chooses or writes.

    A wording of people's own is replaced by their next one; any other wording stays, to be chosen again.
    """
    text = form.get("wording", _plain(form.get("text", rule.text)))
    if "wording" in form and text not in rule.wordings:
        raise DataError(f"Rule {rule.id} has no wording {text!r}. Give one that it has, or your own as text.")
    if not text:
        raise DataError(f"The text of rule {rule.id} is empty. Write one, or move the rule to the bench.")
    if text == _plain(rule.text):
        return rule
    if text in rule.wordings:
        return rule.with_wording(rule.wordings.index(text))
    origins = rule.origins or (UNKNOWN,) * len(rule.wordings)
    kept = [number for number in range(len(rule.wordings)) if number != rule.chosen or origins[number] != PEOPLE]
    return rule.model_copy(
        update={
            "wordings": (text, *(rule.wordings[number] for number in kept)),
            "origins": (PEOPLE, *(origins[number] for number in kept)),
            "chosen": 0,
        }
    )
