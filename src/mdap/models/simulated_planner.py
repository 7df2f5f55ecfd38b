"""A planner, its judges and whoever carries out the plan, made of chance: they read what they are sent, nothing else.

Their world is small: the words behind the last colon of the task are to be put on lines of their own, in their order.
A reply is a function of (model seed, prompt, request seed). Of how prompts are made only their headings are known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from mdap.core.errors import ModelRejected, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Request, Response, Usage
from mdap.core.spec import write_spec

_HEADING = re.compile(
    r"^## (Task|Format of the result|Steps so far|Proposal that was rejected|Proposed steps|Current steps|Context|"
    r"Reasons|State|State before|State after|Candidates|What a step is|What to judge|Answer)$",
    re.MULTILINE,
)
_LINE = re.compile(r'^Append the line "(.*)"$')
_MOST = re.compile(r"array of at most (\d+) objects")
_PART = re.compile(r"^### \w+ \d+(?: of \d+)?\n", re.MULTILINE)
_REMEDY = "ask it by `mdap plan`, `mdap execute` or `mdap do`, with the prompts that ship"
# What the judges object in these words is what the next proposal avoids when it reads them among its reasons.
_UNCHANGED, _TOO_MUCH = "the state has not changed", "more was appended than the steps say"


def simulated_planner(*, p: float = 0.9, judge: float = 0.9, flags: float = 0.0, seed: int = 0) -> SimulatedPlanner:
    """Return a model that plays every role of planning, and that costs nothing.

    `p`: probability that a proposal, or a new state, is right; `judge`: that a judgement is; `flags`: share of replies
    that are cut off. What the reasons in a prompt object to is not proposed again. Raises UsageError for what is no
    probability.
    """
    for name, value in {"p": p, "judge": judge, "flags": flags}.items():
        if not 0.0 <= value <= 1.0:
            raise UsageError(
                f"simulated_planner: {name}={value!r} is no probability", remedy=f"give {name} from 0 to 1"
            )
    options = {"p": p, "judge": judge} | {name: value for name, value in (("flags", flags), ("seed", seed)) if value}
    return SimulatedPlanner(write_spec("simulated_planner", options), p, judge, flags, seed)


class _Luck(NamedTuple):
    """What chance has in store for one reply."""

    is_right: bool
    which: float


class SimulatedPlanner:
    """See `simulated_planner`."""

    is_seeded = True

    def __init__(self, spec: str, p: float, judge: float, flags: float, seed: int) -> None:
        self.spec = spec
        self._p, self._judge, self._flags, self._seed = p, judge, flags, seed

    def __repr__(self) -> str:
        return f"<model {self.spec}>"

    async def complete(self, request: Request) -> Response:
        """Answer the prompt of one role; raises ModelRejected for any other prompt."""
        text = request.messages[-1].content
        parts = _parts(text)
        role = next((role for heading, role in _ROLES.items() if heading in parts), None)
        if role is None or "Task" not in parts:
            raise ModelRejected(
                f"{self.spec} cannot read this prompt: it has no headings of planning",
                remedy=_REMEDY,
            )
        # A number of its own for each, so that being cut off has nothing to do with being right.
        luck, which, flagged = uniforms(b"%d %b %d" % (self._seed, request.prompt.digest.encode(), request.seed), 3)
        # Four characters a token, as a rule of thumb: only the accounts of the example rest on it.
        tokens_in = sum(len(message.content) for message in request.messages) // 4
        is_right = luck < (self._judge if role in _JUDGES else self._p)
        try:
            reply = role(parts, _Luck(is_right, which), text)
        except (ValueError, KeyError) as error:
            raise ModelRejected(f"{self.spec} cannot read this prompt: {error}", remedy=_REMEDY) from None
        # Cut off as a cap does it: half the text, all the tokens.
        if flagged < self._flags:
            return Response(reply[: len(reply) // 2], "length", Usage(tokens_in, request.max_tokens))
        return Response(reply, "stop", Usage(tokens_in, max(1, len(reply) // 4)))


def _parts(text: str) -> dict[str, str]:
    """Return what stands below each heading, white space and all."""
    found = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in found[1:]), len(text)][: len(found)]
    return {
        # White space may be part of a state: no more goes than the empty line that the prompt puts between its parts.
        heading[1]: text[heading.end() + 1 : end].removesuffix("\n\n")
        for heading, end in zip(found, ends, strict=True)
    }


def _words(task: str) -> list[str]:
    listed = task.rpartition(":")[2]
    return [word for word in (part.strip(" .\t") for part in re.split(r"[,\r\n]", listed)) if word]


def _listed_steps(text: str) -> tuple[list[dict[str, Any]], bool]:
    """Return the steps that stand one a line, each behind its place, and whether End stands behind them."""
    lines = [line for line in text.splitlines() if line.strip() and line != "none"]
    steps = [json.loads(line.partition(". ")[2]) for line in lines if line != "End"]
    return steps, "End" in lines


def _step(words: Sequence[str], place: int) -> dict[str, Any]:
    return {"task": f'Append the line "{words[place]}"', "requiredSteps": [place - 1] if place else []}


def _propose(parts: dict[str, str], luck: _Luck, text: str) -> str:
    words = _words(parts["Task"])
    there, _ = _listed_steps(parts["Steps so far"])
    first, most = len(there), int(found[1]) if (found := _MOST.search(text)) else 1
    if first >= len(words):
        return "End"
    steps = [_step(words, place) for place in range(first, min(first + most, len(words)))]
    if not luck.is_right:
        steps = _another(words, first, steps, parts.get("Reasons", ""), luck.which)
    ends = [{"task": "End"}] if first + len(steps) >= len(words) else []
    # All that the prompt asks for: a reply that leaves it out is shorter than a strict preset takes.
    whole = [{**step, "requiresFormat": False, "extraContext": ""} for step in steps]
    return json.dumps(whole + ends, ensure_ascii=False)


def _another(
    words: Sequence[str], first: int, right: list[dict[str, Any]], reasons: str, which: float
) -> list[dict[str, Any]]:
    """Return wrong steps that no reason objects to; the right ones where all are objected to."""
    last = len(words) - 1
    wrong = [
        {"task": f'Append the line "{words[other]}"', "requiredSteps": []}
        # Slips that a planner makes: a step too far, the last one again, the end too soon.
        for other in (first + 1, first - 1, last)
        if 0 <= other <= last and other != first
    ]
    # So that reasons in a prompt are of use: a planner that does not read them would be refused over and over.
    wrong = [step for step in wrong if _objection(step) not in reasons]
    return [wrong[int(which * len(wrong))]] if wrong else right


def _objection(step: dict[str, Any]) -> str:
    return f"this is not the next step: {step['task']}"


def _judge_steps(parts: dict[str, str], luck: _Luck, _text: str) -> str:
    words = _words(parts["Task"])
    there, _ = _listed_steps(parts["Steps so far"])
    proposed, ends = _listed_steps(parts["Proposed steps"])
    if len(there) >= len(words):
        return _verdict("End" if luck.is_right else "No", "the plan is not complete")
    wrong = next((step for n, step in enumerate(proposed, len(there)) if not _is_next(words, n, step)), None)
    if wrong is not None:
        return _verdict("No" if luck.is_right else "Yes", _objection(wrong))
    complete = len(there) + len(proposed) == len(words)
    # Right steps are refused for one thing alone: that they end a plan which is not complete.
    return _verdict("Yes" if luck.is_right is (complete or not ends) else "No", "this is not the end of the plan")


def _is_next(words: Sequence[str], place: int, step: dict[str, Any]) -> bool:
    if place >= len(words):
        return False
    right = _step(words, place)
    return bool(step["task"] == right["task"] and step["requiredSteps"] == right["requiredSteps"])


def _verdict(word: str, reason: str) -> str:
    return json.dumps({"verdict": word, "reason": reason if word == "No" else ""}, ensure_ascii=False)


def _lines(value: str, *, is_json: bool) -> list[str]:
    """Return the lines of a state, or of all its parts."""
    if not is_json:
        bodies = [body.removesuffix("\n") for body in _PART.split(value)[1:]] if _PART.match(value) else [value]
        return [line for body in bodies if body for line in body.split("\n")]
    parsed = [json.loads(body) for body in (_PART.split(value)[1:] if _PART.match(value) else [value])]
    return [line for one in parsed if isinstance(one, list) for line in one]


def _written(lines: Sequence[str], *, is_json: bool) -> str:
    return json.dumps(list(lines), ensure_ascii=False) if is_json else "\n".join(lines)


def _after(parts: dict[str, str], state: str, *, is_json: bool) -> list[str]:
    steps = [line.removeprefix("- ") for line in parts["Current steps"].splitlines()]
    return _lines(state, is_json=is_json) + [found[1] for step in steps if (found := _LINE.match(step))]


def _execute(parts: dict[str, str], luck: _Luck, text: str) -> str:
    is_json, state = "as JSON" in parts["Answer"], parts["State"]
    before = _lines(state, is_json=is_json)
    right = _after(parts, state, is_json=is_json) if "Current steps" in parts else before
    reasons = parts["Reasons"]
    wrong = [
        lines
        for lines, objection in ((before, _UNCHANGED), ([*right, *right[-1:]], _TOO_MUCH))
        if objection not in reasons and lines and lines != right
    ]
    if luck.is_right or not wrong:
        return _written(right, is_json=is_json)
    return _written(wrong[int(luck.which * len(wrong))], is_json=is_json)


def _judge_state(parts: dict[str, str], luck: _Luck, text: str) -> str:
    before, after = parts["State before"], parts["State after"]
    # States are lists of lines here, so one that is JSON begins with a bracket.
    is_json = after.startswith("[")
    right = _after(parts, before, is_json=is_json)
    is_right = _lines(after, is_json=is_json) == right
    objection = _UNCHANGED if after == before else _TOO_MUCH
    return _verdict("Yes" if luck.is_right is is_right else "No", objection)


def _choose(parts: dict[str, str], luck: _Luck, text: str) -> str:
    candidates = [body.removesuffix("\n") for body in _PART.split(parts["Candidates"])[1:]]
    right = "\n".join(_after(parts, parts["State before"], is_json=False))
    choice = candidates.index(right) + 1 if right in candidates else 0
    if not luck.is_right:
        # One more than the right choice up to one less, all the way round, and so never the right one; 0 means none.
        choice = (choice + 1 + int(luck.which * len(candidates))) % (len(candidates) + 1)
    return json.dumps({"choice": choice, "reason": "" if choice else _UNCHANGED}, ensure_ascii=False)


_Role = Callable[[dict[str, str], _Luck, str], str]
# By the heading that no other role's prompt has; the first that is there counts.
_ROLES: dict[str, _Role] = {
    "Proposed steps": _judge_steps,
    "State after": _judge_state,
    "Candidates": _choose,
    "Steps so far": _propose,
    "State": _execute,
}
_JUDGES = (_judge_steps, _judge_state, _choose)
