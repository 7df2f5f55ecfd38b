"""The solve rate of an agent against k: the shape of Figure 12 of arXiv:2511.09030, and the law that it follows."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.solve import KS, RATES, RESULTS, Row, judged, predicted, questions, solve_rate, table
from mdap.tasks.problems import multiplication

FEW = 40
Rows = list[Row]


@pytest.fixture(scope="module")
def rows() -> Rows:
    """A few problems at a few k."""
    return judged([asyncio.run(solve_rate(k, FEW)) for k in (1, 2, 4, 8)])


def test_every_product_of_five_digits_asks_the_same_number_of_questions() -> None:
    assert {questions(multiplication(5, seed).problem) for seed in range(50)} == {(17, 9, 8)}
    assert questions("Multiply 12345 by 67890.", 0) == (0, 1, 0)
    assert questions("Multiply 12345 by 67890.", 1) == (1, 2, 1)


@pytest.mark.slow
def test_the_solve_rate_rises_with_k_as_predicted(rows: Rows) -> None:
    rates = [row["rate"] for row in rows]
    assert rates == sorted(rates)
    assert rates[0] < 0.1
    assert rates[-1] > 0.9
    assert all(row["holds"] for row in rows), table(rows)


@pytest.mark.parametrize("role", RATES)
def test_a_law_that_forgets_a_role_is_outside_of_the_intervals(role: str) -> None:
    stored = json.loads((RESULTS / "solve.json").read_text())["rows"]
    problem, without = multiplication(5, 0).problem, RATES | {role: 0.0}
    assert all(row["holds"] for row in judged(stored))
    forgot = judged([row | {"predicted": predicted(problem, row["k"], without)} for row in stored])
    assert not all(row["holds"] for row in forgot)


@pytest.mark.slow
def test_an_agent_that_is_broken_on_purpose_is_outside_of_the_intervals() -> None:
    # One level deep there are fewer questions, and so fewer errors, than the law of the whole tree has.
    shallow = asyncio.run(solve_rate(2, FEW, decompose="none"))
    assert not judged([shallow])[0]["holds"]
    # Judges that are mistaken more often than the law is told.
    worse: dict[str, Any] = asyncio.run(solve_rate(4, FEW, RATES | {"judge": 0.45}))
    assert not judged([worse])[0]["holds"]


def test_the_stored_table_is_whole_and_every_prediction_is_within_its_interval() -> None:
    stored = json.loads((RESULTS / "solve.json").read_text())
    assert [row["k"] for row in stored["rows"]] == list(KS)
    assert stored["rates"] == RATES
    for row in stored["rows"]:
        assert row["problems"] == 200
        assert row["low"] <= row["predicted"] <= row["high"]
        assert row["predicted"] == pytest.approx(predicted(multiplication(5, 0).problem, row["k"]))
    assert all(one["rate"] < other["rate"] for one, other in zip(stored["rows"], stored["rows"][1:], strict=False))


def test_the_table_in_the_docs_is_the_stored_one() -> None:
    stored = json.loads((RESULTS / "solve.json").read_text())
    page = (Path(__file__).parents[1] / "docs" / "agent.md").read_text(encoding="utf-8")
    assert table(stored["rows"]) in page
