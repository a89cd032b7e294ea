"""Induce: micro-rules are clustered label by label, and each cluster becomes one rule."""
