"""The teacher: every prompt it is sent, and the retry of unusable answers."""
