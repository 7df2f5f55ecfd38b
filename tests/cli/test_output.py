"""Output that is cut short, closed or full: the exit code is that of the run all the same. No other end of a run."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Terminal


def ended(mdap: Terminal, redirection: str, *words: str) -> tuple[int, str]:
    command = f"{sys.executable} -m mdap {shlex.join(words)} {redirection}; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=mdap.folder, capture_output=True, text=True, check=True)
    *_, code = done.stdout.splitlines()
    return int(code), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("redirection", ["| true", "2>&1 | true", ">&-", "2>&-", "--json | true"])
def test_a_run_ends_with_its_own_code_whoever_reads_it(redirection: str, mdap: Terminal) -> None:
    words = ("run", "hanoi:disks=3", "--model", "simulated:p=1", "--k", "3", "--budget-calls", "4")
    code, err = ended(mdap, redirection, *words)
    assert code == 4
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no file that is always full")
@pytest.mark.parametrize("words", [("estimate", "--p", "0.9", "--steps", "9"), ("models", "--json")])
def test_output_that_cannot_be_written_is_an_error_that_says_so(words: tuple[str, ...], mdap: Terminal) -> None:
    code, err = ended(mdap, "> /dev/full", *words)
    assert code == 1
    assert err.startswith("error: the output cannot be written: No space left on device\nnext:  ")
    assert "Traceback" not in err
