"""Every prompt that the library sends, as DSPy signatures."""

from __future__ import annotations

import dspy


class ExplainExample(dspy.Signature):
    """You train a small model by writing instructions for it. You see the task, one example of it and the correct
    label. First say briefly why this label is correct and why the nearest other label is not. Then abstract the
    reasoning into ONE instruction that would help on similar examples: name the sign to look for and the label to
    answer, in one sentence of at most 40 words. Do not mention this example, its names or its numbers."""

    task: str = dspy.InputField(desc="what the small model is asked to do")
    labels: str = dspy.InputField(desc="the labels it may answer")
    example: str = dspy.InputField()
    label: str = dspy.InputField(desc="the correct label of the example")
    rationale: str = dspy.OutputField(desc="one to three sentences")
    rule: str = dspy.OutputField(desc="one instruction: if <sign>, answer <label>")


class GeneralizeRules(dspy.Signature):
    """You train a small model by writing instructions for it. You see the task and several notes that were each
    drawn from one example with the same kind of reasoning. Write ONE instruction that covers what the notes share,
    keeps their exceptions, and names the label to answer. Give it in several wordings, from the shortest to the
    most explicit; each is one or two sentences of at most 45 words and stands alone."""

    task: str = dspy.InputField(desc="what the small model is asked to do")
    labels: str = dspy.InputField(desc="the labels it may answer")
    notes: list[str] = dspy.InputField(desc="instructions drawn from single examples, the most typical first")
    label: str = dspy.InputField(desc="the label that most of the notes answer")
    count: int = dspy.InputField(desc="how many wordings to give")
    wordings: list[str] = dspy.OutputField(desc="the wordings, each one a complete instruction")
