"""DSPy programs that PLD is run on: one module a task, with its signature, its student, and how data is loaded.

Each task's module gives ``student() -> dspy.Module`` and ``load(data, *, rationales, seed) -> Splits``;
``published`` holds what their loaders share.
"""
