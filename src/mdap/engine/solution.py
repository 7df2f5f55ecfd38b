"""Algorithm 1: walk the steps, each decided before the next is asked for."""

from __future__ import annotations

from mdap.core.errors import Stop
from mdap.core.records import State, Step
from mdap.engine.taskview import TaskView
from mdap.protocols import Decide


async def generate_solution(
    view: TaskView, state: State, index: int, decide: Decide, limit: int, item: int = 0
) -> State:
    """Return the state in which the task is done, beginning with step `index` in `state` (Algorithm 1).

    The actions are where `decide` keeps them: nothing is held per step. Raises Stop before step `limit`, and
    whatever `decide` raises.
    """
    while not view.is_done(state):
        if index >= limit:
            raise Stop(
                f"the task is not done after {limit:,} steps", remedy="look at the last steps, or raise --max-steps"
            )
        # A step holds the state that the one before it decided: what asks ahead does so inside of `decide`.
        decision = await decide(Step(index, state, view.kind(state), item))
        state = decision.move.next_state
        index += 1
    return state
