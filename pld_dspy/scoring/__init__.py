"""Objectives, intervals, paired differences, and the arithmetic of offsets."""
