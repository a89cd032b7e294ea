"""Audit: training examples whose label is probably wrong, from the data alone or by asking the teacher.

From the data, by confident learning (Northcutt et al. 2021, arXiv 1911.00068): a classifier that has not seen an
example gives the probability of each label; the example is suspect if another label is likelier than usual for
examples of that label. It is done for the texts, and for the micro-rules without the names of labels. These were
written for the label given, but speak against it where it does not fit. Texts are judged by their words and, unless
their vectors are those of TF-IDF, by these too: the mean of two classifiers that err differently. With a tenth of the
labels of 2,000 texts wrong, precision and recall are 0.94 and 0.66 with the sentence encoder and 0.92 and 0.63 without
(StereoSet), and 0.76 and 0.61 on the 77 labels of BANKING77, where words alone are not trusted.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import MultinomialNB

from ..ledger.answer import Answer
from ..local.classifier import TextClassifier
from ..local.embedding import Embedder, EmbedderChoice, embedder_of, tfidf_svd
from ..rules import MicroRule
from ..task.answers import label_names, match_label
from ..task.task import Task, input_text
from ..teacher.signatures import JudgeExample
from ..teacher.teacher import Teacher

logger = logging.getLogger(__name__)

FOLDS = 5
"""Parts of the data; each is judged by a classifier of the others. Labels with fewer examples are not judged."""
TRUST = 0.7
"""A view is used only if the classifier predicts this share of the labels right: below, it is mostly wrong itself."""
MARGIN = 0.25
"""Another label must be likelier by this much."""
SOFTENING = 2.0
"""Naive Bayes treats words as independent evidence and is too sure: its log-probabilities are divided by this."""
UNCLEAR = "unclear"
"""A teacher's answer if no label fits better than the others."""


@dataclass(frozen=True)
class Suspect:
    """An example whose label is in doubt."""

    example_id: str
    label: str
    suggested: str | None  # the label that would fit better; None if unknown
    score: float  # how much likelier that label is, above 0; 1 if a teacher or the rationale's author doubts the label
    reason: str


@dataclass(frozen=True)
class Audit:
    """The labels in doubt, the most doubtful first."""

    suspects: list[Suspect]
    unreadable: int = 0  # examples for which the teacher, asked twice, gave neither a label nor "unclear"


def audit(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    texts: Mapping[str, str] | None = None,
    embedder: EmbedderChoice = "tfidf",
    teacher: Teacher | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Audit:
    """Find labels that the data doubts or the teacher, if there is one, contradicts; a label may be both.

    The teacher is first asked about what the data doubts most, so that a cap on calls leaves out the rest. ``texts``
    has what the student reads, by example id; the example's inputs count where there is none. ``embedder`` gives the
    vectors of these texts; with "tfidf" they are judged by their words alone.
    """
    by_data = suspects(micro_rules, task, texts=texts, embedder=embedder)
    found = {(one.example_id, one.label): one for one in by_data}  # an example may have several labels
    unreadable = 0
    if teacher is not None:
        scores = {key: suspect.score for key, suspect in found.items()}
        by_doubt = sorted(micro_rules, key=lambda rule: -scores.get((rule.example_id, rule.label), 0.0))
        judged = contradicted_by_teacher(by_doubt, task, teacher=teacher, texts=texts, on_answer=on_answer)
        unreadable = judged.unreadable
        for suspect in judged.suspects:
            key = suspect.example_id, suspect.label
            reason = f"{found[key].reason}; {suspect.reason}" if key in found else suspect.reason
            found[key] = replace(suspect, reason=reason)
    return Audit(sorted(found.values(), key=_most_doubtful_first), unreadable)


def suspects(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    texts: Mapping[str, str] | None = None,
    embedder: EmbedderChoice = "tfidf",
) -> list[Suspect]:
    """Return the labels that the data doubts, the most doubtful first, without any call; arguments as for ``audit``.

    They are contradicted by a classifier, or marked as doubtful in their rationale; only the latter if no classifier
    can be trusted on this data, or examples have several labels.
    """
    marked = [
        Suspect(rule.example_id, rule.label, None, 1.0, "its rationale doubts the label")
        for rule in micro_rules
        if rule.doubtful
    ]
    # A text with several labels reads like each of them, so that a classifier would doubt them all.
    contradicted = [] if task.several else list(_contradicted_by_data(micro_rules, task, texts or {}, embedder))
    found = {(suspect.example_id, suspect.label): suspect for suspect in (*contradicted, *marked)}
    return sorted(found.values(), key=_most_doubtful_first)


def contradicted_by_teacher(
    micro_rules: Sequence[MicroRule],
    task: Task,
    *,
    teacher: Teacher,
    texts: Mapping[str, str] | None = None,
    on_answer: Callable[[], object] | None = None,
) -> Audit:
    """Ask the teacher for each example's label without showing it; return those it contradicts, in the order given."""

    def label_in(answer: Answer) -> str | None:
        text = str((answer.outputs or {}).get("answer") or "").strip()
        return UNCLEAR if text.casefold().rstrip(".") == UNCLEAR else match_label(text, task.labels)

    answers = teacher.ask(
        JudgeExample,
        [{"labels": ", ".join(task.labels), "example": _text(rule, texts or {})} for rule in micro_rules],
        stage="audit",
        texts=lambda answer: [label_in(answer) or ""],
        empty_reason="it named none of the labels",
        on_answer=on_answer,
    )
    found, unreadable = [], 0
    for rule, answer in zip(micro_rules, answers, strict=True):
        label = label_in(answer)
        unreadable += label is None and answer.outputs is not None
        if label not in (None, UNCLEAR, rule.label):
            why = " ".join(str((answer.outputs or {}).get("reason") or "").split()) or "it does not say why"
            reason = f"the teacher, not told the label, answers {label}: {why}"
            found.append(Suspect(rule.example_id, rule.label, label, 1.0, reason))
    return Audit(found, unreadable)


def _text(rule: MicroRule, texts: Mapping[str, str]) -> str:
    return texts.get(rule.example_id, input_text(rule.inputs))


def _most_doubtful_first(suspect: Suspect) -> tuple[float, str]:
    return -suspect.score, suspect.example_id


def _without_labels(rule: str, labels: Sequence[str]) -> str:
    """Blank out the names of labels, which say what the author was told, not what is true."""
    return label_names(tuple(labels)).sub(" ", rule)


def _contradicted_by_data(
    micro_rules: Sequence[MicroRule], task: Task, texts: Mapping[str, str], embedder: EmbedderChoice
) -> Iterator[Suspect]:
    """Yield the examples whose label the texts and micro-rules contradict, on average over those to be trusted."""
    sizes = Counter(rule.label for rule in micro_rules)
    labels = [label for label in task.labels if sizes[label] >= FOLDS]
    if len(labels) < 2:
        return
    judged = [rule for rule in micro_rules if rule.label in labels]
    given = np.array([labels.index(rule.label) for rule in judged])
    views = {
        "text": [_text(rule, texts) for rule in judged],
        "micro-rule": [_without_labels(rule.rule, task.labels) for rule in judged],
    }
    trusted: dict[str, NDArray[np.float64]] = {}
    for name, view in views.items():
        if any(text.strip() for text in view):
            beliefs = _by_words(view, given)
            if name == "text" and (own := embedder_of(embedder, len(view))) is not tfidf_svd:
                beliefs = (beliefs + _by_vectors(view, given, own)) / 2
            agreement = float((beliefs.argmax(axis=1) == given).mean())
            logger.info("Audit by %s: the classifier predicts %.2f of the labels.", name, agreement)
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
        rule, other = judged[row], labels[expected[row]]
        reason = f"its {' and '.join(trusted)} read like {other} ({beliefs[row, expected[row]]:.2f}), not {rule.label}"
        yield Suspect(rule.example_id, rule.label, other, round(float(margins[row]), 4), reason)


def _by_words(texts: Sequence[str], given: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of each label, n x L, by naive Bayes that has not seen the example."""
    words = CountVectorizer(ngram_range=(1, 2), token_pattern=r"\w+").build_analyzer()
    parts = CountVectorizer(analyzer="char_wb", ngram_range=(2, 4)).build_analyzer()
    vectorizer = TfidfVectorizer(
        analyzer=lambda text: [*words(text), *parts(text)], sublinear_tf=True, max_features=200_000
    )
    matrix = vectorizer.fit_transform(texts)
    beliefs = np.zeros((len(texts), int(given.max()) + 1))
    for seen, unseen in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(matrix, given):
        classifier = MultinomialNB(alpha=0.1).fit(matrix[seen], given[seen])
        beliefs[unseen] = classifier.predict_log_proba(matrix[unseen])
    soft = np.exp(beliefs / SOFTENING)
    return np.asarray(soft / soft.sum(axis=1, keepdims=True))


def _by_vectors(texts: Sequence[str], given: NDArray[np.int64], embedder: Embedder) -> NDArray[np.float64]:
    """Return the same by logistic regression on the texts' vectors."""
    labels = [str(number) for number in range(int(given.max()) + 1)]
    classifier = TextClassifier.of(texts, [labels[number] for number in given], labels, embedder)
    return np.exp(classifier.out_of_fold(texts))
