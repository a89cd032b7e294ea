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
from programs.published import deal, distinct, find_file, recorded

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
    rows = _hub_rows() if data is None else _file_rows(find_file(data, [FILE]))
    stereotypes = [row for row in rows if row["gold_label"] == "stereotype"]
    cluster = {row["sentence_id"]: row["cluster_id"] for row in stereotypes}
    sentences = [_example(row) for row in stereotypes]
    train = recorded(sentences, rationales)
    clusters = distinct(sentences, lambda sentence: cluster[sentence.id], apart=train)
    rest = list(distinct(clusters, lambda sentence: normalized(sentence.text), apart=train))  # a few texts stand twice
    random.Random(seed).shuffle(rest)
    rest.sort(key=lambda sentence: LABELS.index(sentence.bias_type))
    val, test, drawn = deal(rest, "bias_type", (VAL, TEST, 0 if train else TRAIN))
    return Splits(train or drawn, val, test)


def _example(row: dict[str, Any]) -> dspy.Example:
    fields = {"id": row["sentence_id"], "text": _text(row), "bias_type": row["bias_type"]}
    return dspy.Example(fields).with_inputs("text")


def _text(row: dict[str, Any]) -> str:
    if row["dataset_type"] == "intersentence":
        return f"{row['context']} {row['sentence']}"
    return str(row["sentence"])


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
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
