"""What a compile leaves behind: the run folder, result.json, MLflow records, progress."""
