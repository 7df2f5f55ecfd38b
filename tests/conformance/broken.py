"""The same interfaces, each with a defect seen in the wild, in a few lines: a check that accepts one is no check."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from tests.conformance.subjects import Election, Outcome


def decide_by_absolute_k(votes: Sequence[str], k: int) -> str | None:
    """C1: whoever has k votes wins, or whoever leads by k, whatever comes first."""
    counts: Counter[str] = Counter()
    for vote in votes:
        counts[vote] += 1
        (first, most), *rest = counts.most_common(2)
        if most >= k or most - (rest[0][1] if rest else 0) >= k:
            return first
    return None


def decide_pair_by_action(votes: Sequence[tuple[str, int]], k: int) -> tuple[str, int] | None:
    """C2: counts actions, and takes the next state that the last voter for the winner wrote."""
    counts: Counter[str] = Counter()
    last: dict[str, int] = {}
    for action, after in votes:
        counts[action] += 1
        last[action] = after
        lead = counts[action] - max((n for a, n in counts.items() if a != action), default=0)
        if lead >= k:
            return action, last[action]
    return None


def advance_as_told(state: int, action: int, said: int | None) -> int | None:
    """C3: believes the next state that the reply contains."""
    return state + action if said is None else said


def ask_without_waiting(seed: int) -> Outcome:
    """C4: repeats a refused call at once, 250 times, and then goes on as if nothing had been asked."""
    return Outcome(calls=250, waits=[0.0] * 249, votes=0, flags=0, error="", decided_on_resume=True)


def ask_and_flag(seed: int) -> Outcome:
    """C4: takes a refused call for a bad reply."""
    waits = [0.25 * 2**n for n in range(5)]
    return Outcome(calls=6, waits=waits, votes=0, flags=6, error="429 Too Many Requests", decided_on_resume=True)


def ask_and_die(seed: int) -> Outcome:
    """C4: gives the run up for lost."""
    waits = [0.25 * 2**n for n in range(5)]
    return Outcome(calls=6, waits=waits, votes=0, flags=0, error="429 Too Many Requests", decided_on_resume=False)


def plan_k_unguarded(p: float, steps: int, target: float) -> int:
    """C5: the formula and nothing around it."""
    return math.ceil(math.log(target ** (-1 / steps) - 1) / math.log((1 - p) / p))


def elect_or_take_the_plurality(sampler: Callable[[], Any], k: int, cap: int) -> Election:
    """C6: at the cap, whoever has most votes wins."""
    counts: Counter[Any] = Counter()
    for number in range(1, cap + 1):
        try:
            counts[sampler()] += 1
        except ConnectionError:
            continue
        (first, most), *rest = counts.most_common(2)
        if most - (rest[0][1] if rest else 0) >= k:
            return Election(first, number)
    return Election(counts.most_common(1)[0][0] if counts else None, cap)


def elect_for_ever(sampler: Callable[[], Any], k: int, cap: int) -> Election:
    """C6: a call that failed does not count, so a provider that always fails is asked for ever."""
    counts: Counter[Any] = Counter()
    number = 0
    while number < cap:
        try:
            vote = sampler()
        except ConnectionError:
            continue
        number += 1
        counts[vote] += 1
        (first, most), *rest = counts.most_common(2)
        if most - (rest[0][1] if rest else 0) >= k:
            return Election(first, number)
    return Election(None, number)


def key_by_text(value: Any) -> str:
    """C7: the text of a value, its keys in the order they came."""
    return json.dumps(value)


def key_by_float(value: Any) -> Any:
    """C7: numbers through floating point."""
    if isinstance(value, dict):
        return tuple(sorted((name, key_by_float(part)) for name, part in value.items()))
    if isinstance(value, list):
        return tuple(map(key_by_float, value))
    return float(value) if isinstance(value, int) else value


def key_by_hash(value: Any) -> Any:
    """C7: the value itself, if it can be hashed."""
    return tuple(value.items()) if isinstance(value, dict) else value


def race_by_arrival(replies: Sequence[tuple[str, float]], k: int) -> str | None:
    """C8: ten workers, and every answer counts when it arrives."""
    workers, asked, arrived = [0.0] * 10, iter(replies), list[tuple[float, str]]()
    for answer, seconds in asked:
        free = min(range(len(workers)), key=workers.__getitem__)
        workers[free] += seconds
        arrived.append((workers[free], answer))
    counts: Counter[str] = Counter()
    for _, answer in sorted(arrived):
        counts[answer] += 1
        (first, most), *rest = counts.most_common(2)
        if most - (rest[0][1] if rest else 0) >= k:
            return first
    return None


def votes_without_seeds(server: Callable[[str, int | None, float | None], str], k: int) -> int:
    """C9: every vote is the same request."""
    counts: Counter[str] = Counter()
    for number in range(1, 201):
        counts[server("At 5. What next?", None, 0.1)] += 1
        (_, most), *rest = counts.most_common(2)
        if most - (rest[0][1] if rest else 0) >= k:
            return number
    return 200


def candidates_by_judge(answers: Sequence[str], judge: Callable[[str, str], bool]) -> list[int]:
    """C10: an answer joins the first group whose founder a judge calls the same."""
    groups: list[list[str]] = []
    for answer in answers:
        home = next((group for group in groups if judge(group[0], answer)), None)
        if home is None:
            groups.append([answer])
        else:
            home.append(answer)
    return sorted(map(len, groups), reverse=True)


def prompts_with_history(steps: int) -> list[str]:
    """C11: the state remembers every action, and the prompt shows it."""
    state: dict[str, Any] = {"at": 0, "actions": []}
    seen = []
    for _ in range(steps):
        seen.append(f"The hand is at {state['at']} of 5, after {state['actions']}. How far does it go?")
        state = {"at": (state["at"] + 1) % 5, "actions": [*state["actions"], 1]}
    return seen


def read_what_can_be_found(text: str) -> Any:
    """C12: takes the first thing between braces, wherever it stands, and closes what is open."""
    found = re.search(r"\{.*?(\}|$)", text, re.DOTALL)
    if found is None:
        raise ValueError("no braces")
    body = found[0].replace("'", '"')
    return json.loads(body if body.endswith("}") else body + "}")
