"""Values by content: equal for equal contents in every process, different for all others, and readable."""

import datetime
import subprocess
import sys
import threading
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import dspy
import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel

from pld_dspy.ledger.content import as_json, content


class Letter(BaseModel):
    subject: str
    tags: set[str] = {"a", "b"}


class Note(BaseModel):
    subject: str
    tags: set[str] = {"a", "b"}


class Loose:
    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.me = self


class Slotted:
    __slots__ = ("subject",)

    def __init__(self, subject: str) -> None:
        self.subject = subject


class Client:
    def __init__(self, subject: str) -> None:
        self.subject, self.lock = subject, threading.Lock()


@dataclass
class Record:
    subject: Any


class Pair(NamedTuple):
    subject: str


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


MAKERS = {
    "pydantic": lambda text: Letter(subject=text),
    "nested": lambda text: {"k": [Letter(subject=text)], 2: {text, "z"}},
    "plain object": Loose,
    "slots": Slotted,
    "lock": Client,
    "dataclass": lambda text: Record(Loose(text)),
    "tuple": Pair,
    "example": lambda text: dspy.Example(subject=Letter(subject=text)).with_inputs("subject"),
    "history": lambda text: dspy.History(messages=[{"q": text}]),
    "image": lambda text: dspy.Image(url=f"http://x/{text}.png"),
    "array": lambda text: np.full(5000, ord(text)),
    "frame": lambda text: pd.DataFrame({"a": [text] * 500}),
    "bytes": lambda text: b"\xff" + text.encode(),
    "path": Path,
    "time": lambda text: datetime.datetime(2020, 1, ord(text) - 96),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_values_are_told_apart_by_their_content_alone(make):
    assert content(make("a")) == content(make("a"))
    assert content(make("a")) != content(make("b"))
    assert as_json(make("a")) == as_json(make("a"))
    assert as_json(make("a")) != as_json(make("b"))


def test_classes_and_members_are_part_of_the_content():
    assert content(Letter(subject="a")) != content(Note(subject="a"))
    assert content(Colour.RED) != content(Colour.BLUE)
    assert content(Colour.RED) != content("red")


def test_plain_values_stay_as_they_are():
    plain = {"text": "a", "n": 1, "x": 0.5, "none": None, "list": [True, "b"]}
    assert content(plain) == as_json(plain) == plain


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (np.int64(3), 3),
        (np.array([[1, 2]]), [[1, 2]]),
        (float("nan"), None),
        (pd.NaT, "NaT"),
        (Colour.RED, "red"),
        ({"b", "a"}, ["a", "b"]),
        (Letter(subject="s"), {"subject": "s", "tags": ["a", "b"]}),
        (b"\xff", "_w=="),
    ],
)
def test_what_is_stored_can_be_read(value, shown):
    assert as_json(value) == shown


def test_addresses_are_in_no_text():
    assert "0x" not in as_json(Loose("a"))


def test_other_processes_find_the_same_content(tmp_path):
    own = [(content(make("a")), as_json(make("a"))) for make in MAKERS.values()]
    code = (
        "import test_content as t; print([(t.content(make('a')), t.as_json(make('a'))) for make in t.MAKERS.values()])"
    )
    path = ":".join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    environment = {"PYTHONPATH": path, "HOME": str(tmp_path), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", code]
    other = subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout
    assert other.strip() == repr(own).replace(f"{__name__}.", "test_content.")
