"""Commands in advice: completed with the run and the journal that they are about."""

from __future__ import annotations

import pytest

from mdap.core.remedy import addressed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mend it and go on with `mdap resume RUN`", "mend it and go on with `mdap resume r1 --journal j`"),
        ("go on with `mdap resume` when it answers", "go on with `mdap resume r1 --journal j` when it answers"),
        ("look with `mdap show RUN --step 17`, or wait", "look with `mdap show r1 --step 17 --journal j`, or wait"),
        ("then type: mdap resume r2", "then type: mdap resume r2 --journal j"),
        ("its rows are there; mdap show r1 counts them", "its rows are there; mdap show r1 --journal j counts them"),
        (
            "there is: a, b; for all of them type: mdap runs",
            "there is: a, b; for all of them type: mdap runs --journal j",
        ),
        ("`mdap resume r1 --tool MODULE:NAME`, or", "`mdap resume r1 --tool MODULE:NAME --journal j`, or"),
        (
            "type: mdap resume r1 --tool-server 's=python -m s 1' --allow mcp",
            "type: mdap resume r1 --tool-server 's=python -m s 1' --allow mcp --journal j",
        ),
        ("`mdap resume r1 --accept-changes` begins", "`mdap resume r1 --accept-changes --journal j` begins"),
    ],
)
def test_a_command_names_its_run_and_its_journal(text: str, said: str) -> None:
    assert addressed(text, "r1", " --journal j") == said


def test_a_command_that_names_its_journal_is_left_as_it_is() -> None:
    said = addressed("`mdap resume RUN`", "r1", " --journal j")
    assert addressed(said, "r1", " --journal j") == said


def test_where_no_run_has_begun_nothing_is_to_be_resumed() -> None:
    assert addressed("mend it and go on with `mdap resume RUN`") == "mend it and start again"
    assert addressed("free some space, then go on with `mdap resume`") == "free some space, then start again"


def test_what_is_no_command_about_a_run_is_left_as_it_is() -> None:
    text = "give one of `mdap run TASK --model M`, mdap serve or `mdap models`"
    assert addressed(text, "r1", " --journal j") == text
