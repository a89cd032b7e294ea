"""Audit: training examples whose label is probably wrong, from the data alone or by asking the teacher.

From the data, by confident learning (Northcutt et al. 2021, arXiv 1911.00068): a classifier that has not seen an
example says how likely each label is, and an example is suspect where another label is likelier than is usual for
examples of that label. Two things are read. The text was there before any label. A micro-rule was written with the
label at hand and argues for it, right or wrong: with the names of the labels taken out it still accuses a label that
it does not fit, but one that fits proves little.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import dspy
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import MultinomialNB

from .ledger.answer import Answer
from .rules import MicroRule
from .task.answers import label_names, match_label
from .task.task import Task, example_id, input_text
from .teacher.signatures import JudgeExample
from .teacher.teacher import Teacher

logger = logging.getLogger(__name__)

FOLDS = 5
"""Parts of the data, of which each is judged by the others; a label with fewer examples is not judged."""
TRUST = 0.7
"""A view is used if what it says about unseen examples is their label this often: below, it is mostly wrong itself."""
MARGIN = 0.25
"""By so much must another label be likelier."""
SOFTENING = 2.0
"""Naive Bayes takes each word for independent evidence and is too sure: its log probabilities are divided by this."""
UNCLEAR = "unclear"
"""What a teacher is to answer where no label fits better than the others."""
FEATURES = 200_000
"""Most words and pieces of words looked at."""

Item: TypeAlias = MicroRule | dspy.Example


@dataclass(frozen=True)
class Suspect:
    """An example whose label is doubted.

    Attributes:
        example_id: which one.
        label: its label.
        suggested: the label that would fit better; None where nobody said.
        score: how much likelier that is, above 0; 1 where a teacher or the rationale's author doubts the label.
        reason: why it is doubted, in words.
    """

    example_id: str
    label: str
    suggested: str | None
    score: float
    reason: str


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        suspects: the examples whose label is doubted.
        unreadable: examples for which the teacher, asked twice, neither named a label nor said that it is unclear.
    """

    suspects: list[Suspect]
    unreadable: int = 0


def audit(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    teacher: Teacher,
    texts: Mapping[str, str] | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Audit:
    """Find what the data doubts and what a teacher contradicts, the most doubtful first; arguments as below.

    The teacher is first asked about what the data doubts most, so that a cap on calls leaves out the rest. A label
    that the data doubts and the teacher confirms stays doubted.
    """
    found = {one.example_id: one for one in suspects(micro_rules, task, texts=texts)}
    scores = {name: one.score for name, one in found.items()}
    judged = contradicted_by_teacher(
        sorted(micro_rules, key=lambda rule: -scores.get(rule.example_id, 0.0)),
        task,
        teacher=teacher,
        texts=texts,
        on_answer=on_answer,
    )
    for one in judged.suspects:
        before = found.get(one.example_id)
        found[one.example_id] = one if before is None else replace(one, reason=f"{before.reason}; {one.reason}")
    return Audit(sorted(found.values(), key=_most_doubtful_first), judged.unreadable)


def suspects(items: Sequence[Item], task: Task, *, texts: Mapping[str, str] | None = None) -> list[Suspect]:
    """Find doubtful labels without a call, the most doubtful first.

    Args:
        items: micro-rules with their examples' inputs, or labelled examples; time grows with their number.
        task: the labelled decision.
        texts: example id -> what the student reads of it; the example's inputs where there is none.

    Returns:
        Those that a classifier of texts or of micro-rules contradicts, and those whose rationale is marked as
        doubtful. Only the latter where no classifier can be trusted on this data, or examples have several labels.
    """
    told = [_told(item, row, task, texts or {}) for row, item in enumerate(items)]
    marked = {(one.id, one.label): _marked(one) for one in told if one.doubtful}
    # A text with several labels reads like each of them, so that a classifier would doubt them all.
    contradicted = {} if task.several else {(one.example_id, one.label): one for one in _contradicted(told, task)}
    return sorted({**contradicted, **marked}.values(), key=_most_doubtful_first)


def contradicted_by_teacher(
    items: Sequence[Item],
    task: Task,
    *,
    teacher: Teacher,
    texts: Mapping[str, str] | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Audit:
    """Ask a teacher for the label of each example without showing it, one call each, and find those it contradicts.

    An answer that cannot be read is asked for once more; if it still cannot, it contradicts nothing, and is counted.

    Args:
        items: micro-rules with their examples' inputs, or labelled examples: all of them, or what
            :func:`suspects` found.
        task: the labelled decision.
        teacher: asked under the stage "audit"; a cap on calls leaves the other examples unasked.
        texts: example id -> what the student reads of it, as for :func:`suspects`.
        on_answer: called once per answer.

    Returns:
        Suspects in the order of ``items``.
    """
    told = [_told(item, row, task, texts or {}) for row, item in enumerate(items)]
    inputs = [{"labels": ", ".join(task.labels), "example": one.text} for one in told]

    def read(answer: Answer) -> str | None:
        said = str((answer.outputs or {}).get("answer") or "").strip()
        return UNCLEAR if said.casefold().rstrip(".") == UNCLEAR else match_label(said, task.labels)

    answers = teacher.ask(
        JudgeExample,
        inputs,
        stage="audit",
        texts=lambda answer: [read(answer) or ""],
        empty_reason="it named none of the labels",
        on_answer=on_answer,
    )
    found, unreadable = [], 0
    for one, answer in zip(told, answers, strict=True):
        outputs, label = answer.outputs or {}, read(answer)
        unreadable += label is None and answer.outputs is not None
        if label not in (None, UNCLEAR, one.label):
            why = " ".join(str(outputs.get("reason") or "").split()) or "it does not say why"
            reason = f"the teacher, not told the label, answers {label}: {why}"
            found.append(Suspect(one.id, one.label, label, 1.0, reason))
    return Audit(found, unreadable)


@dataclass(frozen=True)
class _Told:
    """What is known of one example; ``rule`` is empty without a micro-rule."""

    id: str
    label: str
    text: str
    rule: str
    doubtful: bool


def _told(item: Item, row: int, task: Task, texts: Mapping[str, str]) -> _Told:
    if isinstance(item, MicroRule):
        rule, text = _without_labels(item.rule, task.labels), texts.get(item.example_id, input_text(item.inputs))
        return _Told(item.example_id, item.label, text, rule, item.doubtful)
    name = example_id(item, row)
    return _Told(name, task.gold(item), texts.get(name, task.text(item)), "", doubtful=False)


def _most_doubtful_first(one: Suspect) -> tuple[float, str]:
    return -one.score, one.example_id


def _without_labels(rule: str, labels: Sequence[str]) -> str:
    """Blank out the names of labels, however their words are joined: they say what was told, not what is true."""
    return label_names(tuple(labels)).sub(" ", rule)


def _marked(one: _Told) -> Suspect:
    return Suspect(one.id, one.label, None, 1.0, "its rationale doubts the label")


def _contradicted(told: Sequence[_Told], task: Task) -> Iterator[Suspect]:
    """Yield the examples that the views which can be trusted contradict on average."""
    sizes = Counter(one.label for one in told)
    labels = [label for label in task.labels if sizes[label] >= FOLDS]
    judged = [one for one in told if one.label in labels]
    if len(labels) < 2:
        return
    given = np.array([labels.index(one.label) for one in judged])
    views = {"text": [one.text for one in judged], "micro-rule": [one.rule for one in judged]}
    trusted: dict[str, NDArray[np.float64]] = {}
    for name, texts in views.items():
        if any(text.strip() for text in texts):  # what has no micro-rule has an empty one
            beliefs = _unseen(texts, given)
            agreement = float((beliefs.argmax(axis=1) == given).mean())
            logger.info("Audit by %s: %.2f of the labels are what it expects.", name, agreement)
            if agreement >= TRUST:
                trusted[name] = beliefs
    if not trusted:
        logger.warning("Audit: neither text nor micro-rule tells the labels apart well enough to doubt any of them.")
        return
    beliefs = np.mean(list(trusted.values()), axis=0)
    rows = np.arange(len(judged))
    usual = np.array([beliefs[given == number, number].mean() for number in range(len(labels))])
    expected = np.where(beliefs >= usual, beliefs, -1.0).argmax(axis=1)
    margins = beliefs[rows, expected] - beliefs[rows, given]
    for row in np.flatnonzero((beliefs[rows, expected] >= usual[expected]) & (margins >= MARGIN)):
        one, other = judged[row], labels[expected[row]]
        reason = f"its {' and '.join(trusted)} read like {other} ({beliefs[row, expected[row]]:.2f}), not {one.label}"
        yield Suspect(one.id, one.label, other, round(float(margins[row]), 4), reason)


def _unseen(texts: Sequence[str], given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each label, n x L, by a classifier that has not seen the example."""
    words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+").build_analyzer()
    pieces = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4)).build_analyzer()
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: [*words(text), *pieces(text)], sublinear_tf=True, max_features=FEATURES
    )
    matrix = vectorizer.fit_transform(texts)
    beliefs = np.zeros((len(texts), int(given.max()) + 1))
    for seen, unseen in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(matrix, given):
        classifier = MultinomialNB(alpha=0.1).fit(matrix[seen], given[seen])
        beliefs[unseen] = classifier.predict_log_proba(matrix[unseen])
    soft = np.exp(beliefs / SOFTENING)
    return np.asarray(soft / soft.sum(axis=1, keepdims=True))
