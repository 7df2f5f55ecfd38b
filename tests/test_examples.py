"""Every example runs as a reader would run it, in an empty folder, and prints what its last comment says it prints."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs_runner import matches

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SLOW = {"demo", "parsers"}


def shown_output(source: str) -> str | None:
    """The comment lines under a closing `# Prints:` of an example, if it has them."""
    found = re.search(r"^# Prints:\n((?:#.*\n?)+)\Z", source, re.MULTILINE)
    return found and re.sub(r"^# ?", "", found[1], flags=re.MULTILINE)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else []) for path in EXAMPLES],
)
def test_an_example_runs_alone_and_prints_what_it_says(path: Path, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MDAP_")}
    done = subprocess.run(
        [sys.executable, str(path)],
        cwd=tmp_path,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "an example shows something"
    expected = shown_output(path.read_text(encoding="utf-8"))
    if expected is not None:
        assert matches(expected, done.stdout), f"expected\n{expected}\ngot\n{done.stdout}"


def test_the_output_of_an_example_is_its_closing_comment() -> None:
    assert shown_output("print(1)\n\n# Prints:\n# 1\n#   done\n") == "1\n  done\n"
    assert shown_output("# Prints:\n# 1\nprint(1)\n") is None
