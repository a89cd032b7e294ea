"""The settings of induction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import DataError
from ..local.embedding import Embedder, tfidf_svd
from ..task.task import Task
from .cluster import Clusterer, hdbscan
from .doctor import BAND

SuspectPolicy = Literal["keep", "drop", "down-weight"]
Auditor = Literal["data", "teacher"]

UNSAID = {"induce_draws": 1, "induce_audit": "data"}
"""Settings that a run's config.yaml names only where they differ from this: run folders from before they were there
can be gone on with."""


@dataclass(frozen=True, kw_only=True)
class InduceConfig:
    """How micro-rules become rules.

    Attributes:
        embedder: texts -> vectors; any ``dspy.Embedder`` or callable. Default: TF-IDF and SVD, offline.
        clusterer: vectors of one label -> cluster numbers, -1 for noise. ``dbscan(eps=None)`` has its eps picked.
        wordings: wordings a rule, at most; with several draws, one of each besides cues and micro-rule is kept anyway.
        draws: how many times a teacher is asked to word each cluster. Answers differ from one draw to the next; the
            search then chooses among them rule by rule. Further draws have a temperature of 0.7 where the teacher's
            is 0, and are found again in the ledger like all answers. Without a teacher it means nothing.
        cues: word each rule by its cue words as well ("If the text is about a, b or c, answer L."), and where a
            teacher writes wordings, by its most typical micro-rule.
        max_share: a cluster with more than this share of its label's micro-rules is split.
        attach: noise joins the nearest cluster of its label from this cosine similarity on.
        merge: clusters of one label whose centres are at least this similar become one rule.
        band: least and most clusters wanted of a label with a hundred micro-rules or more, as multiples of the
            square root of their number. Outside it, or where a fifth is noise or half is one cluster, the label is
            clustered anew, by average linkage. None leaves every clustering as it is.
        suspects: what becomes of micro-rules whose label the audit doubts. "down-weight" puts them last in their
            cluster, where their support counts half; "keep" only lists them.
        audit: who doubts labels. "data": a classifier of texts and micro-rules, and a rationale that says so itself;
            no call. "teacher": besides, the teacher, which is not told the label; a call an example with a micro-rule,
            those first that the data doubts, and before any synthesis: a cap on teacher calls should leave some for
            that.
    """

    embedder: Embedder = tfidf_svd
    clusterer: Clusterer = hdbscan
    wordings: int = 5
    draws: int = 1
    cues: bool = True
    max_share: float = 0.25
    attach: float = 0.2
    merge: float = 0.95
    band: tuple[float, float] | None = BAND
    suspects: SuspectPolicy = "keep"
    audit: Auditor = "data"

    def __post_init__(self) -> None:
        if self.wordings < 1:
            raise DataError(f"InduceConfig.wordings is {self.wordings}; a rule needs at least 1.")
        if self.draws < 1:
            raise DataError(f"InduceConfig.draws is {self.draws}; a teacher is asked at least once.")
        if not 0 < self.max_share <= 1:
            raise DataError(f"InduceConfig.max_share is {self.max_share}; give a share above 0 and up to 1.")
        if self.band is not None and not 0 < self.band[0] <= self.band[1]:
            raise DataError(f"InduceConfig.band is {self.band}; give two multiples above 0, the lower one first.")
        if self.suspects not in get_args(SuspectPolicy):
            choices = ", ".join(get_args(SuspectPolicy))
            raise DataError(f"InduceConfig.suspects is {self.suspects!r}; give one of {choices}.")
        if self.audit not in get_args(Auditor):
            raise DataError(f"InduceConfig.audit is {self.audit!r}; give one of {', '.join(get_args(Auditor))}.")

    def check_auditor(self, teacher: object, task: Task) -> None:
        """Refuse an audit by a teacher that is not there, or that has no single label to contradict.

        Args:
            teacher: who is there; None for nobody.
            task: the labelled decision.

        Raises:
            DataError: ``audit`` is "teacher", and there is none or answers may hold several labels.
        """
        if self.audit == "teacher" and task.several:
            raise DataError(
                f'InduceConfig.audit is "teacher", which names one label, and the output field {task.label_field!r} '
                'may hold several at once. Leave audit at "data".'
            )
        if self.audit == "teacher" and teacher is None:
            raise DataError(
                'InduceConfig.audit is "teacher" and there is no teacher. Give one, as PLD(teacher=...) or --teacher, '
                'or leave audit at "data".'
            )
