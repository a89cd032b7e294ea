"""The options of pld-dspy's commands, each declared once; those that belong together form a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

data_option = partial(typer.Option, rich_help_panel="Data", show_default=False)
model_option = partial(typer.Option, rich_help_panel="Models")
address_option = partial(model_option, metavar="URL", help="Address of its OpenAI-compatible server.")
key_option = partial(model_option, metavar="NAME", help="Environment variable that holds its API key.")
search_option = partial(typer.Option, rich_help_panel="Search")
calls_option = partial(search_option, min=0)

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Student = Annotated[str, model_option(metavar="SPEC", help="local, local:NAME, a .gguf path, or PROVIDER/MODEL.")]
Target = Annotated[str | None, model_option(help="The predictor that decides, if several could.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of every random choice.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
RequireSignature = Annotated[
    bool, typer.Option("--require-signature", help="Refuse a run that is not signed, or has changed since.")
]
By = Annotated[
    str | None, typer.Option(metavar="NAME", help="Who does this, for audit.jsonl.", show_default="the login name")
]
Storage = Annotated[
    str | None,
    search_option(metavar="URL", help="Shared Optuna storage.", show_default="a journal in the run folder"),
]
Embedding = Annotated[
    Literal["auto", "encoder", "tfidf"], search_option(help="What compares texts; auto: the encoder where it pays.")
]
Patience = Annotated[
    float, search_option(min=0, metavar="SECONDS", help="How long a model that does not answer is waited for.")
]
Threads = Annotated[
    int | None, search_option(min=1, help="Student calls at once.", show_default="1 for a local model, else DSPy's")
]

Tracking = Annotated[str, typer.Option(help="mlflow, none, or an MLflow tracking URI.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew: delete the results in the run folder.")]
Estimate = Annotated[bool, typer.Option("--estimate", help="Print what it takes at most; call nothing.")]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where student and data come from: a program module, or tables."""

    program: Annotated[str | None, data_option(metavar="MODULE", help="Module with student() and load().")] = None
    data: Annotated[str | None, data_option(metavar="PATH", help="What the program loads its data from.")] = None
    train: Annotated[str | None, data_option(metavar="FILE", help="Instead of --program: file or hub data set.")] = None
    val: Annotated[str | None, data_option(metavar="FILE", help="Table to choose rules by; else from --train.")] = None
    test: Annotated[str | None, data_option(metavar="FILE", help="Table to report on.")] = None
    inputs: Annotated[list[str] | None, data_option("--input", metavar="COL", help="Input column; repeatable.")] = None
    label: Annotated[str | None, data_option(metavar="COL", help="Label column.")] = None
    separator: Annotated[
        str | None, data_option("--label-separator", metavar="TEXT", help="Separates labels in one cell, such as '|'.")
    ] = None
    instructions: Annotated[str | None, data_option(metavar="TEXT", help="What the student has to decide.")] = None
    rationales: Annotated[str | None, data_option(metavar="FILE", help="Recorded micro-rules, JSONL.")] = None
    duplicates: Annotated[
        Literal["refuse", "drop", "keep"], data_option(help="What to do with examples that stand in several splits.")
    ] = "refuse"


@dataclass(frozen=True, kw_only=True)
class StudentServer:
    """How to reach the student's model."""

    student_api_base: Annotated[str | None, address_option()] = None
    student_api_key_env: Annotated[str | None, key_option()] = None


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """The teacher's model, and how to reach it."""

    teacher: Annotated[str | None, model_option(metavar="SPEC", help="As --student; explains examples.")] = None
    teacher_api_base: Annotated[str | None, address_option()] = None
    teacher_api_key_env: Annotated[str | None, key_option()] = None
    teacher_threads: Annotated[int, search_option(min=1, help="Teacher calls at once.")] = 8


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How rules are made and chosen, and how many calls that may take."""

    objective: Annotated[
        str, search_option(help="macro_f1, weighted_f1, accuracy, balanced_accuracy or f1:LABEL; to maximize.")
    ] = "macro_f1"
    auto: Annotated[
        Literal["light", "medium", "heavy"] | None,
        search_option(help="Calls that suit rules and examples; other options win.", show_default=False),
    ] = None
    screen_calls: Annotated[
        int | None, calls_option(help="Student calls that learn what each rule does.", show_default="960")
    ] = None
    trials: Annotated[int | None, calls_option(help="Rule sets compared after that.", show_default="10")] = None
    demos: Annotated[int, calls_option(help="Most fixed demonstrations below the rules, to choose from.")] = 0
    wordings: Annotated[int, search_option(min=1, help="Most wordings per rule.")] = 5
    style: Annotated[
        Literal["any", "rules", "cues"], search_option(help="Wordings to choose from: sentences, cue words, or any.")
    ] = "any"
    rules: Annotated[
        str | None,
        search_option(metavar="FILE", help="Rules to pin, ban, edit or add, as in rules.yaml.", show_default=False),
    ] = None
    drafts: Annotated[int, search_option(min=0, help="Whole lists of rules that the teacher writes.")] = 1
    suspects: Annotated[
        Literal["keep", "drop", "down-weight"], search_option(help="What to do with doubtful labels.")
    ] = "keep"
    audit: Annotated[
        Literal["data", "teacher"], search_option(help="What finds doubtful labels: data alone, or the teacher too.")
    ] = "data"
    resolve_rounds: Annotated[
        int | None, calls_option(help="Rounds of revising rules by what still fails.", show_default="0")
    ] = None
    max_student_calls: Annotated[int | None, calls_option(help="Most student calls; a fifth is for resolving.")] = None
    max_teacher_calls: Annotated[int | None, calls_option(help="Most teacher calls.")] = None


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How the result is calibrated, and where the run is kept and recorded."""

    frames: Annotated[bool, typer.Option("--frames", help="First choose what stands around the example.")] = False
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Fit offsets and confidences at the end.")] = False
    precedents: Annotated[
        int,
        typer.Option(
            min=0, metavar="K", help="With --calibrate: weigh labelled examples; the K nearest vote and are cited."
        ),
    ] = 0
    error_rate: Annotated[
        float | None, typer.Option(metavar="RATE", help="With --calibrate: abstain to err at most this often.")
    ] = None
    tracking: Tracking = "mlflow"
    out: Annotated[Path | None, typer.Option(help="The run folder.", show_default="runs/NAME")] = None
    seed: Seed = 0
    fresh: Fresh = False
    estimate: Estimate = False

    def of_pld(self, name: str) -> dict[str, Any]:
        """Return the arguments of PLD for the run of a source called ``name``."""
        return {
            "frames": self.frames,
            "calibrate": self.calibrate,
            "precedents": self.precedents,
            "error_rate": self.error_rate,
            "run_dir": self.out or Path("runs") / name,
            "tracking": None if self.tracking == "none" else self.tracking,
            "seed": self.seed,
        }


def with_option_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return ``command`` for typer, which knows no groups: each group is replaced by its options."""
    hints = get_type_hints(command)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    @wraps(command)
    def with_options(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    options: list[Parameter] = []
    for name, parameter in signature(command, eval_str=True).parameters.items():
        options += signature(groups[name], eval_str=True).parameters.values() if name in groups else [parameter]
    with_options.__signature__ = Signature(options)  # type: ignore[attr-defined]
    return with_options
