"""`mdap probe`: what a model behind a server takes, found out by a few calls."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from mdap.cli.options import BaseUrl, Json, Quiet


def probe(
    model: Annotated[str, Parameter(help="Such as openai:gpt-5-mini or ollama:llama3.2:3b.")],
    /,
    *,
    base_url: BaseUrl = None,
    output: Annotated[Path | None, Parameter(alias="-o", help="File to save to, for `mdap run --probe`.")] = None,
    quiet: Quiet = False,
    json: Json = False,
) -> int:
    """Find out by a few calls which parameters a model takes, and whether its replies are independent.

    Its cost in calls is printed first. It says whether a temperature is accepted, a seed respected, several replies
    given for one call, log-probabilities and a JSON Schema; under which name the cap of tokens goes; whether prompts
    are cached, and replies repeated; and the length of the context where the server tells it.
    """
    import asyncio

    import msgspec

    from mdap.cli.exits import say
    from mdap.cli.report import print_json
    from mdap.models import probing
    from mdap.models.probed import Report

    asked = _made(model, base_url)
    # Before the first call, when Ctrl-C still saves all of it.
    if not quiet:
        # A short prompt has some 30 tokens; two calls carry the padding, with about four characters a token.
        tokens = (probing.CALLS - 2) * 30 + 2 * (len(probing.PADDING) // 4)
        say(
            f"{asked.spec}: {probing.CALLS} calls, {probing.MOST_CALLS} at the most: about {tokens:,} tokens in, "
            f"at most {probing.CALLS * probing.MAX_TOKENS:,} out"
        )

    async def _probed() -> Report:
        try:
            # Closed within the same loop, to which its connections belong.
            return await probing.probe(asked)
        finally:
            await asked.close()

    report = asyncio.run(_probed())
    # Before it is shown: the calls are paid for, whoever reads on.
    if output is not None:
        _save(report, output)
    if json:
        print_json(msgspec.to_builtins(report))
    else:
        _print(report)
    return 0


def _save(report: Any, output: Path) -> None:
    import msgspec

    from mdap.core.errors import UsageError

    try:
        output.write_bytes(msgspec.json.encode(report) + b"\n")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", remedy="name another --output") from None


def _made(model: str, base_url: str | None) -> Any:
    from mdap.core.errors import UsageError
    from mdap.core.spec import parse_spec, write_spec
    from mdap.models.catalog import as_model
    from mdap.models.profiles import SERVERS

    spec = parse_spec(model)
    if spec.name not in SERVERS:
        raise UsageError(
            f"{spec.name} is asked over no network: there is nothing to probe",
            remedy=f"name a model behind one of: {', '.join(sorted(SERVERS))}",
        )
    options = dict(spec.options) if base_url is None else {**dict(spec.options), "base_url": base_url}
    return as_model(write_spec(spec.name, options, bare=spec.bare))


def _print(report: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    from mdap.cli.report import plain_console

    console = plain_console()
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for finding in report.findings:
        shown = {True: "yes", False: "no", None: "?"}.get(finding.value, str(finding.value))
        table.add_row(Text(finding.name, style="bold"), Text(shown), Text(finding.how))
    console.print(table)
    console.print(f"\nvotes differ by: {report.variety}", soft_wrap=True)
    console.print(f"{report.calls} calls, {report.tokens_in:,} tokens in, {report.tokens_out:,} out")
