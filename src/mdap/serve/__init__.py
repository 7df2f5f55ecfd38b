"""Any model as an OpenAI-compatible endpoint, which can be told to misbehave. A way in: nothing of mdap calls it."""

from mdap.serve.app import Server, run_server, serve
from mdap.serve.chaos import Chaos, parse_chaos

__all__ = ["Chaos", "Server", "parse_chaos", "run_server", "serve"]
