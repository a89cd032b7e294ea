"""What a compile on the command line was told: kept in config.yaml, so that the same program can be had again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import dspy
from pydantic import BaseModel, ConfigDict, Field

from ..errors import DataError, ModelError
from ..ledger.jsonl import read_jsonl
from ..local.connect import resolve_lm
from ..local.models import find, is_path, known
from ..rules import MicroRule
from ..student.adapter import LabelAdapter
from .data_source import Program, Tables

ADAPTERS = {"label": LabelAdapter, "chat": dspy.ChatAdapter, "json": dspy.JSONAdapter}


class Model(BaseModel):
    """A model as a user names it; its key is only ever in the environment.

    Attributes:
        spec: ``local``, ``local:NAME``, a .gguf path, or a DSPy model string.
        api_base: address of an OpenAI-compatible server.
        api_key_env: name of the environment variable that holds the key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: str
    api_base: str | None = None
    api_key_env: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the model runs in this process."""
        return self.spec == "local" or self.spec.startswith("local:") or is_path(self.spec)

    def reached_by(self, *, api_base: str | None, api_key_env: str | None) -> Model:
        """Return this model at another address or with another key, where these are given."""
        given = {"api_base": api_base, "api_key_env": api_key_env}
        return self.model_copy(update={name: value for name, value in given.items() if value is not None})

    def check(self) -> None:
        """Refuse what can be seen to be wrong before weights are fetched or a server is asked.

        Raises:
            DataError: the name is unknown, the key is not set, or the address holds a secret.
        """
        address = urlsplit(self.api_base or "")
        if address.username or address.password or address.query:
            raise DataError(
                "The API address holds credentials. Leave them out, and name the environment variable that holds "
                "the key."
            )
        name = self.spec.removeprefix("local:")
        try:
            if not self.is_local or self.api_base is not None:
                self.lm()
            elif is_path(name) and find(name) is None:
                raise DataError(f"There is no model file at {name}. Check the path.")
            elif self.spec != "local" and not is_path(name):
                known(name)
        except ModelError as error:
            raise DataError(str(error)) from error

    def lm(self, *, cache: bool = True) -> dspy.LM:
        """Return the LM; a local one is fetched and served first.

        Args:
            cache: whether DSPy may answer from its own cache, which gives no token counts and no true seconds.

        Raises:
            DataError: the key is not set.
            ModelError: the model cannot be had.
        """
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        if self.api_key_env and not key:
            raise DataError(f"The environment variable {self.api_key_env} is not set. Put the API key in it.")
        return resolve_lm(self.spec, api_base=self.api_base, api_key=key, cache=cache)

    def stand_in(self) -> dspy.LM:
        """Return an LM of this name that is never to be called, for an estimate."""
        return dspy.LM(self.spec)


class Command(BaseModel):
    """Everything that decides which program a run compiled, on which data and for which model.

    Attributes:
        source: the program or the tables.
        rationales: file of recorded rationales; None takes those that come with the program.
        student: the model.
        adapter: a key of ``ADAPTERS``.
        seed: of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Annotated[Program | Tables, Field(discriminator="kind")]
    rationales: str | None = None
    student: Model
    adapter: Literal["label", "chat", "json"] = "label"
    seed: int = 0

    def prompting(self) -> dspy.Adapter:
        """Return the adapter of student calls."""
        return ADAPTERS[self.adapter]()

    def loaded(self) -> tuple[Command, dict[str, Any]]:
        """Load data and rationales.

        Returns:
            This command with the label set of its tables filled in, and the arguments of ``PLD.compile``.

        Raises:
            DataError: a file is missing or not in form, or the data is unusable.
        """
        path = self.rationales or self.source.rationales_file()
        micro_rules = [] if path is None else read_jsonl(Path(path), MicroRule)
        splits = self.source.splits(micro_rules, self.seed)
        source = self.source.with_labels_of(splits)
        given = {
            "trainset": splits.train,
            "valset": splits.val or None,
            "testset": splits.test or None,
            "rationales": micro_rules,
        }
        return self.model_copy(update={"source": source}), given
