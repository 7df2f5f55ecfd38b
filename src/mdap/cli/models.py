"""`mdap models`: what is known of servers and models before any call."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from mdap.cli.options import Json


def models(
    model: Annotated[str | None, Parameter(help="Such as openai:gpt-5-mini; all families if it is left out.")] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """List what is known of servers and models: which parameters they take, and where votes differ.

    No call is made. What is not known is assumed with care, and adapted when a server refuses it; `mdap probe` finds
    it out.
    """
    from mdap.cli.report import print_json
    from mdap.models.profiles import FAMILIES, SERVERS, profile_of

    if model is not None:
        server, _, name = model.partition(":")
        # Behind a comma stand options of a spec, which say nothing of the model.
        rows = [_row(server, name.partition(",")[0], profile_of(server, name.partition(",")[0]))]
    else:
        rows = [_row(family.vendor, family.name, family.profile) for family in FAMILIES]
        # A name of no family, so that the profile is that of the server itself.
        rows += [_row(name, "others", profile_of(name, "...")) for name in SERVERS]
    if json:
        print_json(rows)
    else:
        _print(rows)
    return 0


def _row(server: str, name: str, profile: Any) -> dict[str, Any]:
    import os

    import msgspec

    from mdap.models.profiles import SERVERS

    kind = SERVERS[server]
    return {
        "server": server,
        "models": name,
        "base_url": kind.base_url,
        "keys": list(kind.keys),
        # Whether there is one, never what it is.
        "has_key": any(os.environ.get(key) for key in kind.keys),
        **msgspec.to_builtins(profile),
        "variety": profile.variety,
    }


_SHOWN = ("temperature", "seed", "n", "logprobs", "json_schema")


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from mdap.cli.report import plain_console

    console = plain_console()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("server", "models", "takes", "context"):
        # Folded and not cut, for a name that is cut cannot be typed.
        table.add_column(name, overflow="fold", justify="right" if name == "context" else "left")
    for row in rows:
        takes = ", ".join(name for name in _SHOWN if row[name])
        table.add_row(row["server"], row["models"], takes, f"{row['context']:,}" if row["context"] else "")
    console.print(table)
    if len(rows) > 1:
        console.print("\n`mdap models SERVER:MODEL` says more of one; `mdap probe SERVER:MODEL` asks it.")
        return
    (row,) = rows
    told = {"cap of tokens": f"as {row['max_tokens']}", "votes differ by": row["variety"], "known": row["known"]}
    told["address"] = row["base_url"]
    told["key"] = f"{' or '.join(row['keys'])}, {'which is set' if row['has_key'] else 'not set'}"
    for name, said in told.items():
        console.print(f"{name}: {said}", soft_wrap=True)
