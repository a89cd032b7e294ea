"""StereoSet: which kind of group does a stereotyped sentence speak about?

Source: Nadeem et al. 2021, "StereoSet: Measuring stereotypical bias in pretrained language models", CC BY-SA 4.0;
the published development set. Only sentences annotated as stereotypes are used; the text is the sentence
(intrasentence) or the context and the sentence (intersentence), and the label is the bias type. Prompt-Level
Distillation (arXiv 2602.21103) reports macro-F1 0.57 -> 0.90 with Gemma-3 4B on its own split of the set.

Splits are made by cluster, so that the versions of one sentence never meet in two splits. The clusters of recorded
rationales are training data.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import dspy

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.splits import Splits, normalized

BiasType = Literal["gender", "profession", "race", "religion"]
LABELS: tuple[str, ...] = get_args(BiasType)

FILE = "stereoset.jsonl"
HUB = "McGill-NLP/stereoset"
TRAIN, VAL, TEST = 32, 30, 84
"""Sentences a label, at most; the test set takes what is left of the rarest label."""


class Bias(dspy.Signature):
    """Name the kind of group that the stereotype in the text is about."""

    text: str = dspy.InputField()
    bias_type: BiasType = dspy.OutputField()


def student() -> dspy.Module:
    """Return the program to instruct: one bare predictor."""
    return dspy.Predict(Bias)


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Load the sentences and split them by cluster.

    Args:
        data: a folder with ``stereoset.jsonl``, or that file; None loads the public hub's copy.
        rationales: recorded micro-rules; the clusters of their sentences are the training set. Without any, the
            training set is drawn like the others.
        seed: of the draw.

    Returns:
        Training, validation (30 sentences a label) and test splits (up to 84 a label).

    Raises:
        DataError: the file is missing or not in its published form.
    """
    rows = [
        row for row in (_hub_rows() if data is None else _file_rows(Path(data))) if row["gold_label"] == "stereotype"
    ]
    recorded = {rule.example_id for rule in rationales}
    train = [row for row in rows if row["sentence_id"] in recorded]
    rest = list(_apart(rows, train))
    random.Random(seed).shuffle(rest)
    sizes = (VAL, TEST) if train else (VAL, TEST, TRAIN)
    parts = _by_label(rest, sizes)
    return Splits(*([_example(row) for row in part] for part in (train or parts[2], parts[0], parts[1])))


def _by_label(rows: list[dict[str, Any]], sizes: Sequence[int]) -> list[list[dict[str, Any]]]:
    """Deal rows into parts of so many a label; each cluster has one sentence here, so rows are clusters."""
    parts: list[list[dict[str, Any]]] = [[] for _ in sizes]
    for label in LABELS:
        queue = [row for row in rows if row["bias_type"] == label]
        for part, size in zip(parts, sizes, strict=True):
            part += queue[:size]
            queue = queue[size:]
    return parts


def _apart(rows: Sequence[dict[str, Any]], train: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield rows of other clusters and texts than ``train``, one a cluster and a text: a few texts stand twice."""
    clusters = {row["cluster_id"] for row in train}
    texts = {normalized(_text(row)) for row in train}
    for row in rows:
        text = normalized(_text(row))
        if row["cluster_id"] not in clusters and text not in texts:
            clusters.add(row["cluster_id"])
            texts.add(text)
            yield row


def _example(row: dict[str, Any]) -> dspy.Example:
    fields = {"id": row["sentence_id"], "text": _text(row), "bias_type": row["bias_type"]}
    return dspy.Example(**fields).with_inputs("text")


def _text(row: dict[str, Any]) -> str:
    if row["dataset_type"] == "intersentence":
        return f"{row['context']} {row['sentence']}"
    return str(row["sentence"])


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path} does not exist. Give the folder that holds {FILE}.")
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            row = json.loads(line)
            absent = {"sentence_id", "cluster_id", "dataset_type", "context", "sentence", "gold_label"} - set(row)
            if absent or row.get("bias_type") not in LABELS:
                what = f"has no {', '.join(sorted(absent))}" if absent else f"has bias_type {row.get('bias_type')!r}"
                raise DataError(f"{path} line {number} {what}. Give StereoSet in its published form.")
            yield row


def _hub_rows() -> Iterator[dict[str, Any]]:
    import datasets

    names = {0: "anti-stereotype", 1: "stereotype", 2: "unrelated"}
    for kind in ("intrasentence", "intersentence"):
        for cluster in datasets.load_dataset(HUB, kind, split="validation"):
            sentences = cluster["sentences"]
            for sentence_id, sentence, gold in zip(
                sentences["id"], sentences["sentence"], sentences["gold_label"], strict=True
            ):
                yield {
                    "sentence_id": sentence_id,
                    "cluster_id": cluster["id"],
                    "dataset_type": kind,
                    "bias_type": cluster["bias_type"],
                    "context": cluster["context"],
                    "sentence": sentence,
                    "gold_label": names[gold],
                }
