"""DSPy programs that PLD is run on: one module per task, with its signature, its student, and a loader of its data.

Each task's module has ``student() -> dspy.Module`` and ``load(data, *, rationales, seed) -> Splits``; ``published``
holds what their loaders share.
"""
