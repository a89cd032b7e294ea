"""The labelled decision: label set, checks of the data, splits, tables."""
