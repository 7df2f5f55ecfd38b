"""`mdap mcp`: the tools of mdap for any client of the Model Context Protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from mdap.cli.executor import Executor, executor_settings
from mdap.cli.options import USUAL_PLACE, Place, Verbose, whole

if TYPE_CHECKING:
    from mdap.mcp.allowed import Allowed
    from mdap.planning.executor_settings import ExecutorSettings

Stdio = Annotated[
    bool, Parameter(negative="", show_default=False, help="Serve standard input and output, as without any flag.")
]
Http = Annotated[
    bool, Parameter(negative="", show_default=False, help="Serve HTTP at /mcp in place of standard input and output.")
]
AllowTask = Annotated[
    list[str] | None,
    Parameter(negative="", help="A class of your own, package.module:Class, that clients may run; repeatable."),
]
AllowModel = Annotated[
    list[str] | None,
    Parameter(
        negative="",
        help="A model that clients may use beside those that ship, as they will write it; repeatable. Needed for "
        "models of your own and for every base_url.",
    ),
]
AllowHost = Annotated[
    list[str] | None,
    Parameter(negative="", help="A further name under which this server is called over HTTP; repeatable."),
]


def mcp(
    *,
    stdio: Stdio = False,
    http: Http = False,
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.", converter=whole)] = 5000,
    host: Annotated[str, Parameter(help="Address to listen on; one beyond this machine needs a token.")] = "127.0.0.1",
    token: Annotated[
        str | None,
        Parameter(env_var="MDAP_MCP_TOKEN", show_env_var=True, help="What clients must send as their bearer token."),
    ] = None,
    allow_host: AllowHost = None,
    model: Annotated[
        str | None, Parameter(alias="-m", help="The model where a client names none, such as openai:gpt-4.1-mini.")
    ] = None,
    allow_task: AllowTask = None,
    allow_model: AllowModel = None,
    executor: Executor = None,
    runs: Annotated[int, Parameter(help="Runs and questions at once.", converter=whole)] = 16,
    place: Place = USUAL_PLACE,
    verbose: Verbose = 0,
) -> int:
    """Serve the tools of mdap to clients of the Model Context Protocol.

    Long runs that go on while the client does something else, voted answers, votes by the client's own model, and
    figures before anything is paid. It shares its journal with the command line: `mdap runs` lists what clients began.
    Clients may run the tasks and the models that ship, and those allowed here; nothing else is imported. Over HTTP it
    listens on this machine alone unless there is a token. Needs the extra mcp.
    """
    import gc

    from mdap.core.errors import UsageError

    if stdio and http:
        raise UsageError("both --stdio and --http are given", remedy="give one of them")
    if runs < 1:
        raise UsageError(f"runs={runs} is out of range", remedy="give 1 or more")
    allowed = _allowed(allow_task, allow_model, model, executor_settings(executor, is_used=model is None))
    # The package makes some thousand classes, none of which is ever garbage: looking for some takes a tenth of it.
    gc.disable()
    try:
        from mdap.mcp import serving
    except ModuleNotFoundError as error:
        absent = (error.name or "").partition(".")[0]
        if absent in ("mdap", ""):
            raise
        raise UsageError(f"mdap mcp needs {absent}", remedy="pip install 'mdap[mcp]'") from None
    # All of that stays as long as the process, so later collections pass over it.
    gc.freeze()
    gc.enable()
    # On standard output a line of the log would be taken for a message.
    with serving.logged_to_stderr(verbose):
        if http:
            door = serving.Door(host, port, token, tuple(allow_host or ()))
            serving.see_through(serving.serve_http(place.path, allowed, door, most=runs))
        else:
            serving.see_through(serving.serve_stdio(place.path, allowed, most=runs))
    return 0


def _allowed(
    tasks: list[str] | None, models: list[str] | None, model: str | None, planning: ExecutorSettings | None
) -> Allowed:
    """Return what clients may name, each of it looked at now rather than when somebody asks for it."""
    from mdap.mcp.allowed import Allowed
    from mdap.models.catalog import as_model
    from mdap.tasks.question import imported

    for task in tasks or ():
        imported(task)
    # `client` stands for whoever calls: it is made for each run, and cannot be made here.
    for spec in [*(models or ()), *([model] if model not in (None, "client") else [])]:
        as_model(spec)
    return Allowed(tuple(tasks or ()), tuple(models or ()), model, planning)
