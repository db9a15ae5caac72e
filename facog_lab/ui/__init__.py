"""Widgets, and what a live notebook needs; their JavaScript and CSS are in `static`."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
