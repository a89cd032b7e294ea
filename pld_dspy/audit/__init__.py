"""Audit: training labels in doubt, and faults in the text of rules."""
