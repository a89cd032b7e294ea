"""The options that several commands of pld-dspy share, and the panels of its help."""

from __future__ import annotations

from enum import Enum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer


class AdapterName(str, Enum):
    """How student calls are put into prompts."""

    label = "label"
    chat = "chat"
    json = "json"


class SuspectsName(str, Enum):
    """What becomes of training examples whose label is doubted."""

    keep = "keep"
    drop = "drop"
    down_weight = "down-weight"


class AuditName(str, Enum):
    """Who doubts the labels of training examples."""

    data = "data"
    teacher = "teacher"


class RulesFormat(str, Enum):
    """How rules are printed."""

    text = "text"
    yaml = "yaml"
    prompt = "prompt"


data_option = partial(typer.Option, rich_help_panel="Data", show_default=False)
model_option = partial(typer.Option, rich_help_panel="Models")
base_option = partial(model_option, metavar="URL", help="Address of its OpenAI-compatible server.", show_default=False)
key_option = partial(
    model_option, metavar="NAME", help="Environment variable that holds its API key.", show_default=False
)
search_option = partial(typer.Option, rich_help_panel="Search")

LabelSeparator = Annotated[
    str | None,
    data_option("--label-separator", metavar="TEXT", help="What parts several labels in one cell, such as '|'."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)]
Student = Annotated[
    str, model_option("--student", metavar="SPEC", help="local, local:NAME, a .gguf path, or PROVIDER/MODEL.")
]
StudentBase = Annotated[str | None, base_option("--student-api-base")]
StudentKey = Annotated[str | None, key_option("--student-api-key-env")]
Calibrate = Annotated[
    bool, typer.Option("--calibrate", help="Fit offsets and confidences on label log-probabilities at the end.")
]
ErrorRate = Annotated[
    float | None,
    typer.Option(
        "--error-rate",
        metavar="RATE",
        help="With --calibrate: abstain below a confidence chosen for this error rate.",
        show_default=False,
    ),
]
Suspects = Annotated[
    SuspectsName, search_option("--suspects", help="What becomes of micro-rules whose example's label is doubted.")
]
Draws = Annotated[
    int, search_option("--draws", min=1, help="Times a teacher words each rule; the search chooses among them.")
]
Audit = Annotated[
    AuditName,
    search_option("--audit", help="Who doubts labels: the data alone, or the teacher too, who is not told them."),
]
Teacher = Annotated[
    str | None, model_option("--teacher", metavar="SPEC", help="As --student; explains what no rationale covers.")
]
TeacherBase = Annotated[str | None, base_option("--teacher-api-base")]
TeacherKey = Annotated[str | None, key_option("--teacher-api-key-env")]
ProgramModule = Annotated[
    str | None, data_option("--program", metavar="MODULE", help="Module or .py file: student() and load().")
]
ObjectiveOption = Annotated[
    str,
    search_option("--objective", help="macro_f1, weighted_f1, accuracy, balanced_accuracy or f1:LABEL; to maximize."),
]
ResolveRounds = Annotated[
    int, search_option("--resolve-rounds", min=0, help="Rounds of patching rules for the errors that remain.")
]
Threads = Annotated[
    int | None,
    search_option("--threads", min=1, help="Calls at once.", show_default="1 for a local model, else DSPy's"),
]
Tracking = Annotated[
    str | None,
    typer.Option(
        "--tracking",
        help="mlflow, none, or an MLflow tracking URI.",
        callback=lambda tracking: None if tracking == "none" else tracking,
    ),
]
Storage = Annotated[
    str | None,
    search_option(metavar="URL", help="Optuna storage that workers share.", show_default="a journal in the run folder"),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Of every random choice.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew: delete the results in the run folder.")]
Estimate = Annotated[bool, typer.Option("--estimate", help="Print what it takes at most; call nothing.")]
