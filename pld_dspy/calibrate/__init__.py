"""Calibrate: offsets that correct a student's leaning to labels, confidences and abstention."""
