"""The roles of an agent, simulated: divides, solves, composes and judges products and lists, wrong as often as is set.

It reads what it was sent and nothing else, so that it can be served. What it says is a function of its text and seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from mdap.core.errors import ModelRejected, UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Request, Response, Usage
from mdap.core.spec import write_spec

# How each role is recognised: by the first words of its prompt.
_ROLES = {
    "Divide a task": "decomposer",
    "Choose, among several ways": "judge",
    "Solve a task": "solver",
    "Choose, among several answers": "judge",
    "Compose the result": "composer",
    "Judge whether an answer": "validator",
    "Judge whether a task": "minimality",
}
_SECTION = re.compile(r"^## (.+)\n((?:(?!## ).*\n?)*)", re.MULTILINE)
_PRODUCT = re.compile(r"Multiply ([0-9]+) by ([0-9]+)\.")
_LIST = re.compile(r"Sort in ascending order: (\[[0-9, ]*\])")
_SHIFT = re.compile(r"Append ([0-9]+) zeros to the first result, and add the second\.")
_MERGE = "Merge the two sorted lists."
_CHARACTERS = 4  # a token


def simulated_solver(
    decomposer: float = 0.0,
    solver: float = 0.0,
    composer: float = 0.0,
    judge: float = 0.0,
    validator: float = 0.0,
    whole: int = 2,
    flags: float = 0.0,
) -> SimulatedSolver:
    """Return a model that plays all roles of an agent, each wrong with the probability that is given for it.

    A wrong division, solution or composition is always the same one for a task, and no two mistakes cancel out, so that
    one of them makes the answer wrong. `judge` is how often a discriminator does not name the right candidate.
    Numbers of at most `whole` digits, and lists of at most `whole` numbers, are left whole. `flags` is the share of
    replies that say nothing readable. Raises UsageError for what is no probability, and for `whole` below 1.
    """
    return SimulatedSolver(decomposer, solver, composer, judge, validator, whole, flags)


class SimulatedSolver:
    """The model; `spec` is how it is written."""

    is_seeded = True

    def __init__(
        self,
        decomposer: float = 0.0,
        solver: float = 0.0,
        composer: float = 0.0,
        judge: float = 0.0,
        validator: float = 0.0,
        whole: int = 2,
        flags: float = 0.0,
    ) -> None:
        self.rates = {
            "decomposer": decomposer,
            "solver": solver,
            "composer": composer,
            "judge": judge,
            "validator": validator,
            "minimality": judge,
        }
        for name, rate in {**self.rates, "flags": flags}.items():
            if not 0 <= rate <= 1:
                raise UsageError(f"simulated_solver: {name}={rate!r} is no probability", remedy="give it from 0 to 1")
        if whole < 1:
            raise UsageError(f"simulated_solver: whole={whole} leaves nothing whole", remedy="give 1 or more")
        self.whole, self.flags = whole, flags
        given = {"decomposer": decomposer, "solver": solver, "composer": composer, "judge": judge}
        given |= {"validator": validator, "flags": flags}
        # Left out where it is the default: one model is to have one spec, since runs are compared by it.
        changed: dict[str, Any] = {name: rate for name, rate in given.items() if rate}
        self.spec = write_spec("simulated_solver", changed | ({"whole": whole} if whole != 2 else {}))

    async def complete(self, request: Request) -> Response:
        """Answer one request; raises ModelRejected for a prompt of no role that it knows, or of another problem."""
        text = request.messages[-1].content
        # JSON can hold half of a surrogate pair, which UTF-8 alone refuses to encode.
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        # A number of its own for each, so that being flagged has nothing to do with being right.
        mistaken, flagged, which = uniforms(request.seed.to_bytes(8, "little", signed=True) + digest, 3)
        try:
            said = "..." if flagged < self.flags else self._said(text, mistaken, which)
        # No such section, no such problem, no such role.
        except (KeyError, ValueError, StopIteration) as error:
            raise ModelRejected(
                f"simulated_solver cannot read what it is asked: {text[:60]!r}",
                remedy='ask it to "Multiply A by B." or to "Sort in ascending order: [...]", as an agent does',
            ) from error
        return Response(said, usage=Usage(-(-len(text) // _CHARACTERS), -(-len(said) // _CHARACTERS)))

    def _said(self, text: str, mistaken: float, which: float) -> str:
        role = next(name for start, name in _ROLES.items() if text.startswith(start))
        wrong = mistaken < self.rates[role]
        sections = {name: body.strip() for name, body in _SECTION.findall(text)}
        task = sections["Task"]
        if role == "decomposer":
            return json.dumps(mistaken_division(task) if wrong else division(task, self.whole))
        if role == "minimality":
            # `is not` between two truths: who is wrong says the contrary.
            return _verdict(is_yes=wrong is not is_whole(task, self.whole))
        right = self._right(text, sections)
        if role == "judge":
            return _choice(_candidates(sections["Candidates"]), right, which, wrong=wrong)
        if role == "validator":
            return _verdict(is_yes=wrong is not (json.loads(sections["Result"]) == right))
        return mistaken_result(right) if wrong else str(right)

    def _right(self, text: str, sections: dict[str, str]) -> Any:
        """Return what is right with what the prompt says: a composition is, if its parts are put together rightly."""
        if text.startswith("Choose, among several ways"):
            return division(sections["Task"], self.whole)
        results = sections.get("Results of the subtasks", "none")
        if results == "none":
            return result(sections["Task"])
        values = [json.loads(line)["result"] for line in results.splitlines()]
        return composed(sections["How they make the result"], values)


def is_whole(task: str, whole: int) -> bool:
    """Say whether a problem is small enough to be left whole."""
    found = _problem(task)
    return len(found) <= whole if isinstance(found, list) else max(len(str(one)) for one in found) <= whole


def division(task: str, whole: int) -> dict[str, Any]:
    """Return the right division: the longer factor by its digits, a list by its halves; or none."""
    found = _problem(task)
    if is_whole(task, whole):
        return _divided([], "")
    if isinstance(found, list):
        half = len(found) // 2
        return _divided([_to_sort(found[:half]), _to_sort(found[half:])], _MERGE)
    a, b = found
    longer = a if len(str(a)) >= len(str(b)) else b
    zeros = len(str(longer)) // 2
    high, low = divmod(longer, 10**zeros)
    parts = [(high, b), (low, b)] if longer == a else [(a, high), (a, low)]
    how = f"Append {zeros} zeros to the first result, and add the second."
    return _divided([_to_multiply(*part) for part in parts], how)


def mistaken_division(task: str) -> dict[str, Any]:
    """Return the one wrong division of a problem: something is added to a product, a number is lost of a list."""
    found = _problem(task)
    if isinstance(found, list):
        # The empty list is there because a merge takes two, as a right division has it.
        return _divided([_to_sort(found[:-1]), _to_sort([])], _MERGE)
    # Wrong and still to be carried out, part by part: the product itself, and 1 on top.
    how = "Append 0 zeros to the first result, and add the second."
    return _divided([_to_multiply(*found), _to_multiply(1, 1)], how)


def result(task: str) -> str:
    """Return the right answer to a problem, as text."""
    found = _problem(task)
    return json.dumps(sorted(found)) if isinstance(found, list) else str(found[0] * found[1])


def composed(how: str, values: Sequence[Any]) -> str:
    """Return what the results of two subtasks make, put together rightly; raises ValueError for another way."""
    first, second = values
    if how == _MERGE:
        return json.dumps(sorted(json.loads(first) + json.loads(second)))
    found = _SHIFT.fullmatch(how)
    if found is None:
        raise ValueError(how)
    return str(int(first) * 10 ** int(found[1]) + int(second))


def mistaken_result(right: str) -> str:
    """Return the one wrong result: ten more, or without its greatest number. Two such slips never cancel out."""
    return json.dumps(json.loads(right)[:-1]) if right.startswith("[") else str(int(right) + 10)


def _problem(task: str) -> tuple[int, int] | list[int]:
    product = _PRODUCT.fullmatch(task)
    if product is not None:
        return int(product[1]), int(product[2])
    listed = _LIST.fullmatch(task)
    if listed is None:
        raise ValueError(task)
    numbers: list[int] = json.loads(listed[1])
    return numbers


def _divided(tasks: Sequence[str], how: str) -> dict[str, Any]:
    return {"subtasks": [{"task": task, "needs": []} for task in tasks], "compose": how}


def _to_multiply(a: int, b: int) -> str:
    return f"Multiply {a} by {b}."


def _to_sort(numbers: Sequence[int]) -> str:
    return f"Sort in ascending order: {json.dumps(list(numbers))}"


def _candidates(listed: str) -> list[Any]:
    return [json.loads(line.partition(". ")[2]) for line in listed.splitlines()]


def _choice(candidates: Sequence[Any], right: Any, which: float, *, wrong: bool) -> str:
    """Name the right candidate, or one of the others, or that none is right."""
    others = [number for number, one in enumerate(candidates, 1) if one != right]
    found = [number for number, one in enumerate(candidates, 1) if one == right]
    if found and not wrong:
        return json.dumps({"choice": found[0], "reason": ""})
    if wrong and others:
        return json.dumps({"choice": others[int(which * len(others))], "reason": ""})
    # A judge that is not mistaken says so where none is right; so does one that has no wrong one to name.
    return json.dumps({"choice": 0, "reason": "no candidate is right"})


def _verdict(*, is_yes: bool) -> str:
    return json.dumps({"verdict": "Yes", "reason": ""} if is_yes else {"verdict": "No", "reason": "it is not so"})


__all__ = ["SimulatedSolver", "simulated_solver"]
