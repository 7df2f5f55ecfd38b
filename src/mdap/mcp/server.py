"""The server put together: tools, resources and prompts over one desk. How it is reached is in the other files."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

from mdap.clock import LoopClock
from mdap.mcp.asking import AskTools
from mdap.mcp.desk import Desk
from mdap.mcp.drop_in import MakerTools
from mdap.mcp.guides import add_prompts, add_resources
from mdap.mcp.runs import RunTools
from mdap.mcp.votes import VoteTools
from mdap.protocols import Clock

INSTRUCTIONS = """Runs long chains of small model calls without errors: each step is decided by votes.

Long work: run_start returns an id at once; run_status and run_result look at it; run_cancel and run_resume.
Without any key: run_start(model="client"), then next_steps and submit_votes until it is done, each prompt by itself.
One question: ask. Before paying: estimate, calibrate. Steps that wait for a decision: inbox, resolve.
"""


def made_server(desk: Desk, *, clock: Clock | None = None) -> MCPServer[object]:
    """Return the server whose tools work on `desk`."""
    tools = [
        *RunTools(desk).tools(),
        *VoteTools(desk, clock or LoopClock()).tools(),
        *AskTools(desk).tools(),
        *MakerTools(desk).tools(),
    ]
    server: MCPServer[object] = MCPServer(
        "mdap", title="mdap", instructions=INSTRUCTIONS, version=_version(), tools=tools, log_level="WARNING"
    )
    add_resources(server, desk)
    add_prompts(server)
    return server


def _version() -> str:
    from importlib.metadata import version  # takes longer to load than the rest of this file

    return version("mdap")
