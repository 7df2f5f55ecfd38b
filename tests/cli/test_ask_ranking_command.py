"""mdap ask --ranking: one question through the rules that read rankings, from the command line."""

from __future__ import annotations

import json

from tests.cli.conftest import Terminal


def test_the_command_line_asks_for_a_ranking(mdap: Terminal) -> None:
    mdap.write(
        "bar",
        'replies = iter(["tea\\nwater", "coffee\\nwater", "water\\ntea"])\ndef clerk(prompt): return next(replies)\n',
    )
    said = mdap(
        *("ask", "Which?", "--ranking", "tea,coffee,water", "--rule", "borda:3", "--model", "bar:clerk", "--json"),
        *("--in-flight", "1"),
    )
    assert said.code == 0, said.err
    assert json.loads(said.out)["answer"] == "water"
