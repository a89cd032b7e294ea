"""PLD inside larger programs and beside DSPy's own optimizers: one short example per module.

``python -m programs.inside.NAME`` runs one on the demo task, with the local model.
"""
