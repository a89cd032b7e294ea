"""The pld-dspy command: one file per command."""
