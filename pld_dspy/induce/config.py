"""The settings of induction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..embedding import Embedder, tfidf_svd
from ..errors import DataError
from .cluster import Clusterer, hdbscan
from .doctor import BAND

SuspectPolicy = Literal["keep", "drop", "down-weight"]


@dataclass(frozen=True, kw_only=True)
class InduceConfig:
    """How micro-rules become rules.

    Attributes:
        embedder: texts -> vectors; any ``dspy.Embedder`` or callable. Default: TF-IDF and SVD, offline.
        clusterer: vectors of one label -> cluster numbers, -1 for noise. ``dbscan(eps=None)`` has its eps picked.
        wordings: wordings a rule, at most.
        cues: word each rule by its cue words as well ("If the text is about a, b or c, answer L."), and where a
            teacher writes wordings, by its most typical micro-rule.
        max_share: a cluster with more than this share of its label's micro-rules is split.
        attach: noise joins the nearest cluster of its label from this cosine similarity on.
        merge: clusters of one label whose centres are at least this similar become one rule.
        band: least and most clusters wanted of a label with a hundred micro-rules or more, as multiples of the
            square root of their number. Outside it, or where a fifth is noise or half is one cluster, the label is
            clustered anew, by average linkage. None leaves every clustering as it is.
        suspects: what becomes of micro-rules whose label the audit doubts. "down-weight" puts them last in their
            cluster, where their support counts half; "keep" asks for no audit.
    """

    embedder: Embedder = tfidf_svd
    clusterer: Clusterer = hdbscan
    wordings: int = 5
    cues: bool = True
    max_share: float = 0.25
    attach: float = 0.2
    merge: float = 0.95
    band: tuple[float, float] | None = BAND
    suspects: SuspectPolicy = "keep"

    def __post_init__(self) -> None:
        if self.wordings < 1:
            raise DataError(f"InduceConfig.wordings is {self.wordings}; a rule needs at least 1.")
        if not 0 < self.max_share <= 1:
            raise DataError(f"InduceConfig.max_share is {self.max_share}; give a share above 0 and up to 1.")
        if self.band is not None and not 0 < self.band[0] <= self.band[1]:
            raise DataError(f"InduceConfig.band is {self.band}; give two multiples above 0, the lower one first.")
        if self.suspects not in get_args(SuspectPolicy):
            choices = ", ".join(get_args(SuspectPolicy))
            raise DataError(f"InduceConfig.suspects is {self.suspects!r}; give one of {choices}.")
