"""What induction found."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..rules import Rule


@dataclass(frozen=True)
class Induction:
    """The rules, those with the most support first, and what happened on the way.

    Attributes:
        rules: one per cluster, with wording 0 in use.
        noise: ids of examples whose micro-rule joined no cluster.
        fallbacks: ids of rules for which no draw of the teacher was usable: their micro-rules stand in.
        about_format: ids of examples whose micro-rule was about the answer's format, and was dropped.
        dropped: ids of examples none of whose micro-rules was used, since their labels are doubted.
        counts: of micro-rules (``micro_rules`` given, ``about_format``, ``noise``, ``suspects_dropped``,
            ``suspects_down_weighted``), of rules (``rules``, ``in_parts``), of the micro-rules behind the ``largest``
            rule, and of labels (``labels_without_rule``, ``labels_split`` and the like).
        diagnosis: the same in one line.
    """

    rules: list[Rule]
    noise: list[str] = field(default_factory=list)
    fallbacks: list[str] = field(default_factory=list)
    about_format: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    diagnosis: str = ""
