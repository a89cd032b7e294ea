"""report.html and its plots, from a finished run."""
