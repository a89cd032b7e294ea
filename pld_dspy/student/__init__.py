"""The student as a function of its rules: adapter, constraints, log-probabilities, evaluation."""
