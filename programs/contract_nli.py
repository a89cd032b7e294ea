"""ContractNLI: does a non-disclosure agreement entail a hypothesis, contradict it, or not mention it?

Source: Koreeda and Manning 2021, "ContractNLI: A Dataset for Document-level Natural Language Inference for
Contracts", CC BY 4.0; the published development and test files, 17 hypotheses per contract. Prompt-Level Distillation
(arXiv 2602.21103) reports macro-F1 0.67 -> 0.83 with Gemma-3 4B.

A contract is too long for a small model, so the program has two steps. ``retrieve`` picks the spans nearest to the
hypothesis, without a model. ``decide``, the only predictor and so the one that gets the rules, reads these spans alone.
Retrieval loses evidence: on the contracts of the recorded rationales, an excerpt of at most 200 words holds a span of
the gold evidence for 79% of the entailed and contradicted hypotheses (77% with 180 words, 80% with 220). So scores are
those of this program, not of a model that reads the whole contract or the evidence.

Splits are made by contract, near-copies of a contract counting as the same one; all splits have the same 17 hypotheses.
Training: the examples of recorded rationales; where there are none, a draw from three quarters of the development
contracts. Validation: the other development contracts, which are too few, and a third of the test file's contracts.
Test: the rest of the test file. NotMentioned and Entailment are each about four times as frequent as Contradiction, so
each split takes the same number of examples per label, as far as there are enough. Scores are therefore on balanced
labels, and cannot be compared with scores on the whole test file.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import dspy
import numpy as np
from pydantic import BaseModel, Field
from sklearn.feature_extraction.text import TfidfVectorizer

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits
from programs.published import deal, families, find_file, read_published

Relation = Literal["Entailment", "Contradiction", "NotMentioned"]
LABELS: tuple[str, ...] = get_args(Relation)

FILES = {"dev": ("contract_nli_dev.json", "dev.json"), "test": ("contract_nli_test.json", "test.json")}
PAGE = "https://stanfordnlp.github.io/contract-nli/"
EXCERPT_WORDS = 200
SAYS = re.compile(r"[^\W\d_]{2}")
"""Two letters in a row. A span without any is a number, a letter of a list, or a line to write on."""
TRAIN, VAL, TEST = 32, 24, 50
"""Most examples per label."""
TRAIN_SHARE, VAL_SHARE = 3 / 4, 1 / 3
"""Share of the development contracts to train on, without recorded rationales; of the test file's to validate on."""


class Decision(dspy.Signature):
    """Decide whether the excerpt of a contract entails the hypothesis, contradicts it, or does not mention it."""

    excerpt: str = dspy.InputField()
    hypothesis: str = dspy.InputField()
    relation: Relation = dspy.OutputField()


class ContractReader(dspy.Module):
    """Retrieves the spans of the contract that are nearest to the hypothesis, then decides on them.

    Args:
        words: most words in the excerpt.
    """

    def __init__(self, words: int = EXCERPT_WORDS) -> None:
        super().__init__()
        self.words = words
        self.decide = dspy.Predict(Decision)

    def forward(self, contract: str, hypothesis: str) -> dspy.Prediction:
        """Return a prediction with ``relation``.

        Args:
            contract: one span (a sentence, a clause) per line.
            hypothesis: a statement about the contract.
        """
        return self.decide(excerpt=self.retrieve(contract, hypothesis), hypothesis=hypothesis)

    def retrieve(self, contract: str, hypothesis: str) -> str:
        """Return the spans nearest to the hypothesis by TF-IDF, in the contract's order, one per line.

        Words are cut into overlapping pieces of four letters, so that "disclose" is near "disclosure". Nearness is the
        sum over shared pieces, divided by the square root of the number of words in the span, as in Lucene's classic
        similarity: the cosine ranks a long clause, only part of which is evidence, behind headings. A span longer than
        the whole excerpt is cut; one that does not fit any more is skipped in favour of the next; spans without
        words, such as "4." or "____", are left out.
        """
        spans = [" ".join(line.split()[: self.words]) for line in contract.splitlines() if SAYS.search(line)]
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True, norm=None)
        vectors = vectorizer.fit_transform([hypothesis, *spans])
        # Weighted by rarity a second time: pieces in all spans ("confidential information") do not tell spans apart.
        query = vectors[0].multiply(vectorizer.idf_)
        lengths = [len(span.split()) for span in spans]
        nearness = (vectors[1:] @ query.T).toarray().ravel() / np.sqrt(lengths)
        chosen, left = [], self.words
        for row in np.argsort(-nearness, kind="stable"):
            if lengths[row] <= left:
                chosen.append(row)
                left -= lengths[row]
        return "\n".join(spans[row] for row in sorted(chosen))


class _Annotation(BaseModel):
    choice: Relation


class _Annotations(BaseModel):
    annotations: dict[str, _Annotation] = Field(min_length=1)


class _Document(BaseModel):
    id: int
    text: str
    spans: list[tuple[int, int]] = Field(min_length=1)
    annotation_sets: list[_Annotations] = Field(min_length=1)


class _Hypothesis(BaseModel):
    hypothesis: str


class _Published(BaseModel):
    """The published form, as far as it is used."""

    documents: list[_Document] = Field(min_length=1)
    labels: dict[str, _Hypothesis]


def student() -> dspy.Module:
    """Return the program that will get the rules: retrieve, then decide."""
    return ContractReader()


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Load the contracts, split them, and draw the same number of examples per label.

    Args:
        data: a folder with ``contract_nli_dev.json`` and ``contract_nli_test.json`` (or ``dev.json``, ``test.json``).
            There is no default, since the hub's copies do not separate contracts and spans.
        rationales: recorded micro-rules; their examples are the training set, and their contracts are in no other
            split. Examples are found by id, since a record holds the evidence in place of the whole contract.
        seed: of the draw.

    Returns:
        The training set (32 examples per label if drawn), validation set (up to 24) and test set (up to 50).

    Raises:
        DataError: data is no folder, or a file is missing or not in its published form.
    """
    if data is None or data.is_file():
        raise DataError(f"ContractNLI needs the folder of its published files. Get them at {PAGE} and give it as data.")
    recorded = {rule.example_id for rule in rationales}
    pools = _pools(data, recorded)
    train = [example for contract in pools["train"] for example in contract if example.id in recorded]
    draw = random.Random(seed)
    for name in FILES:
        draw.shuffle(pools[name])
    cut, lent = 0 if train else round(TRAIN_SHARE * len(pools["dev"])), round(VAL_SHARE * len(pools["test"]))
    return Splits(
        train or _balanced(pools["dev"][:cut], TRAIN, draw),
        _balanced(pools["dev"][cut:] + pools["test"][:lent], VAL, draw),
        _balanced(pools["test"][lent:], TEST, draw),
    )


def _pools(data: Path, recorded: set[str]) -> dict[str, list[list[dspy.Example]]]:
    """Return the examples by family: "train" families have a recorded example, "dev" families one of that file."""
    contracts = [(split, contract) for split in FILES for contract in _contracts(data, split)]
    numbers = families([contract[0].contract for _, contract in contracts])
    by_family: dict[int, list[dspy.Example]] = defaultdict(list)
    files: dict[int, str] = {}
    for number, (split, contract) in zip(numbers, contracts, strict=True):
        files.setdefault(number, split)
        by_family[number] += contract
    pools: dict[str, list[list[dspy.Example]]] = {"train": [], **{split: [] for split in FILES}}
    for number, examples in by_family.items():
        is_recorded = any(example.id in recorded for example in examples)
        pools["train" if is_recorded else files[number]].append(examples)
    return pools


def _balanced(contracts: Sequence[Sequence[dspy.Example]], size: int, draw: random.Random) -> list[dspy.Example]:
    """Draw ``size`` examples per label, or all there are, from all contracts together."""
    examples = [example for contract in contracts for example in contract]
    draw.shuffle(examples)
    return deal(examples, "relation", [size])[0]


def _contracts(data: Path, split: str) -> list[list[dspy.Example]]:
    """Return the examples of one published file, contract by contract."""
    path = find_file(data, FILES[split])
    published = read_published(path, _Published, PAGE)
    contracts = []
    for document in published.documents:
        spans = (" ".join(document.text[start:end].split()) for start, end in document.spans)
        contract = "\n".join(span for span in spans if span)
        examples = []
        for key, annotation in document.annotation_sets[0].annotations.items():
            if key not in published.labels:
                raise DataError(
                    f"{path}: contract {document.id} annotates {key!r}, which is not one of its hypotheses. Give the "
                    f"file as published at {PAGE}."
                )
            fields = {
                "id": f"contract_nli-{split}-{document.id}-{key}",
                "contract": contract,
                "hypothesis": published.labels[key].hypothesis,
                "relation": annotation.choice,
            }
            examples.append(dspy.Example(fields).with_inputs("contract", "hypothesis"))
        contracts.append(examples)
    return contracts
