"""The asynchronous forms of the public functions, under the same names."""

from mdap.agents import Agent
from mdap.api import resume, run
from mdap.asked import ask
from mdap.calibrating import calibrate
from mdap.doing import do, execute, plan
from mdap.mapping import map
from mdap.voted import vote

__all__ = ["Agent", "ask", "calibrate", "do", "execute", "map", "plan", "resume", "run", "vote"]
