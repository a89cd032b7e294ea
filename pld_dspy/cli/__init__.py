"""The pld-dspy command."""
