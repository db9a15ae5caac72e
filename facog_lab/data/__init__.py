"""Readers: known data sets, folders, zips and lists, and a look at them before training."""
