"""Readers: known data sets, folders, zips and lists, and the check of data before training."""
