"""StereoSet: which kind of group does a stereotyped sentence speak about?

Source: Nadeem et al. 2021, "StereoSet: Measuring stereotypical bias in pretrained language models", CC BY-SA 4.0;
the published development set, as ``dev.json`` or as JSONL with one sentence per line. Only sentences annotated as
stereotypes are used. The text is the sentence (intrasentence) or the context and the sentence (intersentence); the
label is the bias type. Prompt-Level Distillation (arXiv 2602.21103) reports macro-F1 0.57 -> 0.90 with Gemma-3 4B on
its own split of the set.

All versions of a sentence form a cluster, and each cluster is in one split only. The clusters of recorded rationales
are training data.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import dspy
from pydantic import BaseModel

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits, normalized
from pld_dspy.task.tables import read_rows
from programs.published import deal, distinct, find_file, from_hub, read_published, recorded

BiasType = Literal["gender", "profession", "race", "religion"]
LABELS: tuple[str, ...] = get_args(BiasType)

FILES = ("stereoset.jsonl", "dev.json")
PAGE = "https://github.com/moinnadeem/StereoSet"
HUB = "McGill-NLP/stereoset"
TRAIN, VAL, TEST = 32, 30, 84
"""Most sentences per label; of the rarest label, the test set gets the rest."""


class Bias(dspy.Signature):
    """Name the kind of group that the stereotype in the text is about."""

    text: str = dspy.InputField()
    bias_type: BiasType = dspy.OutputField()


def student() -> dspy.Module:
    """Return the program that will get the rules: one bare predictor."""
    return dspy.Predict(Bias)


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Load the sentences and split them by cluster.

    Args:
        data: a folder with ``stereoset.jsonl`` (one sentence per line) or the published ``dev.json``, or one of these
            files; None loads the public hub's copy.
        rationales: recorded micro-rules; their sentences are the training set, and the rest of their clusters is left
            out. Where there are none, the training set is drawn like the others.
        seed: of the draw.

    Returns:
        The training set, the validation set (30 sentences per label) and the test set (up to 84 per label).

    Raises:
        DataError: the file is missing or not in its published form.
    """
    rows = _hub_rows() if data is None else _file_rows(find_file(data, FILES))
    stereotypes = [row for row in rows if row["gold_label"] == "stereotype"]
    cluster = {row["sentence_id"]: row["cluster_id"] for row in stereotypes}
    sentences = [_example(row) for row in stereotypes]
    train = recorded(sentences, rationales)
    clusters = distinct(sentences, lambda sentence: cluster[sentence.id], apart=train)
    rest = list(distinct(clusters, lambda sentence: normalized(sentence.text), apart=train))  # a few texts occur twice
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


class _Sentence(BaseModel):
    id: str
    sentence: str
    gold_label: str


class _Cluster(BaseModel):
    id: str
    bias_type: BiasType
    context: str
    sentences: list[_Sentence]


class _Published(BaseModel):
    """The published form, as far as it is used: the clusters of each kind."""

    data: dict[Literal["intrasentence", "intersentence"], list[_Cluster]]


def _file_rows(path: Path) -> Iterator[dict[str, Any]]:
    if path.suffix == ".json":
        yield from _published_rows(path)
        return
    for number, row in enumerate(read_rows(str(path)), start=1):
        absent = {"sentence_id", "cluster_id", "dataset_type", "context", "sentence", "gold_label"} - set(row)
        if absent or row.get("bias_type") not in LABELS:
            fault = f"has no {', '.join(sorted(absent))}" if absent else f"has bias_type {row.get('bias_type')!r}"
            raise DataError(f"{path} row {number} {fault}. Give StereoSet in its published form.")
        yield row


def _published_rows(path: Path) -> Iterator[dict[str, Any]]:
    published = read_published(path, _Published, PAGE)
    for kind, clusters in published.data.items():
        for cluster in clusters:
            sentences = ((item.id, item.sentence, item.gold_label) for item in cluster.sentences)
            yield from _rows(kind, cluster.model_dump(include={"id", "bias_type", "context"}), sentences)


def _hub_rows() -> Iterator[dict[str, Any]]:
    names = ("anti-stereotype", "stereotype", "unrelated")
    remedy = f"Get {FILES[1]} at {PAGE} and give it as the data."
    for kind in ("intrasentence", "intersentence"):
        for cluster in from_hub(HUB, kind, split="validation", remedy=remedy):
            columns = cluster["sentences"]
            golds = (names[number] for number in columns["gold_label"])
            yield from _rows(kind, cluster, zip(columns["id"], columns["sentence"], golds, strict=True))


def _rows(kind: str, cluster: dict[str, Any], sentences: Iterable[tuple[str, str, str]]) -> Iterator[dict[str, Any]]:
    """Yield a row of the JSONL file for each sentence (id, text, gold label) of one cluster."""
    for sentence_id, sentence, gold_label in sentences:
        yield {
            "sentence_id": sentence_id,
            "cluster_id": cluster["id"],
            "dataset_type": kind,
            "bias_type": cluster["bias_type"],
            "context": cluster["context"],
            "sentence": sentence,
            "gold_label": gold_label,
        }
