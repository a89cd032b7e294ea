"""What a compile on the command line was given: kept in config.yaml, so that later commands rebuild its program."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import dspy
from pydantic import Field, ValidationError

from ..errors import DataError, ModelError, RunError, Stored
from ..induce.induce_config import InduceConfig
from ..ledger.budget import Budget
from ..ledger.jsonl import read_jsonl
from ..local.connect import resolve_lm
from ..local.models import find, is_path
from ..resolve.resolve_config import ResolveConfig
from ..rules import MicroRule
from ..run.folder import RunFolder
from ..search.search_config import SearchConfig
from ..student.adapter import LabelAdapter
from ..student.constraints import Constrain
from ..task.shared import Duplicates
from .data_source import More, Program, Tables

Made = TypeVar("Made")


class ModelSpec(Stored):
    """A model as a user writes it; its API key stays in the environment."""

    spec: str  # local, local:NAME, a .gguf path, or a DSPy model string
    api_base: str | None = None
    api_key_env: str | None = None

    @property
    def is_local(self) -> bool:
        """Whether the model runs in this process."""
        return self.spec == "local" or self.spec.startswith("local:") or is_path(self.spec)

    def at(self, api_base: str | None, api_key_env: str | None) -> ModelSpec:
        """Return this model with another address or another key, as far as these are given."""
        given = {"api_base": api_base or self.api_base, "api_key_env": api_key_env or self.api_key_env}
        return self.model_copy(update=given)

    def check(self) -> None:
        """Raise DataError for errors in the spec, before weights are fetched or a server is called."""
        address = urlsplit(self.api_base or "")
        if address.username or address.password or address.query:
            raise DataError(
                "The API address holds credentials. Remove them, and name the environment variable that holds the key."
            )
        name = self.spec.removeprefix("local:")
        try:
            if not self.is_local or self.api_base is not None:
                self.lm()
            elif self.spec != "local" and find(name) is None and is_path(name):
                raise DataError(f"There is no model file at {name}. Check the path.")
        except ModelError as error:
            raise DataError(str(error)) from error

    def lm(self) -> dspy.LM:
        """Return the LM, without DSPy's cache, which hides tokens and seconds; a local model is fetched and served."""
        key = os.environ.get(self.api_key_env) if self.api_key_env else None
        if self.api_key_env and not key:
            raise DataError(f"The environment variable {self.api_key_env} is not set. Put the API key in it.")
        return resolve_lm(self.spec, api_base=self.api_base, api_key=key, cache=False)


class RunSpec(Stored):
    """Everything that decides which program a run compiled, on which data and for which model."""

    source: Annotated[Program | Tables, Field(discriminator="kind")]
    rationales: str | None = None  # file of micro-rules; None takes those that come with the program
    rules: str | None = None  # file of rules that people pinned, banned, edited or added
    rules_of: str | None = None  # folder of the finished run whose rules are chosen among
    more: More | None = None  # examples that this run and those it goes on from got after the first
    student: ModelSpec
    adapter: Literal["label", "chat", "json"] = "label"
    constrain: Constrain = "auto"
    duplicates: Duplicates = "refuse"
    seed: int = 0

    @classmethod
    def read(cls, folder: RunFolder) -> RunSpec:
        """Read config.yaml of a run, finished or not; RunError where it is damaged or the run is one from Python."""
        settings = folder.settings()
        if "command" not in settings:
            raise RunError(
                f"{folder.path} was compiled from Python, so this command cannot rebuild its program. Load "
                "program.json into your own with load(), or compile with pld-dspy."
            )
        try:
            found = cls.model_validate(settings["command"])
        except ValidationError as error:
            raise RunError(f"{folder.config} is damaged: {error}. Compile again.") from error
        if isinstance(found.source, Program) and found.source.file.is_relative_to(folder.path.resolve()):
            raise RunError(
                f"{folder.config} names a program inside the run folder, and a run folder holds no code. If you trust "
                f"it, move {found.source.module} elsewhere and compile again."
            )
        return found

    def make(self, pld: Callable[..., Made], folder: RunFolder, **changed: Any) -> Made:
        """Return what the class PLD makes of the settings and caps in ``folder``, some of them ``changed``.

        RunError as for :meth:`read`.
        """
        document = folder.settings()
        try:
            given = {**document["settings"], "budget": document.get("budget", {})}
            configs = {"search": SearchConfig, "induce": InduceConfig, "resolve": ResolveConfig, "budget": Budget}
            for name, config in configs.items():
                given[name] = config(**given[name]) if given[name] is not None else None
            return pld(**{**given, "duplicates": self.duplicates, "rules_of": self.rules_of, **changed})
        except (KeyError, TypeError) as error:
            raise RunError(f"{folder.config} is damaged: {error!r} in its settings. Compile again.") from error

    def dspy_adapter(self) -> dspy.Adapter:
        """Return the adapter of student calls."""
        if self.adapter == "label":
            return LabelAdapter(constrain=self.constrain)
        if self.constrain != "auto":
            raise DataError(
                f"--constrain {self.constrain} needs --adapter label, not {self.adapter}. Leave one of them out."
            )
        return {"chat": dspy.ChatAdapter, "json": dspy.JSONAdapter}[self.adapter]()

    def load(self) -> tuple[RunSpec, dict[str, Any]]:
        """Return this spec with the label set of its tables filled in, and data and rationales for ``PLD.compile``."""
        path = self.rationales or self.source.rationales_file()
        micro_rules = [] if path is None else read_jsonl(Path(path), MicroRule)
        source, splits = self.source.load(micro_rules, self.seed)
        if self.more is not None:
            splits = self.more.behind(splits, source.student(), self.seed)
            path = self.more.rationales
            micro_rules = [] if path is None else read_jsonl(Path(path), MicroRule)
        return self.model_copy(update={"source": source}), {
            "trainset": splits.train,
            "valset": splits.val or None,
            "testset": splits.test or None,
            "rationales": micro_rules,
            "rules": self.rules,
        }
