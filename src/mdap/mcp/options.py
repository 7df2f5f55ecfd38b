"""The arguments by which a client begins a run and goes on with it, each with what it is told of them. Values only."""

from __future__ import annotations

from typing import Annotated, Literal

from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase
from pydantic import ConfigDict, Field

from mdap.mcp.tool import LARGEST, Money, Run

K = Annotated[
    int | None, Field(description="Votes by which the winner must lead; 3 without `k` and `rule`.", ge=1, le=10_000)
]
Rule = Annotated[str | None, Field(description="A stopping rule in place of k, such as first_to_k:3.", max_length=200)]
Seed = Annotated[int | None, Field(description="Settles every draw of a seeded model.", ge=-LARGEST, le=LARGEST)]
Confidence = Annotated[
    Literal["logprobs", "ask", "ask:100", "text"] | None,
    Field(
        description="What weighs a vote, for rules that weigh (log_odds, cisc): log-probabilities, a second call that "
        "asks whether it is right, or its percentage, or words of doubt in the reply."
    ),
]
Cap = Annotated[int | None, Field(ge=1, le=LARGEST)]
Few = Annotated[int | None, Field(ge=0, le=LARGEST)]
Seconds = Annotated[float | None, Field(gt=0, le=1e9)]
Heat = Annotated[float | None, Field(ge=0, le=10)]
Text = Annotated[str | None, Field(max_length=1_000_000)]


class Changes(ArgModelBase):
    """What a run may be given at its start and at every resume."""

    # A misspelt cap or budget would otherwise be passed over, and the run go on without it.
    model_config = ConfigDict(extra="forbid")

    max_samples: Annotated[Cap, Field(description="Samples a step, flagged ones included.")] = None
    redraws: Annotated[Few, Field(description="Redraws a vote, after red flags.")] = None
    retries: Annotated[Few, Field(description="Retries a call, after failures of the network.")] = None
    timeout: Annotated[Seconds, Field(description="Seconds a call may take.")] = None
    max_steps: Annotated[Cap, Field(description="Decided steps; of a plan, its steps.")] = None
    restarts: Annotated[Few, Field(description="With prompt: how often a plan is begun anew.")] = None
    attempts: Annotated[Cap, Field(description="With prompt: attempts at a batch of steps.")] = None
    rounds: Annotated[Cap, Field(description="With solve: how often candidates are drawn for one question.")] = None
    in_flight: Annotated[Cap, Field(description="Calls at once.")] = None
    budget_calls: Annotated[Few, Field(description="Calls of the whole run.")] = None
    budget_tokens: Annotated[Few, Field(description="Tokens of the whole run.")] = None
    budget_seconds: Annotated[Seconds, Field(description="Seconds of the whole run.")] = None
    budget_usd: Money = None
    remedies: Annotated[
        list[str] | None,
        Field(
            description="What is done about a step that its caps leave undecided: samples:N, prompt, model:SPEC.",
            max_length=20,
        ),
    ] = None


class Start(Changes):
    """What a run is begun with. One of `task`, `question`, `prompt` and `solve` says what it is about."""

    task: Annotated[str | None, Field(description="A task, such as hanoi:disks=5.", max_length=100_000)] = None
    question: Annotated[Text, Field(description="In place of a task: one question, answered by votes.")] = None
    one_of: Annotated[
        list[str] | None,
        Field(description="The answers that there are, of question or solve.", min_length=1, max_length=1_000),
    ] = None
    prompt: Annotated[Text, Field(description="In place of a task: what is to be planned and carried out.")] = None
    plan: Annotated[Text, Field(description="With prompt: a JSON array of steps to carry out, none planned.")] = None
    batch_size: Annotated[Cap, Field(description="With prompt: steps that are planned and carried out at once.")] = None
    format: Annotated[Text, Field(description="With prompt: what the result has to look like, in words.")] = None
    solve: Annotated[
        Text, Field(description="In place of a task: what is to be divided into parts, solved and composed.")
    ] = None
    decompose: Annotated[
        Literal["binary", "numbered", "sentences", "sequential", "simple", "none"] | None,
        Field(description="With solve: who divides; binary is the model, the others need none."),
    ] = None
    max_depth: Annotated[Few, Field(description="With solve: at this depth a task is solved as it stands.")] = None
    max_subtasks: Annotated[Few, Field(description="With solve: subtasks at most.")] = None
    # Not `validate`, as the library has it: every pydantic model has a method of that name.
    validate_answers: Annotated[
        Literal["none", "answer", "every"] | None, Field(description="With solve: whose answers are validated.")
    ] = None
    model: Annotated[
        str | None,
        Field(
            description="Such as openai:gpt-4.1-mini or simulated:p=0.9; `client`: you answer the prompts yourself, by "
            "next_steps and submit_votes, without any key. Without it: the server's own model.",
            max_length=1_000,
        ),
    ] = None
    k: K = None
    rule: Rule = None
    seed: Seed = None
    max_tokens: Annotated[Cap, Field(description="Tokens a reply may have.")] = None
    first_temperature: Annotated[Heat, Field(description="Temperature of a step's first draw.")] = None
    temperature: Annotated[Heat, Field(description="Temperature of all other draws.")] = None
    free: Annotated[bool | None, Field(description="What has no price costs nothing.")] = None
    confidence: Confidence = None
    record: Annotated[
        Literal["samples", "contested", "none"] | None, Field(description="Whose samples are kept: whose steps'.")
    ] = None


class Resume(Changes):
    """Which run is gone on with, and what may change."""

    run: Run
