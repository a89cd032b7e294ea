"""The settings of induction."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ..errors import Settings
from .cluster import Clusterer, hdbscan

SuspectPolicy = Literal["keep", "drop", "down-weight"]
Auditor = Literal["data", "teacher"]


class InduceConfig(Settings):
    """How micro-rules become rules.

    Attributes:
        clusterer: vectors of one label -> cluster numbers, -1 for noise.
        wordings: most wordings per rule.
        drafts: how often a teacher is asked for the whole list of rules; the rules of all drafts join the pool. Further
            drafts have a temperature of 0.7 if the teacher's is 0. With 0, each cluster is worded by itself. Without a
            teacher this has no effect.
        cues: also word each rule by its cue words ("If the text is about a, b or c, answer L."), and, where a teacher
            writes the wordings, by its most typical micro-rule.
        max_share: a cluster with more than this share of its label's micro-rules is split.
        attach: noise joins the nearest cluster of its label if the cosine similarity is at least this.
        merge: clusters of one label become one rule if the cosine similarity of their centres is at least this.
        band: fewest and most clusters per label, as multiples of the square root of its number of micro-rules. A label
            with 100 micro-rules or more is clustered again, by average linkage, if it has fewer or more clusters, a
            fifth of it is noise, or half of it is one cluster. None accepts every clustering.
        suspects: what to do with micro-rules whose label the audit doubts. "keep" only lists them; "down-weight" puts
            them last in their cluster, where their support counts half; "drop" leaves them out.
        audit: who doubts labels. "data": a classifier of texts and micro-rules, and rationales that say so; no call.
            "teacher": the teacher too, which does not see the label. That is one call per example with a micro-rule,
            made before any rule is written, and first for those that the data doubts. So a cap on teacher calls
            should leave some for writing the rules.
    """

    clusterer: Clusterer = hdbscan
    wordings: int = Field(default=5, ge=1)
    drafts: int = Field(default=1, ge=0)
    cues: bool = True
    max_share: float = Field(default=0.25, gt=0, le=1)
    attach: float = 0.2
    merge: float = 0.95
    band: tuple[float, float] | None = (0.5, 2.0)
    suspects: SuspectPolicy = "keep"
    audit: Auditor = "data"

    @property
    def teacher_wordings(self) -> int:
        """How many wordings to ask a teacher for: cues and micro-rule have their places too."""
        return max(self.wordings - 2, 1) if self.cues else self.wordings

    @field_validator("band")
    @classmethod
    def _ordered(cls, band: tuple[float, float] | None) -> tuple[float, float] | None:
        if band is not None and not 0 < band[0] <= band[1]:
            raise ValueError("give two multiples above 0, the lower one first")
        return band
