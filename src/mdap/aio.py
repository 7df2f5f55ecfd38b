"""The asynchronous forms of the public functions, under the same names."""

from mdap.api import resume, run
from mdap.voted import vote

__all__ = ["resume", "run", "vote"]
