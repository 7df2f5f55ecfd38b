"""The commands by name, and the one place where words become an exit code. Each command is loaded when it is called."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from cyclopts import App, CycloptsError

from mdap.core.errors import MdapError

# Written here, not read from the functions, so that `mdap --help` loads none of them.
COMMANDS = {
    "run": ("run:run", "Take a task from its start to its end."),
    "resume": ("run:resume", "Go on with a run where its journal ends; a decided step is never asked again."),
    "map": ("map:map", "Take many rows, one short task each, through one run: rows in, rows out, in order."),
    "inbox": ("inbox:inbox", "List the steps that wait for a person."),
    "resolve": ("resolve:resolve", "Say how an undecided step goes on; it is recorded who said so."),
    "plan": ("doing:plan", "Make a plan: steps are proposed, judged and added until judges agree that it is complete."),
    "execute": ("doing:execute", "Carry out a plan, and print the final state as it is."),
    "do": ("doing:do", "Make a plan and carry it out, in one run, and print the final state as it is."),
    "solve": ("solve:solve", "Divide a task, solve its parts and compose their results, each by votes."),
    "ask": ("ask:ask", "Decide one question by votes, and print the answer alone."),
    "runs": ("runs:runs", "List the runs of a journal, the oldest first."),
    "show": ("show:show", "Show a run, or with --step everything that is known of one of its steps."),
    "metrics": ("metrics:metrics", "Print a run, a map or a plan in figures."),
    "ledger": ("ledger:ledger", "List the calls of a run by id, the lost ones too; hold them against a server's log."),
    "export": ("export:export", "Write the decisions of a run as JSON Lines; equal runs give equal bytes."),
    "estimate": ("estimate:estimate", "Say what votes are needed and what they cost, before any call is made."),
    "calibrate": (
        "calibrate:calibrate",
        "Find out how often models are right on random steps of a task, and what k that takes.",
    ),
    "compare": ("calibrate:compare", "Hold a run against a calibration: steps undecided after each vote."),
    "models": (
        "models:models",
        "List what is known of servers and models: which parameters they take, and where votes differ.",
    ),
    "probe": (
        "probe:probe",
        "Find out by a few calls which parameters a model takes, and whether its replies are independent.",
    ),
    "serve": (
        "serve:serve",
        "Serve a model in the OpenAI, Anthropic and Google dialects; it can be told to misbehave.",
    ),
    "mcp": ("mcp:mcp", "Serve the tools of mdap to clients of the Model Context Protocol."),
}


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line in `argv` (default: that of the process) and exit with its code."""
    sys.exit(command_line(sys.argv[1:] if argv is None else argv))


def command_line(words: Sequence[str]) -> int:
    """Run a command line and return its exit code: see `mdap.cli.exits`."""
    # A user's own class, `package.module:Class`, is found from the folder that they are in, as `python -m` finds it.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    # A stream that was closed by whoever started us is None, and print() would take standard output for the other.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (for the life of the process)
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        # cyclopts would print and exit by itself; here every error becomes words and a code in one place.
        code = made_app(words)(list(words), exit_on_error=False, print_error=False)
        # Now, since a full disk or a reader that is gone shows only when the buffer is written.
        sys.stdout.flush()
    except CycloptsError as error:
        _complain(f"error: {error}\nnext:  mdap {_command_of(words)}--help")
        return 2
    except BrokenPipeError:
        # Whoever read our output has seen enough (`mdap export RUN | head`). What is left goes nowhere, silently.
        _hush()
        return 0
    except OSError as error:
        # Any other is a bug, or of a user's own code: Python shows where.
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        _hush()
        _complain(
            f"error: the output cannot be written: {error.strerror}\nnext:  free some space; runs are in the journal"
        )
        return 1
    except KeyboardInterrupt:
        # 128 and the number of SIGINT, as shells have it.
        return 130
    except MdapError as error:
        from mdap.cli.exits import failed  # not needed, and so not loaded, where all goes well

        return failed(error, verbose="-v" in words or "--verbose" in words, flag=_journal_of(words))
    # What `--help` and `--version` give back is no code.
    return code if isinstance(code, int) else 0


def made_app(words: Sequence[str] = ()) -> App:
    """Return the parser of all commands; the one that `words` begins with brings its own, longer, help."""
    app = App(
        name="mdap",
        help="Runs long chains of small LLM steps without errors: each step is decided by votes.",
        help_epilogue="Exit codes: 0 done, 1 error, 2 usage, 3 undecided, 4 budget or stopped, 130 interrupted.",
        version=_version,
        # Docstrings hold brackets and backticks that are no markup.
        help_format="plaintext",
        result_action="return_value",
    )
    for place, (name, (target, text)) in enumerate(COMMANDS.items()):
        if name in words[:1]:
            module, _, function = target.partition(":")
            command = getattr(import_module(f"mdap.cli.{module}"), function)
            # By place, not by name: what one begins with stands first.
            app.command(command, name=name, help=_unwrapped(command.__doc__), sort_key=place)
        else:
            app.command(f"mdap.cli.{target}", name=name, help=text, sort_key=place)
    return app


def _version() -> str:
    from importlib.metadata import version  # takes longer to load than the whole of `mdap --help` should

    return f"mdap {version('mdap')}"


def _unwrapped(docstring: str) -> str:
    """Return the paragraphs of a docstring, each on one line, for a terminal of any width."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in docstring.split("\n\n"))


def _command_of(words: Sequence[str]) -> str:
    return f"{words[0]} " if words and words[0] in COMMANDS else ""


def _journal_of(words: Sequence[str]) -> str:
    """Return the flag that names the journal of a command line, as a further command needs it; empty without one."""
    from mdap.cli.options import Place  # not needed, and so not loaded, where all goes well

    # By hand: what cyclopts has parsed is gone with the command that raised the error.
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name == "--journal":
            return Place(journal=Path(value if sign else "".join(words[place + 1 : place + 2]))).flag
    return ""


def _hush() -> None:
    from mdap.cli.exits import hush  # not needed, and so not loaded, where all goes well

    hush(sys.stdout)


def _complain(text: str) -> None:
    print(text, file=sys.stderr)
