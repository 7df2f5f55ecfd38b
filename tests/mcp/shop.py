"""A server with one tool, as a program of its own, and a model that calls it once a step."""

from __future__ import annotations

import json

from mcp.server import MCPServer

CALL = json.dumps({"tool": "mcp_shop_price", "arguments": {"item": "pen"}})
server: MCPServer[object] = MCPServer("shop")


@server.tool()
def price(item: str) -> int:
    """Look up what an item costs."""
    return len(item)


def asker(prompt: str) -> str:
    """The reply of a model that looks a price up, and then answers 5."""
    return "5" if "came of it:" in prompt else CALL


def stepper(prompt: str) -> str:
    """The reply of a model that says Yes to all, and looks a price up before it carries a step out."""
    if "verdict" in prompt:
        return '{"verdict": "Yes", "reason": ""}'
    return "3" if "came of it:" in prompt else CALL


if __name__ == "__main__":
    server.run()
