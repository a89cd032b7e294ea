"""The local model: weights found, verified and served on this machine; texts as vectors."""
