"""Prompt-Level Distillation (PLD) as a DSPy teleprompter."""
