"""Widgets, and what a live notebook needs."""
