"""`mdap serve`: a model behind the wire formats of three vendors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mdap.cli.options import whole

Rate = Annotated[
    str | None, Parameter(help='Limits a minute, such as "requests=600,tokens=200000"; beyond them is a 429.')
]
Refuse = Annotated[
    str | None, Parameter(help='Parameters answered with a 400 that names them, such as "temperature,seed".')
]
IgnoreSeed = Annotated[bool, Parameter(negative="", help="Answer as from a cache: the same reply to the same prompt.")]
CachePrompts = Annotated[
    bool, Parameter(negative="", help="Report the part of a prompt that was seen before as cached tokens.")
]
Log = Annotated[
    Path | None, Parameter(help="File that each call is appended to, a line of JSON: its id, tokens, what struck.")
]


def serve(
    model: Annotated[str, Parameter(help="Such as simulated:p=0.98.")],
    /,
    *,
    task: Annotated[
        str | None,
        Parameter(help="What a simulated model is asked about: it reads the state from the text it is sent."),
    ] = None,
    # A free one, so that a further server can always be started.
    port: Annotated[int, Parameter(help="Port to listen on; 0 takes a free one.", converter=whole)] = 0,
    host: Annotated[str, Parameter(help="Address to listen on; one beyond this machine needs a token.")] = "127.0.0.1",
    chaos: Annotated[
        str | None, Parameter(help='Faults and their shares, such as "429=0.05,drop=0.01,cut=0.03".')
    ] = None,
    token: Annotated[
        str | None,
        # Also from a variable: the words of a command can be read by everybody on the machine.
        Parameter(env_var="MDAP_SERVE_TOKEN", show_env_var=True, help="What callers must send as their key."),
    ] = None,
    # Never by chance: a fault that was met once can then be met again.
    seed: Annotated[
        int, Parameter(help="Settles the chaos, and the replies to requests without a seed.", converter=whole)
    ] = 0,
    rate: Rate = None,
    refuse: Refuse = None,
    ignore_seed: IgnoreSeed = False,
    cache_prompts: CachePrompts = False,
    batch_delay: Annotated[float, Parameter(help="Seconds before a batch is worked on.")] = 0.0,
    log: Log = None,
) -> int:
    """Serve a model in the OpenAI, Anthropic and Google dialects; it can be told to misbehave.

    It goes on until Ctrl-C. Words of chaos: 429, 500, hang, drop, truncate and garbage are retried by a client; cut and
    babble are flagged.
    The base URL of the OpenAI dialect is printed on standard error.
    """
    from mdap.models.catalog import as_model
    from mdap.serve import run_server
    from mdap.tasks.catalog import task as task_named

    run_server(
        as_model(model),
        host=host,
        port=port,
        task=None if task is None else task_named(task),
        chaos=chaos,
        seed=seed,
        token=token,
        rate=rate,
        refuse=refuse,
        ignore_seed=ignore_seed,
        cache_prompts=cache_prompts,
        batch_delay=batch_delay,
        log=log,
    )
    return 0
