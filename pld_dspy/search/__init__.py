"""Search: which rules, in which wording and order, make the student best on validation."""
