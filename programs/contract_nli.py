"""ContractNLI: does a non-disclosure agreement entail a hypothesis, contradict it, or not mention it?

Source: Koreeda and Manning 2021, "ContractNLI: A Dataset for Document-level Natural Language Inference for
Contracts", CC BY 4.0; the published development and test files, 17 hypotheses a contract. Prompt-Level Distillation
(arXiv 2602.21103) reports macro-F1 0.67 -> 0.83 with Gemma-3 4B.

A contract is longer than a small model reads well, so the program has two steps. ``retrieve`` picks the spans nearest
to the hypothesis, with no model. ``decide``, the one predictor and so the one that PLD instructs, reads these alone.
What retrieval misses is lost: on the contracts of the recorded rationales, 79% of the entailed and contradicted
hypotheses have at least one span of their gold evidence in the excerpt of at most 200 words; 77% would with 180 words,
and 80% with 220. Figures are those of this program, not of a model that is given the whole contract or the evidence.

Splits are made by contract, near-copies of a contract counting as the same one; the 17 hypotheses are the same in all
splits. Training: the examples of recorded rationales, and without any, a draw from three quarters of the development
contracts. Validation: the other development contracts, and a third of the test file's, since the former are too few.
Test: the rest of the test file. NotMentioned and Entailment are each about four times as frequent as Contradiction,
so within the contracts of a split each label is drawn alike, as far as it goes. So scores here are on balanced labels,
and not to be set beside those on the whole test file.
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
from pydantic import BaseModel, Field, ValidationError
from sklearn.feature_extraction.text import TfidfVectorizer

from pld_dspy.errors import DataError
from pld_dspy.rules import MicroRule
from pld_dspy.task.splits import Splits
from programs.published import deal, families, find_file

Relation = Literal["Entailment", "Contradiction", "NotMentioned"]
LABELS: tuple[str, ...] = get_args(Relation)

FILES = {"dev": ("contract_nli_dev.json", "dev.json"), "test": ("contract_nli_test.json", "test.json")}
PAGE = "https://stanfordnlp.github.io/contract-nli/"
EXCERPT_WORDS = 200
SAYS = re.compile(r"[^\W\d_]{2}")
"""Two letters in a row: without any, a span is a number, a letter of a list, or a line to write on."""
TRAIN, VAL, TEST = 32, 24, 50
"""Examples a label, at most."""
TRAIN_SHARE, VAL_SHARE = 3 / 4, 1 / 3
"""Of the development contracts, those to train on where none is recorded; of the test file's, those to validate on."""


class Decision(dspy.Signature):
    """Decide whether the excerpt of a contract entails the hypothesis, contradicts it, or does not mention it."""

    excerpt: str = dspy.InputField()
    hypothesis: str = dspy.InputField()
    relation: Relation = dspy.OutputField()


class ContractReader(dspy.Module):
    """Retrieve the spans of the contract that are nearest to the hypothesis, then decide on them.

    Args:
        words: most words that the excerpt has.
    """

    def __init__(self, words: int = EXCERPT_WORDS) -> None:
        super().__init__()
        self.words = words
        self.decide = dspy.Predict(Decision)

    def forward(self, contract: str, hypothesis: str) -> dspy.Prediction:
        """Return a prediction with ``relation``.

        Args:
            contract: one span (a sentence, a clause) a line.
            hypothesis: a statement about the contract.
        """
        return self.decide(excerpt=self.retrieve(contract, hypothesis), hypothesis=hypothesis)

    def retrieve(self, contract: str, hypothesis: str) -> str:
        """Return the spans nearest to the hypothesis by TF-IDF that fit, in their order, one a line.

        Words are cut into overlapping pieces of four letters, so that "disclose" is near "disclosure". Nearness is the
        sum over shared pieces, divided by the square root of the span's words as in Lucene's classic similarity: the
        cosine puts a long clause, of which a part is evidence, behind headings. A span of more words than the whole
        excerpt may have counts with its beginning; one that no longer fits makes way for the next, and one that says
        nothing, such as "4." or "____", is left out.
        """
        spans = [" ".join(line.split()[: self.words]) for line in contract.splitlines() if SAYS.search(line)]
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(4, 4), sublinear_tf=True, norm=None)
        vectors = vectorizer.fit_transform([hypothesis, *spans])
        # By rarity once more: what all spans speak of (the confidential information) tells none of them apart.
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
    """What is used here of the published form."""

    documents: list[_Document] = Field(min_length=1)
    labels: dict[str, _Hypothesis]


def student() -> dspy.Module:
    """Return the program to instruct: retrieve, then decide."""
    return ContractReader()


def load(data: Path | None = None, *, rationales: Sequence[MicroRule] = (), seed: int = 0) -> Splits:
    """Load the contracts, split them, and draw examples of each label alike.

    Args:
        data: a folder with ``contract_nli_dev.json`` and ``contract_nli_test.json`` (or ``dev.json``, ``test.json``).
            The hub's copies do not tell contracts and spans apart, so there is no default.
        rationales: recorded micro-rules; their examples are the training set, and their contracts stay out of the
            others. Examples are matched by id, since a record holds the evidence in place of the whole contract.
        seed: of the draw.

    Returns:
        Training (32 examples a label where they are drawn), validation (up to 24) and test splits (up to 50).

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
    """Return the examples, family by family: "train" has a recorded one, "dev" is of that file, in part or whole."""
    contracts = [(split, contract) for split in FILES for contract in _contracts(data, split)]
    numbers = families([contract[0].contract for _, contract in contracts])
    by_family: dict[int, list[dspy.Example]] = defaultdict(list)
    files: dict[int, str] = {}
    for number, (split, contract) in zip(numbers, contracts, strict=True):
        files.setdefault(number, split)
        by_family[number] += contract
    pools: dict[str, list[list[dspy.Example]]] = {"train": [], **{split: [] for split in FILES}}
    for number, examples in by_family.items():
        told = any(example.id in recorded for example in examples)
        pools["train" if told else files[number]].append(examples)
    return pools


def _balanced(contracts: Sequence[Sequence[dspy.Example]], size: int, draw: random.Random) -> list[dspy.Example]:
    """Draw ``size`` examples a label, or all there are, from all the contracts together."""
    examples = [example for contract in contracts for example in contract]
    draw.shuffle(examples)
    return deal(examples, "relation", [size])[0]


def _contracts(data: Path, split: str) -> list[list[dspy.Example]]:
    """Return the examples of one published file, contract by contract."""
    path = find_file(data, FILES[split])
    published = _read(path)
    contracts = []
    for document in published.documents:
        spans = (" ".join(document.text[start:end].split()) for start, end in document.spans)
        contract = "\n".join(span for span in spans if span)
        examples = []
        for key, annotation in document.annotation_sets[0].annotations.items():
            if key not in published.labels:
                raise DataError(
                    f"{path}: contract {document.id} annotates {key!r}, which is none of its hypotheses. Give the file "
                    f"as published at {PAGE}."
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


def _read(path: Path) -> _Published:
    try:
        return _Published.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}. Give the file as published at {PAGE}.") from error
