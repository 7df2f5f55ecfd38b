"""What a client can read: a run's report and a step of it, as resources; and prompts that teach it to use the tools."""

from __future__ import annotations

from typing import Annotated, Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceNotFoundError
from pydantic import Field

from mdap.core.errors import MdapError
from mdap.mcp.desk import Desk
from mdap.mcp.pages import MOST_BYTES, shortened, size_of, text_of
from mdap.mcp.runs import standing_of
from mdap.mcp.tool import told
from mdap.rowio import has_rows
from mdap.stepview import Stored, step_of

REPORT = "mdap://runs/{run}"
STEP = "mdap://runs/{run}/steps/{step}"
# Recounting which decisions were right reads them all; past this it would hold up other answers.
_MOST_RECOUNTED = 20_000


def add_resources(server: MCPServer[Any], desk: Desk) -> None:
    """Give the server its resources."""

    @desk.there
    async def _report(run: str) -> str:
        return _read(lambda: report_of(desk, run))

    @desk.there
    async def _step(run: str, step: str) -> str:
        return _read(lambda: _step_of(desk, run, step))

    about = "The report of a run: how it ended, its figures, what they promise and under which assumption."
    server.resource(REPORT, name="run", description=about, mime_type="application/json")(_report)
    about = "A step of a run: what was asked, the ballot, and the recorded samples of a contested or undecided step."
    server.resource(STEP, name="step", description=about, mime_type="application/json")(_step)


def add_prompts(server: MCPServer[Any]) -> None:
    """Give the server its prompts."""
    for prompt in (long_run, own_votes, how_many_votes, settle_inbox):
        about = " ".join((prompt.__doc__ or "").split())
        server.prompt(name=prompt.__name__, description=about)(prompt)


def long_run(task: Annotated[str, Field(description="A task, such as hanoi:disks=5.")], model: str = "") -> str:
    """See a long task through to its end, and report what it came to."""
    chosen = f", model={model!r}" if model else ""
    return f"""Call run_start(task={task!r}{chosen}). It returns an id at once.
Then call run_status with that id every few seconds while `status` is running; do what its `next` says.
When it is done, read run_result page by page (`next_offset`), and report the result, the number of steps, calls and
red flags, and the cost.
If it ended otherwise, say why in the words of `reason`, and what run_resume needs to go on."""


def own_votes(task: Annotated[str, Field(description="A task, such as hanoi:disks=5.")]) -> str:
    """Do a task with this client's own model, each micro-step decided by votes, without any key."""
    return f"""Call run_start(task={task!r}, model='client'). Then repeat until the run is done:
1. Call next_steps.
2. For each prompt write the answer as if you had seen nothing but its messages. Best: hand it to a fresh subagent with
   an empty context, one for each prompt.
3. Give each answer back, whole and unchanged, by submit_votes with its token.
The same step is asked several times on purpose: never reuse an earlier answer, never reason about what others voted,
never mend an answer. A malformed one is discarded and asked anew.
When `prompts` is empty and the run is done, read run_result."""


def how_many_votes(task: Annotated[str, Field(description="A task, such as hanoi:disks=10.")], model: str) -> str:
    """Find out whether voting can help with a model, how many votes it takes, and what that costs."""
    return f"""Call calibrate(task={task!r}, models=[{model!r}], samples=200).
If it refuses, say why in its words, and stop: more votes make such a run worse.
Else call estimate with its p and v and the steps of the task, and report k, the calls and the cost, beside the chance
of success of single calls (k=1). Start nothing yet: ask the user."""


def settle_inbox() -> str:
    """Go through the steps that wait for a decision, together with the user."""
    return """Call inbox. For each step show the user what was asked and the candidates with their votes, and ask which
is right. Then call resolve with what they said (accept, override or k) and their name in `by`, and run_resume.
Decide nothing in their place."""


def report_of(desk: Desk, run: str) -> str:
    """Return the report of a run as JSON, no longer than a client reads."""
    head = desk.head(run)
    made = standing_of(desk, head)
    # Its rows or branches have a task each, so there is no one state to show.
    if has_rows(head):
        return text_of(made)
    result = desk.result(head)
    made |= {
        "votes_per_step": round(result.votes_per_step, 4),
        "tokens": result.tokens,
        "predicted_success": result.predicted_success,
        "assumption": result.assumption,
        "result": result.state,
    }
    if hasattr(desk.task_of(head), "answer") and result.steps <= _MOST_RECOUNTED:
        made["wrong"] = result.wrong
    if size_of(made) > MOST_BYTES:
        made["result"] = f"left out: too long; run_result(run={head.id!r}) has it in pages"
    return text_of(made)


def _step_of(desk: Desk, run: str, step: str) -> str:
    head = desk.head(run)
    # What is no number is a step that is not there; `int` takes signs and spaces, and a journal no more than 64 bits.
    number = int(step) if step.isascii() and step.isdecimal() and len(step) < 16 else -1
    found = step_of(Stored(desk.journal, desk.result(head), desk.view(head)), number)
    if size_of(found) > MOST_BYTES:
        # Samples first: there may be hundreds of them, each as long as a reply.
        found["samples"] = [{**one, "text": shortened(one["text"], 300)} for one in found["samples"][:30]]
    for name in ("state", "next_state", "messages", "action"):
        if size_of(found) > MOST_BYTES and name in found:
            found[name] = f"left out: too long; run_result(run={head.id!r}, part='step', step={number}) has it in pages"
    return text_of(found)


def _read(made: Any) -> str:
    try:
        return str(made())
    except MdapError as error:
        # Of the errors of resources, the one that says to a client that its request is wrong and not the server.
        raise ResourceNotFoundError(told(error)) from error
