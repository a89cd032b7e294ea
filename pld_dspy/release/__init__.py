"""What is done with a finished run: report, review, recheck, signature, export."""
