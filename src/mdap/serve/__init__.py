"""Any model behind the wire formats of three vendors, which can be told to misbehave. A way in: nothing calls it."""

from mdap.serve.app import Server, run_server, serve
from mdap.serve.chaos import Chaos, parse_chaos
from mdap.serve.log import Call, read_log

__all__ = ["Call", "Chaos", "Server", "parse_chaos", "read_log", "run_server", "serve"]
