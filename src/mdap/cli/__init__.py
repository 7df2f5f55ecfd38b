"""The command line: a way in, a thin layer over `mdap.api`. Nothing here decides anything about a run."""

from mdap.cli.app import main

__all__ = ["main"]
