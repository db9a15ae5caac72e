"""FACoG Lab: a notebook-first workbench for long-tailed recognition (see README.md)."""

__version__ = "0.1.0"
