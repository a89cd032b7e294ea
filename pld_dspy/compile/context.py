"""One compile under way: its checked inputs, where it keeps answers and files, and what its stages have found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeAlias

import dspy

from ..audit.labels import Audit
from ..calibrate.calibration import Calibration
from ..calibrate.precedents import Precedents
from ..explain import Explanations
from ..induce.induce import Induction
from ..ledger.content import as_json
from ..ledger.jsonl import carry_over
from ..ledger.keys import adapter_settings, digest, lm_settings, plain, program_state
from ..ledger.ledger import Ledger
from ..local.embedding import Embedder, EmbedderChoice, tfidf_svd
from ..resolve.records import Resolution
from ..resolve.resolve_config import ResolveConfig
from ..rules import Demonstration, MicroRule, Rule, RuleSet
from ..run.folder import RunFolder
from ..scoring.baselines import Baselines
from ..scoring.objective import Objective
from ..search.search_config import SearchConfig
from ..search.search_result import SearchResult
from ..student.evaluator import Evaluation, Evaluator
from ..student.predictor_inputs import Reader
from ..task.splits import Splits
from ..task.task import Task, example_id, input_text
from ..teacher.teacher import Teacher
from .fingerprint import fingerprint
from .policy import Policy

OWN = ("target", "embedder", "frames", "calibrate", "precedents", "error_rate", "max_errors", "context_tokens", "seed")
CONFIGS = ("search", "induce", "resolve")

Pair: TypeAlias = tuple[Evaluation, Evaluation]
"""Evaluations of the unchanged and of the compiled student on the same examples."""


@dataclass(kw_only=True)
class CompileContext:
    """One compile; the stages take it in turn, and each leaves in it what it found.

    The fields from ``folder`` on are set by :meth:`open` and by the stages, in this order.
    """

    student: dspy.Module  # never changed; replaced by a copy with another frame, if one is chosen
    student_lm: dspy.BaseLM | None
    task: Task
    splits: Splits
    recorded: list[MicroRule]
    policy: Policy
    teacher: Teacher | None
    instructions: str  # the student's own, above any rules
    reader: Reader
    embedder: EmbedderChoice
    search: SearchConfig  # as ``auto`` settled it, and so the next
    resolve: ResolveConfig | None
    seed: int
    source: RunFolder | None = None  # the run whose rules are chosen among; None: they are made here
    new: list[dspy.Example] = field(default_factory=list)  # training examples that this run did not have, with ids
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # stage -> wall seconds
    folder: RunFolder = field(init=False)
    ledger: Ledger = field(init=False)
    evaluator: Evaluator = field(init=False)
    confusions: Mapping[tuple[str, str], int] = field(init=False)  # gold, unchanged student's answer -> number on val
    explanations: Explanations = field(init=False)
    audit: Audit = field(init=False)
    induction: Induction = field(init=False)
    demos: tuple[tuple[Demonstration, ...], ...] = field(init=False)  # the choices
    pool: list[Rule] = field(init=False)  # the induced rules after the policy
    unchanged: float = field(init=False)  # objective of the unchanged student on validation
    searched: SearchResult = field(init=False)
    resolved: SearchResult | None = field(init=False, default=None)  # after the last round of resolving
    resolution: Resolution | None = field(init=False, default=None)
    validation: Pair = field(init=False)
    test: Pair | None = field(init=False, default=None)
    added: set[str] = field(init=False, default_factory=set)  # ids of the rules that new examples made
    earlier: RuleSet | None = field(init=False, default=None)  # with new examples: the list of ``source`` as it is now
    before: list[Evaluation] = field(init=False, default_factory=list)  # of that list on validation, and on test
    precedents: Precedents | None = field(init=False, default=None)  # without weights; None where none are wanted
    calibration: Calibration | None = field(init=False, default=None)
    baselines: Baselines = field(init=False)

    def open(self, folder: RunFolder, ledger: Ledger, *, objective: Objective, adapter: dspy.Adapter | None) -> None:
        """Set where files and answers go; student and teacher are asked through the same ledger."""
        self.folder, self.ledger = folder, ledger
        if self.source is not None and self.new:
            carry_over(self.source.predictions, folder.predictions)
        self.teacher = self.teacher and replace(self.teacher, ledger=ledger)
        self.evaluator = Evaluator(
            student=self.student, task=self.task, ledger=ledger, objective=objective, adapter=adapter, seed=self.seed
        )

    @property
    def plain_embedder(self) -> Embedder:
        """The user's own function, else TF-IDF: for the stages to which the sentence encoder brings nothing.

        Clustering: of 120 known groups, 58 are found by the encoder and 73 by TF-IDF.
        """
        return self.embedder if callable(self.embedder) else tfidf_svd

    @property
    def reads_by_id(self) -> dict[str, dict[str, Any]]:
        """Training example id -> what the deciding predictor reads, by field, as JSON values."""
        rows = enumerate(self.splits.train)
        return {example_id(example, row): as_json(self.reader.inputs(example)) for row, example in rows}

    @property
    def texts_by_id(self) -> dict[str, str]:
        """Training example id -> what the deciding predictor reads, as text."""
        return {name: input_text(read) for name, read in self.reads_by_id.items()}

    def texts(self, examples: Sequence[dspy.Example]) -> list[str]:
        """Return what the deciding predictor reads of each of ``examples``, as text."""
        return [self.reader.text(example) for example in examples]

    def unshown(self, rules: RuleSet | None, *, but: Collection[str] = ()) -> list[dspy.Example]:
        """Return the training examples ``but`` some, and but those that the student sees as demonstrations."""
        left_out = {*but, *(rules.shown if rules else ())}
        if not left_out:
            return self.splits.train
        # An example without an id is known by its row: it gets that as its id before other rows go.
        ids = ((example_id(one, row), one) for row, one in enumerate(self.splits.train))
        return [one.copy(id=name) for name, one in ids if name not in left_out]

    @property
    def found(self) -> SearchResult:
        """What the last search found."""
        return self.resolved or self.searched

    @property
    def weighed_precedents(self) -> Precedents | None:
        """The precedents of the compiled program, with their weights; None where they do harm."""
        found = self.calibration
        if self.precedents is None or found is None or found.compiled_weighed is None or not found.weighs:
            return None
        return self.precedents.with_weights(found.compiled_weighed.weights)

    @property
    def rules(self) -> RuleSet | None:
        """The chosen rules; None where nothing beat the unchanged student."""
        return self.found.best

    def settled(self, pld: Mapping[str, Any]) -> dict[str, Any]:
        """Return the attributes of a PLD with the budgets that ``auto`` stands for on this data."""
        return {**pld, "search": self.search, "resolve": self.resolve}

    def settings(self, pld: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that decides the outcome, given :meth:`settled`, by section of config.yaml."""
        data = {name: fingerprint(examples) for name, examples in self.splits.non_empty()}
        if self.recorded:
            dumped = [rule.model_dump() for rule in self.recorded]
            data["rationales"] = f"{digest(dumped)} ({len(dumped)} rows)"
        if self.policy.rules:
            asked = [rule.model_dump(exclude={"reason", "comment"}) for rule in self.policy.rules]
            data["rules"] = f"{digest(asked)} ({len(asked)} rules)"
        if self.source is not None:
            data["rules_of"] = self.source.fingerprint
        lm = self.student_lm
        return {
            **nested_settings(pld),
            "task": asdict(self.task),
            "data": data,
            "student": {"lm": lm_settings(lm), "program": digest(program_state(self.student, lm=lm))},
            "teacher": self.teacher and self.teacher.settings(),
            "adapter": adapter_settings(pld["adapter"] or dspy.settings.adapter),
        }


def flat_settings(pld: Mapping[str, Any]) -> dict[str, str | int | float | bool | None]:
    """Return the settings of a PLD, given its attributes, by name; those of a config as ``CONFIG_NAME``."""
    configs = {f"{config}_{name}": value for config in (*CONFIGS, "budget") for name, value in pld[config] or ()}
    return {name: plain(value) for name, value in {"auto": pld["auto"], **_own(pld), **configs}.items()}


def nested_settings(pld: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return two sections of config.yaml, given the attributes of a PLD.

    ``settings`` holds what constructors take; ``code`` names, or has digests of, what YAML cannot hold.
    """
    settings: dict[str, Any] = {name: plain(value) for name, value in _own(pld).items()}
    code = dict(pld["objective"].code)
    if callable(pld["embedder"]):
        code["embedder"] = settings.pop("embedder")
    for config in CONFIGS:
        fields = dict(pld[config] or ())
        data = {name: value for name, value in fields.items() if _is_data(value)}
        settings[config] = None if pld[config] is None else data
        code |= {f"{config}.{name}": str(plain(value)) for name, value in fields.items() if name not in data}
    return {"settings": settings, "code": code}


def _own(pld: Mapping[str, Any]) -> dict[str, Any]:
    objective = pld["objective"]
    return {"objective": objective.choice, "metric": objective.metric, **{name: pld[name] for name in OWN}}


def _is_data(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_data, value))
    return value is None or isinstance(value, (str, int, float, bool))
