"""Writes docs/cli.md from `--help` of every command; with --check it only says whether the page is current."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from mdap.cli.app import COMMANDS, made_app

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
WIDTH = 100

HEAD = """# The command line

This page is written by `python scripts/cli_docs.py` from what `--help` says. `python -m mdap` is `mdap`.

## Exit codes

| code | what happened | what goes on from there |
| --- | --- | --- |
| 0 | done | |
| 1 | an error: of the network, the journal, the task, the model | what its message says |
| 2 | usage: an argument, an option or a name is wrong | what its message says |
| 3 | undecided: a cap ran out before a step was decided | `mdap show RUN --step N`; `mdap resume RUN`, the cap raised |
| 4 | a budget ran out, or the run was stopped | `mdap resume RUN` with a larger budget |
| 130 | interrupted: Ctrl-C or SIGTERM | `mdap resume RUN` |

What each message means: [troubleshooting](troubleshooting.md).

## Output

Standard output holds the result and nothing else: a table, or with `--json` one line with one value. Progress, notes
and errors go to standard error; the progress line is only drawn where that is a terminal. With `--json`, a run that
ended in an error or was interrupted still prints its object, with that status; standard output stays empty only if no
run began. `wrong` is counted after the run, and is absent where the task does not know its answers.

The first Ctrl-C cancels the calls in flight, keeps what was decided and says how to go on; a second one ends the
process at once. SIGTERM does what the first Ctrl-C does.

## Environment

| variable | what it does |
| --- | --- |
| `MDAP_JOURNAL` | file of the journal where `--journal` is not given; else `.mdap/runs.db` |
| `MDAP_SERVE_TOKEN` | token of `mdap serve` where `--token` is not given |
| `MDAP_MCP_TOKEN` | token of `mdap mcp --http` where `--token` is not given |
| `OPENAI_API_KEY` | key of `openai:` models; never printed and never stored |
| `OPENAI_BASE_URL` | address of `openai:` models where `--base-url` is not given |
| `NO_COLOR`, `COLUMNS` | no colours; width of tables where the terminal does not say |
"""


def page() -> str:
    """Return the page as it should be."""
    return HEAD + "".join(f"\n## {f'mdap {name}'.strip()}\n\n```text\n{help_of(name)}```\n" for name in ("", *COMMANDS))


def help_of(command: str) -> str:
    """Return what `mdap COMMAND --help` prints, without colours, at a fixed width."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    words = [command] if command else []
    made_app(words)([*words, "--help"], console=console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(
            None if PAGE.read_text(encoding="utf-8") == page() else "docs/cli.md: run `python scripts/cli_docs.py`"
        )
    PAGE.write_text(page(), encoding="utf-8")
