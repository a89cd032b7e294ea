"""Runs of program x optimizer x seed, resumable, tracked in MLflow; and the table of what came out."""
