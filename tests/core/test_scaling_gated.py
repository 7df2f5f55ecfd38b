"""What becomes of a proposal at the gate: by hand, by the limit without a cap, and by the engine itself."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product

import pytest

from mdap import aio
from mdap.core.errors import UsageError
from mdap.core.keyed import uniforms
from mdap.core.records import Request
from mdap.core.rules.gate import Gate
from mdap.core.scaling.gated import gated
from mdap.planning.events import ExecutionVoted
from tests.planning.support import Role


@pytest.mark.parametrize(("yes", "k"), [(0.8, 1), (0.7, 2), (0.5, 2), (0.0, 2), (1.0, 2)])
def test_it_is_what_counting_every_sequence_of_votes_gives(yes: float, k: int) -> None:
    ends = {"yes": Fraction(0), "no": Fraction(0), "none": Fraction(0)}
    votes, chance = Fraction(0), Fraction(yes)
    for words in product((1, -1), repeat=4 * k):
        weight, lead, end, asked = Fraction(1), 0, "none", 0
        for word in words:
            weight *= chance if word > 0 else 1 - chance
        for word in words:
            lead, asked = lead + word, asked + 1
            if abs(lead) == k:
                end = "yes" if lead > 0 else "no"
                break
        ends[end] += weight
        votes += weight * asked
    found = gated(yes, k)
    expected = [float(ends["yes"]), float(ends["no"]), float(ends["none"]), float(votes)]
    assert [found.accepted, found.refused, found.contentious, found.votes] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_without_a_cap_it_is_the_race_of_the_paper(k: int) -> None:
    assert gated(0.7, k, most=2000).accepted == pytest.approx(1 / (1 + (0.3 / 0.7) ** k))


def test_the_cap_is_that_of_the_rule() -> None:
    assert gated(0.5, 5) == gated(0.5, 5, most=Gate(5).most) != gated(0.5, 5, most=Gate(5).most - 2)


@pytest.mark.parametrize("yes", [0.75, 0.6])
async def test_the_engine_accepts_as_often_as_is_predicted(yes: float) -> None:
    """300 ballots of independent judges; three standard deviations are allowed, and another rate is outside of them."""
    k, ballots = 2, 300
    voted: list[str] = []

    def _judge(request: Request) -> str:
        luck = uniforms(b"%d %d %d" % (request.draw.item, request.draw.step, request.draw.slot), 1)[0]
        return json.dumps({"verdict": "Yes" if luck < yes else "No", "reason": "x"})

    def _first(event: object) -> None:
        if isinstance(event, ExecutionVoted) and event.attempt == 1:
            voted.append(event.verdict)

    await aio.execute(
        ["step"] * ballots,
        "x",
        execution_model=Role(["state"]),
        execution_voting_model=Role(_judge),
        k=k,
        batch_size=1,
        attempts=50,
        on_event=_first,
    )
    share = voted.count("yes") / ballots
    tolerance = 3 * (share * (1 - share) / ballots) ** 0.5
    assert len(voted) == ballots
    assert abs(share - gated(yes, k).accepted) < tolerance
    assert abs(share - gated(yes - 0.15, k).accepted) > tolerance


@pytest.mark.parametrize(("yes", "k"), [(-0.1, 2), (1.1, 2), (0.5, 0)])
def test_what_is_no_probability_or_no_margin_is_refused(yes: float, k: int) -> None:
    with pytest.raises(UsageError):
        gated(yes, k)
