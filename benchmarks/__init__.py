"""Measured results: accuracy over seeds here, speed ratios and the paper's tables as they come."""
